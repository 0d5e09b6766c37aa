"""Real packages, with really bad files among them: one transaction, an idle one, an import, a removal, on every target.

What is right is never computed here: the target's own importlib says what is fresh, its own py_compile what is bad.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import corpus
from command import Command, Outcome
from interpreters import find_interpreters
from packages import not_fresh, pycs_below, snapshot, sources_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from interpreters import Interpreter

#: Imports what can be imported, with writing switched on, and says how many modules below the site directory that were.
_IMPORT = r"""
import importlib, sys
site, *names = sys.argv[1:]
sys.path.insert(0, site)
assert not sys.dont_write_bytecode
for name in names:
    try:
        importlib.import_module(name)
    except Exception:  # what 3.6 can't compile, and what a later Python has dropped from its library
        pass
files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(sum(bool(file) and file.startswith(site) for file in files))
"""
_MODULES = (
    *("django", "django.conf", "django.contrib.admin", "django.core.cache", "django.core.mail", "django.db.models"),
    *("django.forms", "django.http", "django.template", "django.test", "django.urls", "django.views.generic"),
    *("asgiref.sync", "sqlparse", "typing_extensions", "lib2to3.refactor"),
)


@dataclass(frozen=True)
class Compiled:
    """Django and the bad packages after one transaction of one target."""

    interpreter: Interpreter
    site: Path
    command: Command
    levels: tuple[int, ...]
    outcome: Outcome

    @property
    def arguments(self) -> list[str]:
        """What every command on this tree says."""
        return options(self.interpreter, self.site, self.levels)

    @property
    def failed(self) -> list[bytes]:
        """The sources that were reported as failures, sorted."""
        return sorted(os.fsencode(failure["path"]) for failure in self.outcome.failures)


class CompiledTrees:
    """The trees of this module, each made when it is first asked for."""

    def __init__(self, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._scratch = scratch
        self._tmp_path_factory = tmp_path_factory
        self._made: dict[str, Compiled] = {}

    def of(self, interpreter: Interpreter, levels: tuple[int, ...]) -> Compiled:
        """The tree of one target."""
        if interpreter.flavour not in self._made:
            home = self._scratch / interpreter.flavour
            packages = corpus.django(self._tmp_path_factory), corpus.bad_packages(find_interpreters(), self._scratch)
            site = corpus.real_site(home / "site", *packages)
            if len(levels) == 1:
                shutil.rmtree(site / "django/contrib")  # a third of all; what the oldest and the newest are for
            command = Command(home / "state")
            outcome = command.json("run", *options(interpreter, site, levels))
            self._made[interpreter.flavour] = Compiled(interpreter, site, command, levels, outcome)
        return self._made[interpreter.flavour]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompiledTrees]:
    """A place for one tree a target; some 30 MB each, so they go as soon as this module is done."""
    with corpus.room() as scratch:
        yield CompiledTrees(scratch, tmp_path_factory)


@pytest.fixture
def compiled(trees: CompiledTrees, interpreter: Interpreter, interpreters: list[Interpreter]) -> Compiled:
    """The tree of one target, after its first transaction: whole and at every level for the oldest and the newest."""
    cpythons = [each for each in interpreters if each.implementation == "cpython"]
    return trees.of(interpreter, (0, 1, 2) if interpreter in (cpythons[0], cpythons[-1]) else (0,))


def options(interpreter: Interpreter, site: Path, levels: tuple[int, ...]) -> list[str]:
    """The target, the tree and the levels."""
    return ["--python", interpreter.path, "--site-dir", str(site), "--optimize", ",".join(map(str, levels))]


def test_everything_is_fresh_but_what_the_target_refuses(compiled: Compiled) -> None:
    """A failure is a source that py_compile refuses, too, and everything else has a pyc that importlib takes."""
    sources = sources_below(compiled.site)

    assert len(sources) > (1300 if len(compiled.levels) > 1 else 900)
    assert len(compiled.failed) > 10
    assert corpus.refused_by(compiled.interpreter, compiled.failed) == compiled.failed
    good = sorted(set(sources) - set(compiled.failed))
    for level in compiled.levels:
        assert not_fresh(compiled.interpreter, good, level) == []
    assert (1, len(good), len(compiled.failed)) == (
        compiled.outcome.code,
        compiled.outcome.counts["compiled"],
        compiled.outcome.counts["failed"],
    )
    assert len(pycs_below(compiled.site)) == len(good) * len(compiled.levels)


def test_second_run_says_and_writes_nothing(compiled: Compiled) -> None:
    """What can't compile was announced once; from then on it is skipped, and no failure."""
    before = snapshot(compiled.site)

    again = compiled.command.json("run", *compiled.arguments)

    good = compiled.outcome.counts["compiled"]
    assert (0, [], 0, good, len(compiled.failed)) == (
        again.code,
        again.failures,
        again.counts["compiled"],
        again.counts["fresh"],
        again.counts["skipped"],
    )
    assert snapshot(compiled.site) == before
    verified = compiled.command.json("verify", *compiled.arguments)
    assert {"uncompilable"} == {finding["kind"] for finding in verified.findings}
    assert compiled.failed == sorted(os.fsencode(finding["source"]) for finding in verified.findings)
    assert verified.code == 0


