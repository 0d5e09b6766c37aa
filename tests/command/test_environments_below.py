"""All environments below a directory: which are found, how each is reported, and what a broken one costs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_environments import PACKAGE, fill, library, make_conda, served
from test_prefixes import make_venv

from children import public_directory
from confinement import command_for, cpython_for
from conftest import absent, require_two
from interpreters import find_interpreters
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter

ALICE, BOB = 64511, 64512


def imitate_venv(interpreter: Interpreter, directory: Path) -> Path:
    """A virtual environment by its three parts (PEP 405), in a millisecond; its site directory."""
    write_tree(directory, {"pyvenv.cfg": f"home = {Path(interpreter.path).parent}\n"})
    (directory / "bin").mkdir(exist_ok=True)
    (directory / "bin/python").symlink_to(interpreter.path)
    return write_tree(directory / "lib" / library(interpreter) / "site-packages", {"single.py": "y = 1\n"})


@pytest.fixture
def cpythons(interpreters: list[Interpreter]) -> list[Interpreter]:
    """The CPythons of this machine, oldest first."""
    return [each for each in interpreters if each.implementation == "cpython"]


def test_every_environment_below_is_served_in_one_run(
    pyctrigger: Command, cpythons: list[Interpreter], tmp_path: Path
) -> None:
    """A line for each, by its path, by its own interpreter; the next run has nothing to do."""
    both = (cpythons[0], cpythons[-1])
    require_two(*both)
    sites = [fill(make_venv(each, tmp_path / "projects" / each.flavour / ".venv")) for each in both]

    outcome = pyctrigger.text("run", "--prefix-below", "projects", cwd=tmp_path)

    names = [f"{tmp_path}/projects/{each.flavour}/.venv ({each.flavour})" for each in both]
    lines = [re.sub(r" in .*", "", line) for line in outcome.out.splitlines()]
    assert (0, "") == (outcome.code, outcome.err)
    assert sorted(f"{name}: 3 compiled, 0 removed, 0 failed" for name in names) == lines
    for interpreter, site in zip(both, sites):
        assert 3 == len(pycs_below(site))
        assert [] == not_fresh(interpreter, sources_below(site))
    verified = pyctrigger.json("verify", "--prefix-below", tmp_path / "projects")
    assert (0, 2, 2) == (
        verified.code,
        len(served(verified)),
        len({r["installation"] for r in verified.document["runs"]}),
    )


def test_where_environments_are_looked_for(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Not through links, nor in what never holds one, nor in another; but in the `envs` that conda keeps in its own."""
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    found = ("a/b/c/deep", ".hidden/env", "twice", "weird \n name", "lib/env")
    hidden = (
        "twice/inner",
        "site-packages/env",
        "a/node_modules/env",
        ".git/env",
        f"twice/lib/{library(newest)}/site-packages/env",
        "conda/lib/env",
    )
    for name in (*found, *hidden):
        imitate_venv(newest, top / name)
    imitate_venv(newest, elsewhere / "linked")
    for name in ("conda", "conda/envs/second"):
        make_conda(newest, top / name)
    write_tree(top / "conda/envs/r/conda-meta", {"history": ""})
    (top / "link").symlink_to(elsewhere)
    (top / "again").symlink_to("twice")
    (top / "loop").symlink_to(".")

    outcome = pyctrigger.json("sweep", "--dry-run", "--prefix-below", f"{top}/", "--prefix", top / "twice")

    expected = {str(top / name) for name in (*found, "conda", "conda/envs/second")}
    assert (0, expected) == (outcome.code, set(map(str, served(outcome))))
    assert str(top / "twice") == served(outcome)[0]
    assert len(expected) == len(served(outcome))
    assert f"{top}/conda/envs/r is a conda environment without a Python: there is nothing to do\n" == outcome.err
    itself = pyctrigger.json("sweep", "--dry-run", "--prefix-below", top / "twice")
    assert [str(top / "twice")] == served(itself)


def broken(newest: Interpreter, directory: Path, kind: str) -> None:
    """An environment that can't be used."""
    imitate_venv(newest, directory)
    python = directory / "bin/python"
    python.unlink()
    if kind == "no bin":
        python.parent.rmdir()
    elif kind == "base gone":
        python.symlink_to("python3")
        (directory / "bin/python3").symlink_to("/opt/gone/bin/python3.11")
    elif kind in ("no Python", "unknown version"):
        said = "hello" if kind == "no Python" else '\\npyctrigger-probe:{"version": [4, 0, 0]}'
        python.write_text(f"#!/bin/sh\nprintf '{said}\\n'\n")
        python.chmod(0o755)


