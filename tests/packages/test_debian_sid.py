"""Whole transactions inside a real Debian sid, with CPython 3.14, 3.15 and PyPy 3.11; and on it, from outside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import corpus
from debian_chroot import EXECUTABLES, Chroot, OwnState, sid_chroot
from interpreters import Interpreter, find_interpreters
from packages import not_fresh, pycs_below, snapshot, sources_below, unlike_py_compile, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

DIST_PACKAGES = "/usr/lib/python3/dist-packages"
FLAVOURS = ("py314", "py315", "pypy311")
TAGS = {"py314": b".cpython-314.", "py315": b".cpython-315.", "pypy311": b".pypy311."}
#: Where the administrator's own packages are: no package manager's business, and none of ours.
LOCALS = [f"/usr/local/lib/{name}/dist-packages" for name in ("python3.14", "python3.15", "pypy3.11")]


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A part of Django, as Debian would lay it down."""
    whole = corpus.django(tmp_path_factory)
    with corpus.room() as part:
        for name in ("django/core", "django/db", "django/utils", "django/__init__.py", "sqlparse"):
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (whole / name).is_dir() else shutil.copy2
            copy(whole / name, target)
        yield part


@pytest.fixture(scope="module")
def sid() -> Iterator[Chroot]:
    """A Debian sid that this module may change."""
    with sid_chroot() as chroot:
        yield chroot


@pytest.fixture
def packages(sid: Chroot, django: Path) -> Path:
    """Debian's directory of packages, with nothing but these in it; and the administrator's, with one more each."""
    directory = sid.outside(DIST_PACKAGES)
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(django, directory)
    for local in LOCALS:
        shutil.rmtree(sid.outside(local), ignore_errors=True)
        write_tree(sid.outside(local), {"administrators/__init__.py": "x = 1\n", "single.py": "x = 1\n"})
    return directory


@pytest.fixture
def targets(sid: Chroot, tmp_path: Path) -> dict[str, Interpreter]:
    """The interpreters inside, by flavour."""
    found = [sid.interpreter(executable, tmp_path) for executable in EXECUTABLES]
    assert FLAVOURS == tuple(target.flavour for target in found)
    return dict(zip(FLAVOURS, found))


def sources_inside(sid: Chroot, directory: Path) -> list[bytes]:
    """Every source below a directory, as seen inside."""
    return [sid.inside(path) for path in sources_below(directory)]


def pycs_of(flavour: str, directory: Path) -> list[bytes]:
    """Every pyc of one flavour."""
    return [path for path in pycs_below(directory) if TAGS[flavour] in path]


def elsewhere(sid: Chroot) -> dict[bytes, object]:
    """All of /usr but the packages, as it is now."""
    top = os.fsencode(sid.outside(DIST_PACKAGES))
    found = snapshot(sid.outside("/usr/lib"))
    found.update(snapshot(sid.outside("/usr/local")))
    return {path: facts for path, facts in found.items() if not path.startswith(top)}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_transaction_in_debians_own_directory(
    sid: Chroot, packages: Path, targets: dict[str, Interpreter], flavour: str
) -> None:
    """Compiled, idle, half removed, swept: /usr/lib/python3/dist-packages and nothing else, never /usr/local."""
    command = sid.command()
    before = elsewhere(sid)
    sources = sources_inside(sid, packages)

    first = command.json("run", "--python", flavour, "--event", "install", "--manager", "dpkg", DIST_PACKAGES)

    assert (0, len(sources), []) == (first.code, first.counts["compiled"], first.failures)
    assert not_fresh(targets[flavour], sources) == []
    assert elsewhere(sid) == before
    compiled = snapshot(packages)
    again = command.json("run", "--python", flavour)
    assert (0, 0, len(sources)) == (again.code, again.counts["compiled"], again.counts["fresh"])
    assert snapshot(packages) == compiled

    shutil.rmtree(packages / "django/db")
    for source in sorted((packages / "sqlparse").rglob("*.py"))[::2]:
        source.unlink()
    removed = command.json("run", "--python", flavour, "--event", "remove", "--manager", "dpkg", DIST_PACKAGES)
    kept = sources_inside(sid, packages)
    assert (0, 0, len(kept)) == (removed.code, removed.counts["compiled"], removed.counts["fresh"])
    assert removed.counts["removed"] > 0
    assert len(pycs_below(packages)) == len(kept)
    assert not_fresh(targets[flavour], kept) == []
    verified = command.json("verify", "--python", flavour)
    assert (0, []) == (verified.code, verified.findings)
    assert elsewhere(sid) == before


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_code_is_what_py_compile_writes_inside(
    sid: Chroot, packages: Path, targets: dict[str, Interpreter], flavour: str
) -> None:
    """By the py_compile of versions that no other test's machine has."""
    part = f"{DIST_PACKAGES}/sqlparse"

    outcome = sid.command().json("run", "--python", flavour, "--optimize", "0,2", part)

    assert (0, []) == (outcome.code, outcome.failures)
    sources = sources_inside(sid, packages / "sqlparse")
    assert len(sources) == outcome.counts["compiled"]
    for level in (0, 2):
        assert [] == unlike_py_compile(targets[flavour], sources, Path("/tmp"), level)


