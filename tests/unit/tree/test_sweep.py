"""Removing, with the proof at the moment of removal."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, Callable

import pytest

from packages import write_tree
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.sweep import remove_directory, remove_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A package with a source, its pyc, and an orphan."""
    return write_tree(
        tmp_path / "site",
        {"p/m.py": "", "p/__pycache__/m.pyc": "", "p/__pycache__/gone.pyc": "", "p/__pycache__/x.tmp": ""},
    )


@pytest.fixture
def layout(top: Path) -> Iterator[Layout]:
    """Opened."""
    with Layout(Tree.open(str(top))) as layout:
        yield layout


Deed = Callable[["Path"], Any]
#: What has the name of a source, and whether its pyc goes.
PROOFS: dict[str, tuple[Deed, bool]] = {
    "nothing": (lambda path: None, True),
    "a file": (lambda path: path.touch(), False),
    "a dangling link": (lambda path: path.symlink_to("nowhere"), False),
    "a link in a circle": (lambda path: path.symlink_to(path.name), False),
    "a directory": (lambda path: path.mkdir(), False),
    "a fifo": (os.mkfifo, False),
    "another case": (lambda path: path.with_name("GONE.py").touch(), True),
}


@pytest.mark.parametrize("case", PROOFS)
def test_a_pyc_goes_when_its_source_is_gone(top: Path, layout: Layout, case: str) -> None:
    """ENOENT for the name itself; everything else keeps it."""
    make, goes = PROOFS[case]
    make(top / "p/gone.py")
    done = list(remove_files(layout, "p", [("gone.pyc", "gone.py"), ("m.pyc", "m.py")]))
    assert ([("gone.pyc", True, None)] if goes else []) == done
    assert (not goes, True) == ((top / "p/__pycache__/gone.pyc").exists(), (top / "p/__pycache__/m.pyc").exists())


def test_residue_needs_no_proof(top: Path, layout: Layout) -> None:
    """It is of no source."""
    assert [("x.tmp", True, None)] == list(remove_files(layout, "p", [("x.tmp", None)]))
    assert not (top / "p/__pycache__/x.tmp").exists()


def test_what_went_already_is_not_by_us(layout: Layout) -> None:
    """Another one was faster."""
    assert [("other.pyc", False, None)] == list(remove_files(layout, "p", [("other.pyc", None)]))


def test_what_cannot_go_is_told(top: Path, layout: Layout) -> None:
    """With its error; the others go all the same."""
    (top / "p/__pycache__/d.pyc").mkdir()
    (name, gone, error), second = remove_files(layout, "p", [("d.pyc", None), ("x.tmp", None)])
    assert ("d.pyc", False, True) == (name, gone, isinstance(error, OSError))
    assert ("x.tmp", True, None) == second


def test_a_source_that_cannot_be_asked_about_is_told(
    top: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pyc stays, and that is said."""
    trouble = OSError(errno.EIO, os.strerror(errno.EIO))

    def fail(*_: str) -> os.stat_result:
        raise trouble

    monkeypatch.setattr(layout.sources, "lstat", fail)
    assert [("gone.pyc", False, trouble)] == list(remove_files(layout, "p", [("gone.pyc", "gone.py")]))
    assert (top / "p/__pycache__/gone.pyc").exists()


def test_of_a_directory_that_is_gone_all_sources_are(top: Path, layout: Layout) -> None:
    """With a pycache prefix what is left is elsewhere."""
    prefix = write_tree(top.parent / "prefix", {f"{str(top).strip('/')}/q/m.pyc": ""})
    with Layout(Tree.open(str(top)), Tree.open(str(prefix))) as elsewhere:
        assert [("m.pyc", True, None)] == list(remove_files(elsewhere, "q", [("m.pyc", "m.py")]))


def test_a_directory_that_cannot_be_seen_proves_nothing(top: Path) -> None:
    """A file in its place isn't an absent directory."""
    prefix = write_tree(top.parent / "prefix", {f"{str(top).strip('/')}/q/m.pyc": ""})
    (top / "q").write_text("")
    with Layout(Tree.open(str(top)), Tree.open(str(prefix))) as elsewhere:
        assert [] == list(remove_files(elsewhere, "q", [("m.pyc", "m.py")]))
        assert [("m.pyc", True, None)] == list(remove_files(elsewhere, "q", [("m.pyc", None)]))


def test_without_a_pycache_there_is_nothing_to_remove(top: Path, layout: Layout) -> None:
    """And one that is a link is an error for each file."""
    assert [("m.pyc", False, None)] == list(remove_files(layout, "absent", [("m.pyc", None)]))
    (top / "q").mkdir()
    (top / "q/__pycache__").symlink_to("../p/__pycache__")
    ((name, gone, error),) = remove_files(layout, "q", [("m.pyc", None)])
    assert ("m.pyc", False) == (name, gone)
    assert error is not None
    assert error.errno in (errno.ELOOP, errno.ENOTDIR)
    assert (top / "p/__pycache__/m.pyc").exists()


@pytest.mark.parametrize(("names", "expected"), [([], True), (["left"], False)])
def test_an_empty_directory_goes(top: Path, layout: Layout, names: list[str], expected: bool) -> None:
    """rmdir(2) proves it."""
    write_tree(top, {"q/__pycache__/x": "", "r/x": ""})
    for directory in (top / "q/__pycache__", top / "r"):
        (directory / "x").unlink()
        for name in names:
            (directory / name).touch()
    removed = remove_directory(layout.pycs, "q/__pycache__"), remove_directory(layout.sources, "r")
    assert (expected, expected) == removed
    assert (not expected, not expected) == ((top / "q/__pycache__").exists(), (top / "r").exists())


def test_a_directory_that_went_already_was_not_removed(top: Path, layout: Layout) -> None:
    """It isn't counted."""
    with pytest.raises(FileNotFoundError):
        remove_directory(layout.sources, "absent")
    (top / "file").touch()
    with pytest.raises(NotADirectoryError):
        remove_directory(layout.sources, "file")


def test_no_directory_is_removed_through_a_link(top: Path, layout: Layout) -> None:
    """It is in another one."""
    (top / "p/empty").mkdir()
    (top / "link").symlink_to("p")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is compared
        remove_directory(layout.sources, "link/empty")
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert (top / "p/empty").exists()


def test_a_removed_directory_is_opened_anew(top: Path, layout: Layout) -> None:
    """When somebody makes another one."""
    (top / "r").mkdir()
    layout.sources.directory("r")
    assert remove_directory(layout.sources, "r") is True
    (top / "r").mkdir()
    assert (top / "r").stat().st_ino == os.fstat(layout.sources.directory("r")).st_ino