def test_import_writes_nothing(compiled: Compiled) -> None:
    """A real process that may write bytecode finds all of it there."""
    before = snapshot(compiled.site)

    child = subprocess.run(
        [compiled.interpreter.path, "-I", "-W", "ignore", "-c", _IMPORT, str(compiled.site), *_MODULES],
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=300,
        check=False,
    )

    assert child.returncode == 0, child.stderr.decode()
    assert int(child.stdout.split()[-1]) > 20
    assert snapshot(compiled.site) == before


def test_half_of_it_is_removed(compiled: Compiled) -> None:
    """Of what went, no bytecode and no empty directory is left; of what stayed, nothing is missing."""
    site = compiled.site.with_name("half")
    shutil.copytree(compiled.site, site, symlinks=True)
    command = Command(compiled.site.with_name("state of half"))
    arguments = options(compiled.interpreter, site, compiled.levels)
    first = command.json("run", *arguments)
    # What was compiled elsewhere names another path, and no record vouches for it.
    assert len(compiled.failed) == first.counts["failed"]
    gone = remove_half(site)
    before = snapshot(site)
    expected = [path for path in before if not os.path.isdir(path) and not is_orphan(path, gone)]
    touched = sorted({os.path.dirname(source) for source in gone})

    arguments += ["--event", "remove", "--paths-from", "-", "--null"]
    outcome = command.json("run", *arguments, stdin=b"\0".join(touched))

    assert (0, 0) == (outcome.counts["compiled"], outcome.counts["fresh"] - len(fresh_sources(site, compiled)))
    after = snapshot(site)
    assert sorted(expected) == sorted(path for path in after if not os.path.isdir(path))
    assert {path for path in after if os.path.isdir(path)} == directories_of(expected, site)
    assert all(after[path] == before[path] for path in expected)
    shutil.rmtree(site)


def remove_half(site: Path) -> set[bytes]:
    """Remove every second source and, as package managers do, the directories that this empties; what was removed."""
    gone = set(sources_below(site)[::2])
    for source in gone:
        os.unlink(source)
    for directory, _, _ in os.walk(os.fsencode(site), topdown=False):
        if not os.listdir(directory):
            os.rmdir(directory)
    return gone


def is_orphan(path: bytes, gone: set[bytes]) -> bool:
    """Whether this is a pyc of one of the sources that are gone."""
    directory, name = os.path.split(path)
    above, pycache = os.path.split(directory)
    return pycache == b"__pycache__" and os.path.join(above, name.split(b".")[0] + b".py") in gone


def directories_of(paths: list[bytes], site: Path) -> set[bytes]:
    """Every directory below `site` that one of `paths` lies in."""
    top = os.fsencode(site)
    found = set()
    for path in paths:
        directory = os.path.dirname(path)
        while directory != top and directory not in found:
            found.add(directory)
            directory = os.path.dirname(directory)
    return found


def fresh_sources(site: Path, compiled: Compiled) -> list[bytes]:
    """The sources left in `site`, a copy of the compiled tree, that have bytecode."""
    top, copied = os.fsencode(compiled.site), os.fsencode(site)
    failed = {copied + path[len(top) :] for path in compiled.failed}
    return [source for source in sources_below(site) if source not in failed]