def test_flavours_share_a_directory(sid: Chroot, packages: Path, targets: dict[str, Interpreter]) -> None:
    """Without --python all three are found; each one's sweep leaves the others' bytecode alone."""
    command = sid.command()
    sources = sources_inside(sid, packages)

    outcome = command.json("run")

    runs = {run["flavour"]: run["counts"] for run in outcome.document["runs"]}
    assert (0, set(FLAVOURS)) == (outcome.code, set(runs))
    assert {len(sources)} == {counts["compiled"] for counts in runs.values()}
    for flavour in FLAVOURS:
        assert not_fresh(targets[flavour], sources) == []

    shutil.rmtree(packages / "sqlparse/engine", ignore_errors=True)
    (packages / "sqlparse/sql.py").unlink()
    kept = sources_inside(sid, packages)
    for number, flavour in enumerate(FLAVOURS, 1):
        assert command.json("run", "--python", flavour, f"{DIST_PACKAGES}/sqlparse").counts["removed"] > 0
        counted = [len(pycs_of(each, packages)) - len(kept) for each in FLAVOURS]
        assert [0] * number == counted[:number]
        assert all(orphans > 0 for orphans in counted[number:])
    assert command.json("verify").code == 0


def foreign(targets: dict[str, Interpreter]) -> str:
    """A flavour that sid has and this machine has not."""
    here = {interpreter.flavour for interpreter in find_interpreters()}
    for flavour in targets:
        if flavour not in here:
            return flavour
    raise pytest.skip.Exception("this machine has every interpreter that sid has")


@pytest.fixture
def trap(sid: Chroot) -> Iterator[Path]:
    """A file that appears if anything inside runs Python: each of its interpreters is a trap meanwhile."""
    witness = sid.outside("/witness")
    for executable in EXECUTABLES:
        program = sid.outside(executable)
        program.rename(program.with_name(program.name + ".real"))
        program.write_text("#!/bin/sh\necho trapped >&2\ntrue > /witness\nexit 1\n")
        program.chmod(0o755)
    yield witness
    for executable in EXECUTABLES:
        program = sid.outside(executable)
        program.with_name(program.name + ".real").replace(program)
    witness.unlink(missing_ok=True)


def test_nothing_inside_is_executed_from_outside(
    sid: Chroot, packages: Path, targets: dict[str, Interpreter], trap: Path
) -> None:
    """Without an interpreter of the same magic number out here there is nothing that may compile: exit 69."""
    flavour = foreign(targets)
    before = snapshot(sid.outside("/usr"))
    command = OwnState()
    executable = dict(zip(FLAVOURS, EXECUTABLES))[flavour]

    for arguments in (["--python", flavour], ["--python", flavour, "--dry-run"], ["--python", executable]):
        outcome = command.json("run", "--root", sid.top, *arguments, DIST_PACKAGES)
        assert (69, [69]) == (outcome.code, [error["code"] for error in outcome.document["errors"]])
    assert not trap.exists()
    assert snapshot(sid.outside("/usr")) == before

    trusted = command.json("run", "--root", sid.top, "--trust-root", "--python", flavour, DIST_PACKAGES)
    assert trusted.code == 69
    assert "trapped" in trusted.document["errors"][0]["message"]  # it runs, with no right to leave a file
    assert not trap.exists()


def test_trusted_root_compiles_for_itself(sid: Chroot, packages: Path, targets: dict[str, Interpreter]) -> None:
    """Its interpreter runs after a chroot, and the code has the paths inside; nothing else is left there."""
    command = OwnState()
    sources = sources_inside(sid, packages)
    before, state = elsewhere(sid), snapshot(sid.outside("/var/lib"))
    for flavour in FLAVOURS:
        arguments = ["--root", str(sid.top), "--trust-root", "--python", flavour]

        outcome = command.json("run", *arguments, DIST_PACKAGES)

        assert (0, len(sources), []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
        assert not_fresh(targets[flavour], sources) == []
        written = [sid.inside(pyc) for pyc in pycs_of(flavour, packages)]
        named = {os.fsencode(name) for names in corpus.file_names(targets[flavour], written) for name in names}
        assert named == set(sources)
        assert command.json("verify", *arguments).findings == []
    assert elsewhere(sid) == before
    assert snapshot(sid.outside("/var/lib")) == state
