"""Who may write: what an account may not do is one line with the command for root, and leaves no pending work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from children import public_directory
from confinement import NOBODY, command_for, cpython_for, private_mounts
from conftest import absent
from packages import pycs_below, snapshot, write_tree
from pyctrigger.cli.output import own_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Command, Outcome

#: In the package `mine`, in the package `theirs`, and beside both.
SOURCES = ("mine/a.py", "mine/deep/b.py", "theirs/c.py", "theirs/deep/d.py", "e.py")


class Account:
    """pyctrigger as an ordinary account's, with a site directory that everybody may read."""

    def __init__(self, command: Command, public: Path, python: str) -> None:
        self.command = command
        self.home = public / "home"
        self.site = write_tree(public / "site", dict.fromkeys(SOURCES, "x = 1\n"))
        self.scope = ["--python", python, "--site-dir", str(self.site)]
        self.options: dict[str, Any] = {
            "user": NOBODY,
            "group": NOBODY,
            "extra_groups": [],
            "cwd": "/",
            "env": {"HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), "XDG_CONFIG_HOME": "", "PYTHONPATH": ""},
        }

    def own(self, *names: str) -> None:
        """Give these, with all below them, to the account."""
        for name in names:
            top = self.site / name
            for path in (top, *(top.rglob("*") if top.is_dir() else ())):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def disown(self, name: str) -> None:
        """Make one directory root's, if need be from nothing."""
        (self.site / name).mkdir(exist_ok=True)
        os.chown(self.site / name, 0, 0)

    def compile(self) -> None:
        """Have root compile everything without any state."""
        assert self.command.text("run", "--stateless", *self.scope).code == 0

    def text(self, *arguments: str) -> Outcome:
        """Run it for the account."""
        return self.command.text(*arguments, **self.options)

    def json(self, *arguments: str) -> Outcome:
        """The same, for a program."""
        return self.command.json(*arguments, **self.options)

    @property
    def entries(self) -> list[Path]:
        """The entries of its journal."""
        return list(self.command.state.glob("*/journal/*.json"))

    def line(self, *words: str, places: list[str]) -> str:
        """The line that it gets."""
        paths = [str(self.site / place) for place in places]
        reason = f"pyctrigger: no right to write in {', '.join(paths)}"
        if self.site.stat().st_uid == NOBODY:  # below it root has no more rights than the account
            reason += f", and neither has root, since account {NOBODY} owns a directory above it"
            return f"{reason}; you need root: sudo chown -R {NOBODY} {' '.join(paths)}, and run it again\n"
        command = " ".join(["pyctrigger", *words])  # root would refuse the account's own state directory
        return f"{reason}; you need root: sudo {command}\n"


@pytest.fixture
def account(as_root: None) -> Iterator[Account]:
    """An account that owns nothing yet but its home."""
    python = cpython_for(NOBODY)
    with public_directory() as public:
        command = command_for(NOBODY, public / "home/state")
        if python is None or command is None:
            absent("no Python 3.9 or later that other accounts than root's may execute")
        (public / "home").mkdir()
        os.chown(public / "home", NOBODY, NOBODY)
        yield Account(command, public, python)


class Kind(NamedTuple):
    """Whose what is, and what becomes of it."""

    owned: tuple[str, ...]
    disowned: tuple[str, ...]
    places: list[str]
    """Where it is told that nothing may be written."""
    compiled: int


KINDS = {
    "all is root's": Kind((), (), [""], 0),
    "the site is root's": Kind(("mine",), (), [""], 2),
    "a package is root's": Kind(("",), ("theirs/deep", "theirs"), ["theirs"], 3),
    "a directory of root's": Kind(("",), ("theirs/deep",), ["theirs/deep"], 4),
    "root compiled it once": Kind(("",), ("mine/deep/__pycache__",), ["mine/deep/__pycache__"], 4),
    "two packages are root's": Kind(("",), ("theirs/deep", "theirs", "mine/deep"), ["mine/deep", "theirs"], 2),
}


@pytest.mark.parametrize(
    ("kind", "verb"),
    [
        *((kind, ["run"]) for kind in KINDS),
        ("the site is root's", ["repair"]),
        ("the site is root's", ["run", "--hook"]),
        ("all is root's", ["run", "--hook"]),
    ],
)
def test_what_may_be_written_is_and_the_rest_is_one_line(account: Account, kind: str, verb: list[str]) -> None:
    """Whoever owns what: exit 1, no entry in the journal, and root's command does what was left."""
    owned, disowned, places, compiled = KINDS[kind]
    account.own(*owned)
    for name in disowned:
        account.disown(name)

    said = account.text(*verb, "-q", *account.scope)

    by_hand = [word for word in verb if word != "--hook"]
    assert ("", account.line(*by_hand, "-q", *account.scope, places=places)) == (said.out, said.err)
    assert (0 if "--hook" in verb else 1, compiled) == (said.code, len(pycs_below(account.site)))
    assert [] == account.entries
    again = account.json(*verb, *account.scope)
    assert [(str(account.site / place), "refused") for place in places] == [
        (failure["path"].rstrip("/"), failure["kind"]) for failure in again.failures
    ]
    assert (0, len(SOURCES) - compiled) == (again.counts["compiled"], again.counts["failed"])
    (error,) = again.document["errors"]
    command = error["mend"].removeprefix("you need root: sudo ").removesuffix(", and run it again").split()
    if "" in owned:
        subprocess.run(command, check=True)
        done = account.text(*verb, *account.scope)
    else:
        done = account.command.text(*command[1:2], "--stateless", *command[2:])
    assert (0, len(SOURCES)) == (done.code, len(pycs_below(account.site)))


def test_what_root_can_and_what_it_cannot_are_two_lines(account: Account) -> None:
    """What root does in its own directory, and what the account can do once it has its own again."""
    account.own("mine", "theirs")
    account.disown("theirs/deep")

    said = account.text("run", "-q", *account.scope)

    first, second = said.err.splitlines()
    assert first.startswith(f"pyctrigger: no right to write in {account.site}; you need root: sudo pyctrigger run ")
    assert second.endswith(f"you need root: sudo chown -R {NOBODY} {account.site}/theirs/deep, and run it again")


def test_many_places_are_given_back_by_one_name(account: Account) -> None:
    """That of the directory that they have in common."""
    account.own("")
    for number in range(9):
        account.disown(f"theirs/deep/{number}")
        write_tree(account.site, {f"theirs/deep/{number}/m.py": ""})

    said = account.text("run", "-q", *account.scope)

    assert said.err.endswith(f"sudo chown -R {NOBODY} {account.site}/theirs/deep, and run it again\n"), said.err


@pytest.mark.parametrize("verb", [["sweep"], ["purge", "-y"]], ids=" ".join)
def test_what_removes_says_the_same(account: Account, verb: list[str]) -> None:
    """Orphans that only root may remove stay, and those that the account may remove go."""
    account.compile()
    account.own("")
    for name in ("theirs/__pycache__", "theirs"):
        account.disown(name)
    for name in ("mine/a.py", "theirs/c.py"):
        (account.site / name).unlink()

    said = account.text(*verb, "-q", *account.scope)

    expected = account.line(*verb, "-q", *account.scope, places=["theirs"])
    assert (1, "", expected) == (said.code, said.out, said.err)
    assert ["theirs"] == sorted({path.decode().split("/")[-3] for path in pycs_below(account.site) if b"/c." in path})
    assert [] == [path for path in pycs_below(account.site) if b"/a." in path]
    assert [] == account.entries


@pytest.mark.parametrize("verb", [["verify"], ["run", "--dry-run"], ["sweep"]], ids=" ".join)
def test_who_only_looks_needs_no_right(account: Account, verb: list[str]) -> None:
    """Nor does an account with nothing to remove."""
    before = snapshot(account.site)

    said = account.text(*verb, *account.scope)

    assert ("", before) == (said.err, snapshot(account.site))


def test_an_owner_who_may_not_write_is_told_to_chmod(account: Account) -> None:
    """Root isn't needed for that."""
    account.own("")
    (account.site / "mine").chmod(0o555)

    said = account.text("run", "-q", *account.scope)

    reason = "refused: its owner has no right to write here: chmod u+w it; sources that were left: 1"
    assert (1, f"{account.site}/mine: {reason}\n") == (said.code, said.err)


def test_what_even_root_cannot_write_is_no_question_of_rights(account: Account) -> None:
    """On a read-only file system the account gets the same line as root, and exit 0."""
    site, words = account.site, ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    with private_mounts(f"mount --bind {site} {site}; mount -o remount,bind,ro {site}") as inside:
        account.command.program = [*inside, *words, *account.command.program]
        said = account.command.text("run", "-q", *account.scope, cwd="/", env=account.options["env"])

    assert (0, f"{site} is on a read-only file system; nothing was changed there\n") == (said.code, said.err)


def test_deferring_what_could_never_be_done_is_refused(account: Account) -> None:
    """What it may write in part is noted, and all of it once it may be written."""
    said = account.text("run", "--defer", *account.scope)
    assert (1, account.line("run", "--defer", *account.scope, places=[""])) == (said.code, said.err)
    assert [] == account.entries

    account.own("mine")
    said = account.text("run", "--defer", *account.scope)
    assert (0, "", 1) == (said.code, said.err, len(account.entries))


@pytest.mark.parametrize(("attempts", "paths"), [(0, ["theirs"]), (3, ["theirs"]), (3, None)])
def test_what_an_earlier_try_left_is_dropped(account: Account, attempts: int, paths: list[str] | None) -> None:
    """Also what failed so often that it was parked: this account could never do it."""
    account.own("theirs")
    assert account.text("run", "--defer", *account.scope).code == 0
    (entry,) = account.entries
    content = json.loads(entry.read_text())
    content["attempts"] = attempts
    content["paths"] = paths and [os.fsencode(account.site / path).hex() for path in paths]
    entry.write_text(json.dumps(content))
    for name in ("theirs", "theirs/deep"):
        account.disown(name)

    assert account.text("run", *account.scope).code == 1

    assert [] == account.entries


def test_the_active_environment_is_named_to_root(account: Account) -> None:
    """sudo doesn't pass on which one is active: without its name root would use the system's."""
    environment = account.home.parent / "environment"
    python = account.scope[1]
    subprocess.run([python, "-m", "venv", "--without-pip", environment], check=True)
    write_tree(next(environment.glob("lib/*/site-packages")), {"module.py": "x = 1\n"})
    account.options["env"]["VIRTUAL_ENV"] = str(environment)

    said = account.text("run", "-q")

    words = f"run -q --prefix={environment}"
    assert (1, True) == (said.code, said.err.endswith(f"you need root: sudo pyctrigger {words}\n")), said.err


def test_paths_that_came_through_a_pipe_have_to_come_again(account: Account) -> None:
    """Typed as it was, the command would wait for a terminal."""
    account.disown("mine")
    account.disown("theirs")
    words = ["run", "-q", *account.scope, "--paths-from", "-"]

    said = account.command.text(*words, stdin=f"{account.site}\n".encode(), **account.options)

    assert said.err.endswith(f"; you need root: pipe the same paths into sudo pyctrigger {' '.join(words)}\n"), said


def test_hooks_for_the_system_are_roots_to_install(account: Account) -> None:
    """The same line."""
    words = ("install", "--manager", "apk", "--python", "3.12", "--root", str(account.site))

    said = account.text("hooks", *words)

    reason = f"{account.site}/etc/apk/commit_hooks.d/pyctrigger-py312: Permission denied"
    line = f"pyctrigger: {reason}; you need root: sudo pyctrigger hooks {' '.join(words)}\n"
    assert (1, "", line) == (said.code, said.out, said.err)


@pytest.mark.parametrize("verb", ["run", "repair", "sweep", "purge"])
def test_the_hint_fits_every_verb(pyctrigger: Command, site: Path, newest: Any, verb: str) -> None:
    """What was refused to a purge isn't done by a run, nor without the options that it had."""
    scope = ["--python", newest.path, "--site-dir", str(site)]
    write_tree(site, {"package/module.py": "x = 1\n", "package/other.py": ""})
    assert pyctrigger.text("run", *scope).code == 0
    (site / "package/module.py").write_text("changed = 1\n")
    (site / "package/other.py").unlink()
    (site / "package").chmod(0o777)

    said = pyctrigger.text(verb, *scope)

    (line,) = [line for line in said.out.splitlines() if line.startswith("hint:")]
    assert (1, "hint: refused: fix the cause, and run it again") == (said.code, line), said


def test_what_only_root_may_do_is_no_failure_of_this_accounts(account: Account) -> None:
    """Its own monitor isn't warned of it, but of everything that failed for another reason."""
    account.own("mine", "e.py")
    assert account.text("run", *account.scope).code == 1
    denied = account.text("status", "--check")
    (past,) = account.json("history").document["history"]
    account.own("")
    account.disown("theirs")
    (account.site / "mine/bad.py").write_text("x = (\n")

    assert account.text("run", *account.scope).code == 1

    assert (0, ("failed", [True])) == (denied.code, (past["outcome"], [each["is_denied"] for each in past["flavours"]]))
    failed = account.text("status", "--check")
    assert (1, True) == (failed.code, "the last run failed" in failed.out), failed.out


@pytest.mark.parametrize(("words", "code"), [(("history",), 1), (("doctor",), 1), (("status", "--check"), 3)])
def test_state_that_this_account_may_not_read(account: Account, words: tuple[str, ...], code: int) -> None:
    """It isn't the same as none: no answer is that all is well, or that no run was recorded."""
    account.command.state.mkdir(mode=0o700)

    said = account.text(*words)

    denied = f"--state-dir {account.command.state}: Permission denied; you need root"
    assert (code, True) == (said.code, denied in said.out + said.err), said


def test_an_interpreter_that_this_account_may_not_reach(account: Account) -> None:
    """It exists, for others: nothing has to be made again."""
    account.own("")
    base = account.home.parent / "base"
    write_tree(base, {"python3": ""}).chmod(0o700)
    write_tree(account.site, {"env/pyvenv.cfg": "", "env/bin/activate": ""})
    (account.site / "env/bin/python").symlink_to(base / "python3")

    said = account.text("run", "--prefix", str(account.site / "env"))

    reason = f"{account.site}/env/bin/python leads to {base}/python3: Permission denied"
    assert (69, True) == (said.code, said.err.startswith(f"pyctrigger: {reason}; run it as an account that may, or "))


@pytest.mark.parametrize(
    ("script", "found", "expected"),
    [
        ("path/pyctrigger", True, "pyctrigger"),
        ("venv/bin/pyctrigger", False, "{top}/venv/bin/pyctrigger"),
        ("venv/bin/pyctrigger", True, "{top}/venv/bin/pyctrigger"),  # another one is found
        ("src/pyctrigger/__main__.py", True, "pyctrigger"),
        ("my dir/pyctrigger", False, "{top}/my dir/pyctrigger"),
    ],
)
def test_root_is_told_a_name_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, found: bool, expected: str
) -> None:
    """sudo uses its own search path, which contains no environment and nothing of the account's."""
    for name in (script, *(["path/pyctrigger"] if found else [])):
        write_tree(tmp_path, {name: "#!/bin/sh\n"})
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / script), "run"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(own_name, "_ROOTS_PATH", str(tmp_path / "path"))

    assert expected.format(top=tmp_path) == own_name.command_for_root()