@pytest.mark.parametrize(
    ("how", "kind", "code", "words"),
    [
        ("found", "no python", 2, "{0} has no interpreter in its bin; name one with --python PATH"),
        ("named", "no bin", 2, "{0} has no interpreter in its bin; name one with --python PATH"),
        ("found", "base gone", 69, "{0}/bin/python leads to /opt/gone/bin/python3.11, which isn't there; make the "),
        (
            "by a path",
            "base gone",
            69,
            "{0}/bin/python leads to /opt/gone/bin/python3.11, which isn't there; make the ",
        ),
        ("found", "no Python", 69, "{0}/bin/python is not a working Python: exit status 0; "),
        ("found", "unknown version", 69, "{0}/bin/python gave an incomplete answer: "),
    ],
)
def test_an_environment_that_is_broken_costs_only_itself(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, how: str, kind: str, code: int, words: str
) -> None:
    """One line about it, and its exit code; those before and behind it are done."""
    sites = [imitate_venv(newest, tmp_path / name) for name in ("a", "c")]
    broken(newest, tmp_path / "b", kind)
    arguments = {
        "found": ["--prefix-below", str(tmp_path)],
        "named": [part for name in "abc" for part in ("--prefix", str(tmp_path / name))],
        "by a path": [str(tmp_path / name) for name in "abc"],
    }[how]

    outcome = pyctrigger.text("run", *arguments)

    assert (code, 1) == (outcome.code, len(outcome.err.splitlines()))
    assert outcome.err.startswith("pyctrigger: " + words.format(tmp_path / "b"))
    assert [1, 1] == [len(pycs_below(site)) for site in sites]
    assert 2 == len(outcome.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--prefix-below", "nowhere"],
            "--prefix-below {top}/nowhere: no such directory; name a directory that exists",
        ),
        (["--prefix-below", "plain"], "--prefix-below {top}/plain: no environment below it; name another directory"),
        (["--prefix-below", "envs", "--python", "{oldest}"], "--prefix-below {top}/envs: no environment of {oldest}; "),
        (
            ["--prefix-below", "envs", "--site-dir", "plain"],
            "--site-dir {top}/plain: outside of --prefix {top}/envs",
        ),
        (["--prefix-below", "envs", "plain"], "outside the scope of {newest}: {top}/plain; "),
    ],
)
def test_a_directory_without_what_is_asked_for_is_wrong_usage(
    pyctrigger: Command, cpythons: list[Interpreter], tmp_path: Path, arguments: list[str], words: str
) -> None:
    """And nothing is done, nor made."""
    require_two(cpythons[0], cpythons[-1])
    names = {"top": str(tmp_path), "oldest": cpythons[0].flavour, "newest": cpythons[-1].flavour}
    imitate_venv(cpythons[-1], tmp_path / "envs/one")
    write_tree(tmp_path / "plain", PACKAGE)
    before = snapshot(tmp_path / "envs")

    outcome = pyctrigger.text("run", "--stateless", *(each.format(**names) for each in arguments), cwd=tmp_path)

    assert (2, "") == (outcome.code, outcome.out)
    assert outcome.err.startswith(f"pyctrigger: {words.format(**names)}")
    assert (before, False) == (snapshot(tmp_path / "envs"), (tmp_path / "nowhere").exists())


