"""A purge says what it takes, asks on a terminal, and takes what others wrote only from who says so."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from command import heed_signals
from environment import CHECKOUT
from interpreters import tag_of
from owner_packages import with_dpkg
from packages import snapshot, write_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from command import Command
    from interpreters import Interpreter

QUESTION = b"Do you want to continue? [y/N] "


class Talk(NamedTuple):
    """What was said on a terminal, and how it ended."""

    said: str
    code: int


def talk(command: Sequence[str | bytes], answer: bytes) -> Talk:
    """Start a command on a terminal of its own, as its controlling one, and type an answer once it asks."""
    child, leader = pty.fork()
    if child == 0:
        try:
            heed_signals()
            os.environ.update(TERM="dumb", NO_COLOR="1")
            os.execvp(command[0], [os.fsencode(part) for part in command])
        finally:
            os._exit(127)
    said = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # EIO: the other side is closed
            break
        said += piece
        if said.endswith(QUESTION) and answer:
            os.write(leader, answer)
            answer = b""
        if not piece:
            break
    os.close(leader)
    return Talk(
        said.replace(b"\r\n", b"\n").decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    )


@pytest.fixture
def ours(pyctrigger: Command, site: Path, scope: list[str]) -> Path:
    """A tree with bytecode that pyctrigger wrote: four pycs."""
    write_tree(site, {"package/a.py": "x = 1\n", "package/b.py": "def f():\n    'A docstring.'\n    assert f\n"})
    pyctrigger.json("run", *scope, "--optimize", "0,2")
    return site


@pytest.fixture
def mixed(ours: Path, newest: Interpreter) -> Path:
    """The same, with one that another program put in place of ours, and one without a record."""
    pycache = ours / "package/__pycache__"
    theirs = pycache / f"a.{tag_of(newest)}.pyc"
    theirs.unlink()
    theirs.write_bytes(b"theirs")
    shutil.copy(theirs, pycache / f"orphan.{tag_of(newest)}.opt-1.pyc")
    return ours


def said_of(site: Path, flavour: str, pycs: int, others: int) -> list[str]:
    """The lines that list what is removed, with runs of spaces collapsed."""
    files = {path.stat().st_ino: path.stat().st_size for path in site.rglob("*.pyc")}
    return [
        "To be removed:",
        "flavour pycs size by others site directory",
        f"{flavour} {pycs} {sum(files.values())} B {others} {site}",
    ]


def squeezed(text: str) -> list[str]:
    """Lines with one space where there are several."""
    return [re.sub(" +", " ", line) for line in text.splitlines()]


#: What is typed, and how it ends.
ANSWERS = {
    b"Yes\n": 0,
    b"n\n": 1,
    b"\n": 1,
    b"yesterday\n": 1,
    b"\x04": 1,
    b"\x03": 130,
}


@pytest.mark.parametrize(("answer", "code"), ANSWERS.items(), ids=map(repr, ANSWERS))
def test_a_person_is_asked(
    pyctrigger: Command, mixed: Path, scope: list[str], newest: Interpreter, answer: bytes, code: int
) -> None:
    """After what will go is said; only a yes removes anything."""
    before, lines = snapshot(mixed), said_of(mixed, newest.flavour, 5, 2)

    told = talk(pyctrigger.command_line("purge", scope), answer)

    assert (code, lines) == (told.code, squeezed(told.said)[:3])
    if code:
        assert before == snapshot(mixed)
        refused = "pyctrigger: nothing was removed: the answer was not yes; answer y, or pass -y\n"
        assert (refused if code == 1 else "interrupted") in told.said
    else:
        assert [] == list(mixed.rglob("*.pyc"))
        assert f"{newest.flavour}: 5 removed, 1 directory, 0 failed in " in told.said


@pytest.mark.parametrize("options", [["--yes"], ["-y", "-q"], ["--dry-run"], ["-y", "--json"]], ids=" ".join)
def test_nobody_is_asked_who_has_answered_or_is_no_person(
    pyctrigger: Command, mixed: Path, scope: list[str], newest: Interpreter, options: list[str]
) -> None:
    """On a terminal, too; what is removed is listed anyway, except with `-q`."""
    lines = said_of(mixed, newest.flavour, 5, 2)

    told = talk(pyctrigger.command_line("purge", [*scope, *options]), b"")

    assert (0, False) == (told.code, QUESTION.decode() in told.said)
    assert ("--dry-run" in options) == any(mixed.rglob("*.pyc"))
    if "--json" not in options:
        assert (lines if "-q" not in options else []) == squeezed(told.said)[:3]


def test_a_person_who_wants_it_quiet_is_asked_all_the_same(
    pyctrigger: Command, ours: Path, scope: list[str], newest: Interpreter
) -> None:
    """With what the question is about."""
    before, lines = snapshot(ours), said_of(ours, newest.flavour, 4, 0)

    told = talk(pyctrigger.command_line("purge", [*scope, "-q"]), b"n\n")

    assert (1, lines, before) == (told.code, squeezed(told.said)[:3], snapshot(ours))


@pytest.mark.parametrize(
    ("whose", "options"),
    [("ours", []), ("ours", ["--stateless"]), ("mixed", []), ("mixed", ["--json"]), ("mixed", ["-q"])],
    ids=str,
)
def test_without_a_terminal_what_others_wrote_goes_only_with_a_yes(
    pyctrigger: Command, scope: list[str], request: pytest.FixtureRequest, whose: str, options: list[str]
) -> None:
    """By the state's records; without state everything is somebody else's."""
    site: Path = request.getfixturevalue(whose)
    before = snapshot(site)
    others = 2 if whose == "mixed" else 4 if options else 0
    message = f"this would remove {others} files that pyctrigger didn't write; nothing was removed"

    alone = pyctrigger.text("purge", *scope, *options)
    if others:
        assert (2, before) == (alone.code, snapshot(site))
        assert f"pyctrigger: {message}; add -y to go ahead\n" == alone.err
        if options == ["--json"]:
            document = json.loads(alone.out)
            (run,) = document["runs"]
            assert ([message], "error", 5, 2) == (
                [error["message"] for error in document["errors"]],
                document["outcome"],
                *(sum(taking[name] for taking in run["takings"]) for name in ("pycs", "by_others")),
            )
        assert 0 == pyctrigger.text("purge", "-y", *scope, *options).code

    assert 0 == alone.code or others
    assert [] == list(site.rglob("*.pyc"))


def test_json_says_what_went(pyctrigger: Command, mixed: Path, scope: list[str]) -> None:
    """By place, as the table for people."""
    size = sum({path.stat().st_ino: path.stat().st_size for path in mixed.rglob("*.pyc")}.values())
    taken = [{"site_directory": str(mixed), "pycs": 5, "bytes": size, "by_others": 2}]

    assert taken == pyctrigger.json("purge", "--dry-run", *scope).run["takings"]
    assert taken == pyctrigger.json("purge", "-y", *scope).run["takings"]
    assert (0, "") == ((again := pyctrigger.text("purge", *scope)).code, again.err)


@pytest.mark.usefixtures("as_root")
def test_on_debian_it_says_what_brings_bytecode_back(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """dpkg doesn't know the bytecode of its packages."""
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    payload, root = tmp_path / "payload", tmp_path / "root"
    root.mkdir()
    write_tree(payload, {f"{library}/module.py": "x = 1\n"})
    with_dpkg(payload, root, tmp_path)
    arguments = ["--python", newest.path, "--root", str(root), "--stateless"]
    pyctrigger.json("run", *arguments)

    said = pyctrigger.text("purge", "-y", *arguments).out.splitlines()

    back = f"pyctrigger run --python {newest.flavour} --root {root}"
    assert f"Debian's packages have sources in /{library}. To restore their bytecode: {back}" == said[3]


