"""Real packages, with really bad files among them: one transaction, an idle one, an import, a removal, on every target.

What is right is never computed here: the target's own importlib says what is fresh, its own py_compile what is bad and
what the bytes are. Each target compiles its tree once, for all of these tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import corpus
from bytes_of_workers import bodies
from command import Command, Outcome
from interpreters import find_interpreters
from packages import not_fresh, pycs_below, snapshot, sources_below, unlike_py_compile

if TYPE_CHECKING:
    from collections.abc import Iterator

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
LEVELS = (0, 1, 2)
#: Of Django, only for the oldest and the newest: most of its bytes, and nothing that the rest doesn't have.
#: Of CPython's tests the others get every fourth, and all bad ones.
_MORE_OF_THE_SAME = ("conf/locale", "contrib", "db", "forms", "test", "views")
#: Whatever bytes are in a name.
_ODD_NAMES = (b"\xff.py", b"new\nline.py", b"\xc3\xa4.py", b"two words.py")
_MODULES = (
    *("django", "django.conf", "django.contrib.admin", "django.core.cache", "django.core.mail", "django.db.models"),
    *("django.forms", "django.http", "django.template", "django.test", "django.urls", "django.views.generic"),
    *("asgiref.sync", "sqlparse", "typing_extensions", "lib2to3.refactor"),
)


@dataclass(frozen=True)
class Compiled:
    """Django and the bad packages after one transaction of one target, at every level, by two workers."""

    interpreter: Interpreter
    site: Path
    command: Command
    is_whole: bool
    outcome: Outcome

    @property
    def arguments(self) -> list[str]:
        """What every command on this tree says."""
        return options(self.interpreter, self.site)

    @property
    def failed(self) -> list[bytes]:
        """The sources that were reported as failures, sorted."""
        return sorted(os.fsencode(failure["path"]) for failure in self.outcome.failures)

    @property
    def good(self) -> list[bytes]:
        """All others, sorted."""
        return sorted(set(sources_below(self.site)) - set(self.failed))

    def some(self, count: int) -> list[bytes]:
        """About so many of these, from all over the tree."""
        return self.good[:: len(self.good) // count]

    def digest(self, source: bytes, level: int) -> str:
        """The digest of the body of a pyc, as `bodies` has it."""
        directory, name = os.path.split(os.fsdecode(source))
        tag = self.outcome.run["interpreter"]["cache_tag"] + (f".opt-{level}" if level else "")
        pyc = Path(directory, "__pycache__", f"{name[:-3]}.{tag}.pyc")
        return hashlib.sha256(pyc.read_bytes()[corpus.header_size(self.interpreter) :]).hexdigest()


class CompiledTrees:
    """The trees of this module, each made when it is first asked for."""

    def __init__(self, scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._scratch = scratch
        self._tmp_path_factory = tmp_path_factory
        self._made: dict[str, Compiled] = {}

    def of(self, interpreter: Interpreter, *, is_whole: bool) -> Compiled:
        """The tree of one target."""
        if interpreter.flavour not in self._made:
            home = self._scratch / interpreter.flavour
            packages = corpus.django(self._tmp_path_factory), corpus.bad_packages(find_interpreters(), self._scratch)
            site = corpus.real_site(home / "site", *packages)
            if not is_whole:
                for part in _MORE_OF_THE_SAME:
                    shutil.rmtree(site / "django" / part)
                for number, path in enumerate(sorted((site / "test").rglob("*.py"))):
                    if number % 4 and not path.name.startswith("bad"):
                        path.unlink()
            for name in _ODD_NAMES:
                Path(os.fsdecode(os.path.join(os.fsencode(site), name))).write_text("def f(): return 1\n")
            command = Command(home / "state")
            outcome = command.json("run", *options(interpreter, site), "--jobs", "2")
            self._made[interpreter.flavour] = Compiled(interpreter, site, command, is_whole, outcome)
        return self._made[interpreter.flavour]

    def give_up(self, compiled: Compiled) -> None:
        """Remove a tree that has changed; the next request for it gets a new one."""
        del self._made[compiled.interpreter.flavour]
        shutil.rmtree(compiled.site.parent)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompiledTrees]:
    """A place for one tree a target; some 30 MB each, so they go as soon as this module is done."""
    with corpus.room() as scratch:
        yield CompiledTrees(scratch, tmp_path_factory)


@pytest.fixture
def compiled(trees: CompiledTrees, interpreter: Interpreter, interpreters: list[Interpreter]) -> Compiled:
    """The tree of one target, after its first transaction: with all of Django for the oldest and the newest."""
    cpythons = [each for each in interpreters if each.implementation == "cpython"]
    return trees.of(interpreter, is_whole=interpreter in (cpythons[0], cpythons[-1]))


def options(interpreter: Interpreter, site: Path) -> list[str]:
    """The target, the tree and the levels."""
    return ["--python", interpreter.path, "--site-dir", str(site), "--optimize", ",".join(map(str, LEVELS))]


def test_everything_is_fresh_but_what_the_target_refuses(compiled: Compiled) -> None:
    """A failure is a source that py_compile refuses, too, and everything else has a pyc that importlib takes."""
    sources = sources_below(compiled.site)

    assert len(sources) > (1300 if compiled.is_whole else 400)
    assert len(compiled.failed) > 10
    assert corpus.refused_by(compiled.interpreter, compiled.failed) == compiled.failed
    good = compiled.good
    for level in LEVELS:
        assert not_fresh(compiled.interpreter, good, level) == []
    assert (1, len(good), len(compiled.failed)) == (
        compiled.outcome.code,
        compiled.outcome.counts["compiled"],
        compiled.outcome.counts["failed"],
    )
    assert len(pycs_below(compiled.site)) == len(good) * len(LEVELS)


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


def test_code_is_what_py_compile_writes(compiled: Compiled) -> None:
    """At every level, from two workers, in any order of the sources, with any bytes in their names."""
    odd = [os.path.join(os.fsencode(compiled.site), name) for name in _ODD_NAMES]
    some = [*odd, *compiled.some(70)]

    for level in LEVELS:
        assert unlike_py_compile(compiled.interpreter, some[level::2], compiled.site.parent, level) == []


def test_every_level_is_what_it_is_alone(compiled: Compiled) -> None:
    """One level asked for at a time, of one worker, in the opposite order: no byte differs."""
    some = compiled.some(45)[::-1]

    together = {(path, level): compiled.digest(path, level) for path in some for level in LEVELS}

    alone = {level: bodies(compiled.interpreter.path, some, workers=1, level=level) for level in LEVELS}
    assert together == {(path, level): body for level, found in alone.items() for path, body in found.items()}


def test_bytes_depend_on_the_source_alone(compiled: Compiled) -> None:
    """Two workers in a transaction of all, or five that get these alone, in two orders: no difference."""
    some = compiled.some(45)
    expected = {path: compiled.digest(path, 0) for path in some}

    for order in (some, some[::-1]):
        assert expected == bodies(compiled.interpreter.path, order, workers=5)


def test_half_of_it_is_removed(compiled: Compiled, trees: CompiledTrees) -> None:
    """Of what went, no bytecode and no empty directory is left; of what stayed, nothing is missing."""
    site = compiled.site
    gone = remove_half(site)
    before = snapshot(site)
    expected = [path for path in before if not os.path.isdir(path) and not is_orphan(path, gone)]
    touched = sorted({os.path.dirname(source) for source in gone})

    arguments = [*compiled.arguments, "--event", "remove", "--paths-from", "-", "--null"]
    outcome = compiled.command.json("run", *arguments, stdin=b"\0".join(touched))

    left = set(sources_below(site)) - set(compiled.failed)
    assert (0, len(left)) == (outcome.counts["compiled"], outcome.counts["fresh"])
    after = snapshot(site)
    assert sorted(expected) == sorted(path for path in after if not os.path.isdir(path))
    assert {path for path in after if os.path.isdir(path)} == directories_of(expected, site)
    assert all(after[path] == before[path] for path in expected)
    trees.give_up(compiled)


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
    """Every directory below `site` that contains one of `paths`."""
    top = os.fsencode(site)
    found = set()
    for path in paths:
        directory = os.path.dirname(path)
        while directory != top and directory not in found:
            found.add(directory)
            directory = os.path.dirname(directory)
    return found
