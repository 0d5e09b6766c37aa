"""Once a hook was told of a source, no import runs another version's code: whoever wrote that pyc, and whenever.

Archives clamp times, so two versions of a source can share mtime and size. Then the header of a pyc fits both, and
`import` takes the old code for the new source's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

import pytest

from packages import wait_for_the_next_tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter

#: As archives with clamped times have it.
LONG_AGO = 10**9
#: A function and a class: of these an older CPython marshals other bytes when it imports than in a worker.
SOURCE = """VALUE = {0}
def function(argument, *more, key=5):
    return [argument + each for each in more if key]
class Kind:
    table = {{"a": (1, 2.5, None), "b": b"{0}"}}
"""


class Tree(NamedTuple):
    """A package of one module, what imports it, and the hook."""

    site: Path
    interpreter: Interpreter
    command: Command

    @property
    def source(self) -> Path:
        """The module."""
        return self.site / "package/module.py"

    def unpack(self, version: int | str, mtime: int = LONG_AGO) -> None:
        """As package managers do it; all versions have the same size."""
        new = self.source.with_name(".new")
        new.write_text(SOURCE.format(version), encoding="utf-8")
        os.utime(new, (mtime, mtime))
        new.rename(self.source)
        wait_for_the_next_tick(self.site)

    def imported(self) -> str:
        """What an import says that writes bytecode where it finds none that it takes."""
        program = "import sys; sys.path.insert(0, sys.argv[1]); import package.module; print(package.module.VALUE)"
        command = [self.interpreter.path, "-I", "-S", "-c", program, str(self.site)]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout

    def hook(self, *paths: Path | str) -> None:
        """The hook with these paths, or with something harmless."""
        scope = ["--python", self.interpreter.path, "--site-dir", str(self.site)]
        assert 0 == self.command.json("run", "--hook", *scope, *(paths or ("/usr/share/doc",))).code

    @property
    def pyc(self) -> Path:
        """The only pyc."""
        (pyc,) = self.site.glob("package/__pycache__/*")
        return pyc

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Somebody else has locked the records."""
        (records,) = self.command.state.glob("*/manifest.sqlite")
        with contextlib.closing(sqlite3.connect(records)) as database:
            database.execute("begin exclusive")
            yield


def import_first(tree: Tree) -> None:
    """An import compiles the first version before any hook."""
    tree.unpack(1)
    tree.imported()
    tree.unpack(2)
    tree.hook(tree.site / "package")


def import_what_was_reinstalled(tree: Tree) -> None:
    """A hook knows the first version; it is reinstalled, and an import is faster than the hook."""
    tree.unpack(1, LONG_AGO + 5)
    tree.hook(tree.site)
    tree.unpack(1)
    tree.imported()
    tree.unpack(2)
    tree.hook(tree.site / "package")


def glance(tree: Tree) -> None:
    """The same, and no hook gets the paths."""
    tree.unpack(1)
    tree.hook(tree.site)
    shutil.rmtree(tree.pyc.parent)
    tree.imported()
    tree.unpack(2)
    tree.hook()


def finish_late(tree: Tree) -> None:
    """An import has read the first version, and writes its pyc after the hook for the second."""
    tree.unpack(1)
    tree.imported()
    pyc, late = tree.pyc, tree.site / "late"
    pyc.rename(late)
    tree.unpack(2)
    tree.hook(tree.site / "package")
    late.rename(pyc)
    tree.hook()


def lose_records(tree: Tree) -> None:
    """Hooks know the first version, and all state is lost before one gets the second."""
    tree.unpack(1)
    tree.hook(tree.site)
    shutil.rmtree(tree.command.state)
    tree.unpack(2)
    tree.hook(tree.site / "package")


def lock_records(tree: Tree) -> None:
    """The records can't be read by one hook; the next one can."""
    tree.unpack(1)
    tree.hook(tree.site)
    tree.unpack(2)
    with tree.busy():
        tree.hook(tree.site / "package")
    tree.hook()


def fill_from_elsewhere(tree: Tree) -> None:
    """Another package's pyc, of a source with the same name, size and time."""
    tree.unpack(1)
    tree.imported()
    other = tree.pyc.read_bytes()
    tree.unpack(2)
    tree.pyc.write_bytes(other)
    tree.hook(tree.site / "package")


def become_uncompilable(tree: Tree) -> None:
    """The second version has no code: an import is to say so."""
    tree.unpack(1)
    tree.hook(tree.site)
    tree.unpack("(")
    tree.hook(tree.site / "package")


def become_uncompilable_under_an_import(tree: Tree) -> None:
    """The same, and an import of the first version writes its pyc after that."""
    tree.unpack(1)
    tree.imported()
    pyc, late = tree.pyc, tree.site / "late"
    pyc.rename(late)
    tree.unpack("(")
    tree.hook(tree.site / "package")
    late.rename(pyc)
    tree.hook()


@pytest.mark.parametrize("python", ["newest", "oldest"])
@pytest.mark.parametrize("become", [become_uncompilable, become_uncompilable_under_an_import])
def test_a_source_without_code_has_no_pyc(
    pyctrigger: Command, site: Path, request: pytest.FixtureRequest, python: str, become: Callable[[Tree], None]
) -> None:
    """Otherwise an import uses an earlier version's, and nobody sees that it is broken."""
    (site / "package").mkdir()
    tree = Tree(site, request.getfixturevalue(python), pyctrigger)

    become(tree)

    assert "SyntaxError" in tree.imported()
    assert [] == list(site.glob("**/*.pyc"))


@pytest.mark.parametrize(
    "arrive",
    [import_first, import_what_was_reinstalled, glance, finish_late, lose_records, lock_records, fill_from_elsewhere],
    ids=lambda arrive: arrive.__name__.replace("_", " "),
)
@pytest.mark.parametrize("python", ["newest", "oldest"])
def test_another_versions_code_is_never_imported(
    pyctrigger: Command, site: Path, request: pytest.FixtureRequest, python: str, arrive: Callable[[Tree], None]
) -> None:
    """However the first version's pyc has come behind a header that fits the second's source."""
    (site / "package").mkdir()
    tree = Tree(site, request.getfixturevalue(python), pyctrigger)

    arrive(tree)

    assert "2\n" == tree.imported()