@pytest.mark.parametrize(
    ("arguments", "answer", "code"),
    [([], b"n\n", 1), ([], b"\x04", 1), ([], b"y\n", 0), (["-y"], b"", 0), (["-qy"], b"", 0)],
    ids=repr,
)
def test_where_no_python_is_left_a_person_is_asked_as_well(
    tmp_path: Path, arguments: list[str], answer: bytes, code: int
) -> None:
    """The launcher's own shell script removes what nothing can use."""
    site = write_tree(tmp_path / "site", {"__pycache__/module.cpython-311.pyc": "x"})
    script = (CHECKOUT / "ports/application/without-python").read_text()
    (tmp_path / "script").write_text(script.replace("@TARGETS@", "/nonexistent").replace("@SITES@", str(site)))

    told = talk(["/bin/sh", str(tmp_path / "script"), "", "purge", *arguments], answer)

    assert (code, code == 1) == (told.code, (site / "__pycache__").exists())
    assert bool(answer) == (QUESTION.decode() in told.said)
    if code:
        alone = subprocess.run(["/bin/sh", tmp_path / "script", "", "purge"], stdin=subprocess.DEVNULL, check=False)
        assert (2, True) == (alone.returncode, (site / "__pycache__").exists())


@pytest.mark.parametrize("broken", ["-regextype", "-execdir"])
def test_without_python_and_with_another_find_nothing_goes(tmp_path: Path, broken: str) -> None:
    """Busybox' and BSD's lack what is needed, and say so with an exit code that a pipeline could hide."""
    site = write_tree(tmp_path / "site", {"__pycache__/module.cpython-311.pyc": "x"})
    find = tmp_path / "bin/find"
    write_tree(tmp_path, {"bin/find": f'#!/bin/sh\ncase "$*" in *{broken}*) exit 1 ;; esac\nexec /usr/bin/find "$@"\n'})
    find.chmod(0o755)
    text = (CHECKOUT / "ports/application/without-python").read_text()
    text = text.replace("@TARGETS@", "/nonexistent").replace("@SITES@", str(site))
    script = tmp_path / "script"
    script.write_text(text.replace("PATH=/usr/bin", f"PATH={find.parent}:/usr/bin"))

    for arguments, code in ((["purge", "-y"], 69), (["run", "--hook"], 0)):
        child = subprocess.run(["/bin/sh", script, "", *arguments], capture_output=True, text=True, check=False)
        reason = "the last Python is gone, and its bytecode stays: this find can't tell what is bytecode"
        assert (code, f"pyctrigger: {reason}\n") == (child.returncode, child.stderr)
        assert (site / "__pycache__/module.cpython-311.pyc").exists()