def test_a_site_directory_binds_the_environments_that_it_lies_in(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """Of several that are named or found, under that one's lock; nothing else is touched."""
    sites = [imitate_venv(newest, tmp_path / name) for name in ("one", "two")]
    for site in sites:
        write_tree(site, PACKAGE)
    alone = pyctrigger.json("run", "--dry-run", "--prefix", tmp_path / "one").run["installation"]

    outcome = pyctrigger.json("run", "--prefix-below", tmp_path, "--site-dir", sites[0] / "api")

    assert (0, [str(tmp_path / "one")], 2) == (outcome.code, served(outcome), outcome.counts["compiled"])
    assert alone == outcome.run["installation"]
    assert ([], 2) == (pycs_below(sites[1]), len(pycs_below(sites[0])))


def test_with_a_version_those_of_it_are_served(
    pyctrigger: Command, cpythons: list[Interpreter], tmp_path: Path
) -> None:
    """What was found is of any version; what was named has to be of the one that is asked for."""
    oldest, newest = cpythons[0], cpythons[-1]
    require_two(oldest, newest)
    for each in (oldest, newest):
        imitate_venv(each, tmp_path / each.flavour)

    outcome = pyctrigger.json("run", "--prefix-below", tmp_path, "--python", newest.flavour)
    named = pyctrigger.json("run", "--prefix", tmp_path / oldest.flavour, "--python", newest.flavour)

    assert (0, [str(tmp_path / newest.flavour)]) == (outcome.code, served(outcome))
    assert [f"{tmp_path}/{oldest.flavour} is an environment of {oldest.flavour}, not of {newest.flavour}"] == [
        error["message"] for error in named.document["errors"]
    ]
    assert (2, []) == (named.code, pycs_below(tmp_path / oldest.flavour))


# -- other accounts --------------------------------------------------------------------------------------------------


@pytest.fixture
def homes(as_root: None) -> Iterator[Path]:
    """Where accounts have their homes: a directory of root's that everybody may enter."""
    del as_root
    with public_directory() as directory:
        yield directory


@pytest.fixture
def shared_python(as_root: None) -> Interpreter:
    """A CPython that ordinary accounts may execute."""
    del as_root
    path = cpython_for(ALICE)
    found = [each for each in find_interpreters() if each.path == path]
    if not found:
        absent("no CPython that other accounts than root's may execute")
    return found[0]


def give(directory: Path, account: int) -> None:
    """Make an account the owner of a directory and all that is in it."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, account, account, follow_symlinks=False)


def test_root_serves_each_account_s_environments_as_that_account(
    pyctrigger: Command, homes: Path, shared_python: Interpreter
) -> None:
    """What an interpreter of theirs does, they do; one in the hands of two is refused, and the others are done."""
    log = homes / "log"
    log.touch()
    log.chmod(0o666)
    owners = {"alice": ALICE, "bob": BOB, "mixed": ALICE}
    for name, owner in owners.items():
        site = imitate_venv(shared_python, homes / name / "env")
        python = homes / name / "env/bin/python"
        python.unlink()
        python.write_text(f'#!/bin/sh\nid -u >>{log}\nexec {shared_python.path} "$@"\n')
        python.chmod(0o755)
        give(homes / name, owner)
        assert site.stat().st_uid == owner
    os.chown(homes / "mixed/env/bin/python", BOB, BOB)

    outcome = pyctrigger.json("run", "--prefix-below", homes)

    (error,) = outcome.document["errors"]
    assert (77, 77) == (outcome.code, error["code"])
    assert error["message"].startswith(f"interpreter {homes}/mixed/env/bin/python is not trusted by root: ")
    assert [f"{homes}/alice/env", f"{homes}/bob/env"] == served(outcome)
    assert {str(ALICE), str(BOB)} == set(log.read_text().split())
    for name in ("alice", "bob"):
        (pyc,) = pycs_below(homes / name)
        assert owners[name] == os.stat(pyc).st_uid
    assert [] == pycs_below(homes / "mixed")


def test_an_ordinary_account_serves_its_own_and_is_told_of_what_it_may_not_enter(
    homes: Path, shared_python: Interpreter
) -> None:
    """What can't be looked at is named, exit 3; its own environments are done."""
    site = imitate_venv(shared_python, homes / "alice/env")
    closed = homes / "bob"
    imitate_venv(shared_python, closed / "env")
    closed.chmod(0o700)
    state = homes / "state"
    state.mkdir()
    for place in (homes / "alice", state):
        give(place, ALICE)
    command = command_for(ALICE, state)
    if command is None:
        absent("no Python that can be a host and that other accounts than root's may execute")

    environment = {"HOME": str(state), "XDG_RUNTIME_DIR": str(state)}
    outcome = command.json(
        "run", "--prefix-below", homes, env=environment, cwd="/", user=ALICE, group=ALICE, extra_groups=[]
    )

    (error,) = outcome.document["errors"]
    message = f"--prefix-below {homes}: not everything could be looked at: {closed}: Permission denied"
    assert (3, 3, message) == (outcome.code, error["code"], error["message"])
    assert [f"{homes}/alice/env"] == served(outcome)
    assert 1 == len(pycs_below(site))
    active = command.text(
        *("run", "--dry-run"),
        env={**environment, "VIRTUAL_ENV": f"{homes}/alice/env"},
        cwd="/",
        user=ALICE,
        group=ALICE,
        extra_groups=[],
    )
    assert f"using the active environment {homes}/alice/env; " in active.err


def test_what_only_looks_like_an_environment_is_none(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """A directory that is called like the file, a file that is called like the directory, a FIFO on the way."""
    imitate_venv(newest, tmp_path / "envs/one")
    os.mkfifo(tmp_path / "envs/pyvenv")
    (tmp_path / "envs/odd/pyvenv.cfg").mkdir(parents=True)
    (tmp_path / "envs/other").mkdir()
    (tmp_path / "envs/other/conda-meta").write_text("")

    outcome = pyctrigger.json("sweep", "--dry-run", "--prefix-below", tmp_path / "envs")

    assert (0, [str(tmp_path / "envs/one")]) == (outcome.code, served(outcome))


@pytest.mark.parametrize(
    "named", ["--prefix-below {top}", "--prefix {top}/one --prefix {top}/two", "{top}/one {top}/two"]
)
@pytest.mark.parametrize("verb", ["run", "verify", "purge --all", "status"])
def test_environments_without_a_standard_library_are_one_error(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, named: str, verb: str
) -> None:
    """However many there are: all are named, and where the library is that they borrow."""
    top = tmp_path / "top"
    for name in ("one", "two"):
        fill(imitate_venv(newest, top / name))
    before = snapshot(top)

    said = pyctrigger.text(*verb.split(), "--stdlib", *named.format(top=top).split())

    reason = f"--stdlib: {top}/one, {top}/two have no standard library of {newest.flavour}; it is in "
    assert (2, "", before) == (said.code, said.out, snapshot(top))
    assert said.err.startswith(f"pyctrigger: {reason}")
    assert 1 == said.err.count("\n")


def test_what_is_wrong_for_each_of_many_is_said_once(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """And nothing is said of what wasn't done."""
    for name in ("one", "two"):
        fill(imitate_venv(newest, tmp_path / "top" / name))

    said = pyctrigger.text("sweep", "--unwanted", "--optimize", "0", "--prefix-below", tmp_path / "top")

    assert (2, "", 1) == (said.code, said.out, said.err.count("\n"))
