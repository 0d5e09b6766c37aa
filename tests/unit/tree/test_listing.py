"""The contents of a directory, in one pass."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.tree.listing import list_pycs, list_sources, source_owners

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Make = Callable[["Path"], Any]
#: What has a name, and which field of the listing tells it: None: it is counted among the others.
ENTRIES: dict[str, tuple[str, Make, str | None]] = {
    "a source": ("m.py", lambda path: path.write_text(""), "sources"),
    "a package's": ("__init__.py", lambda path: path.write_text(""), "sources"),
    "no identifier": ("a b-c.py", lambda path: path.write_text(""), "sources"),
    "a linked source": ("m.py", lambda path: path.symlink_to("nowhere"), "links"),
    "a link to a source": ("m.py", lambda path: path.symlink_to(__file__), "links"),
    "a directory like a source": ("m.py", lambda path: path.mkdir(), "directories"),
    "a fifo like a source": ("m.py", os.mkfifo, None),
    "the suffix alone": (".py", lambda path: path.write_text(""), None),
    "a link with the suffix alone": (".py", lambda path: path.symlink_to("x"), None),
    "another case": ("m.PY", lambda path: path.write_text(""), None),
    "a stub": ("m.pyi", lambda path: path.write_text(""), None),
    "a text": ("README", lambda path: path.write_text(""), None),
    "a package": ("package", lambda path: path.mkdir(), "directories"),
    "a directory of data": ("x-1.dist-info", lambda path: path.mkdir(), "directories"),
    "a linked package": ("package", lambda path: path.symlink_to("."), "linked"),
    "a link of another name": ("x-1", lambda path: path.symlink_to("."), None),
    "a file like a package": ("package", lambda path: path.write_text(""), None),
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def opened(path: Path) -> int:
    """Its descriptor."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def listed(path: Path, **options: Any) -> dict[str, Any]:
    """The fields of its listing that aren't empty."""
    descriptor = opened(path)
    try:
        found = list_sources(descriptor, **options)
    finally:
        os.close(descriptor)
    return {key: value for key, value in found._asdict().items() if value}


@pytest.mark.parametrize("case", ENTRIES)
def test_each_kind_of_entry_is_told(top: Path, case: str) -> None:
    """By its name and its type; no link is followed, and nothing waits."""
    name, make, field = ENTRIES[case]
    make(top / name)
    expected: dict[str, Any] = {field: [name]} if field else {}
    if field is None or field == "linked":
        expected["others"] = 1
    if name.endswith(".py"):
        expected["names"] = {name}
    assert expected == listed(top)


def test_everything_together_is_sorted(top: Path) -> None:
    """Sources and directories; `__pycache__` is neither."""
    for name in ("b.py", "a.py", "c.py"):
        (top / name).touch()
    for name in ("y", "x", "__pycache__"):
        (top / name).mkdir()
    for name in ("README", "py.typed"):
        (top / name).touch()
    for name in ("l.py", "k.py"):
        (top / name).symlink_to("a.py")
    found = listed(top)
    found["links"].sort()
    expected = {
        "sources": ["a.py", "b.py", "c.py"],
        "directories": ["x", "y"],
        "names": {"a.py", "b.py", "c.py", "k.py", "l.py"},
        "has_pycache": True,
        "links": ["k.py", "l.py"],
        "others": 2,
    }
    assert expected == found


def test_a_pycache_is_whatever_has_its_name(top: Path) -> None:
    """Who opens it sees what it is."""
    (top / "__pycache__").symlink_to("nowhere")
    assert {"has_pycache": True} == listed(top)


def test_what_is_to_be_skipped_counts_as_others(top: Path) -> None:
    """As other flavours' packages in a directory that they share."""
    for name in ("a", "b"):
        (top / name).mkdir()
    assert {"directories": ["a"], "others": 1} == listed(top, skip={"b"})


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], True), (["d/"], True), (["__pycache__/"], True), (["m.py"], False), (["x"], False), (["l.py@"], False)],
)
def test_a_barren_directory_has_nothing_but_directories(top: Path, names: list[str], expected: bool) -> None:
    """What is in it may go with them."""
    for name in names:
        if name.endswith("@"):
            (top / name[:-1]).symlink_to("x")
        elif name.endswith("/"):
            (top / name).mkdir()
        else:
            (top / name).touch()
    descriptor = opened(top)
    assert expected is list_sources(descriptor).is_barren
    os.close(descriptor)


def test_pycs_are_told_from_what_is_no_file(top: Path) -> None:
    """Links are not followed; directories are listed apart."""
    (top / "a.pyc").touch()
    (top / "b.pyc").symlink_to("a.pyc")
    os.mkfifo(top / "c.pyc")
    (top / "d.pyc").mkdir()
    (top / "e.pyc").symlink_to("d.pyc")
    descriptor = opened(top)
    assert ({"a.pyc": True, "b.pyc": False, "c.pyc": False, "e.pyc": False}, ["d.pyc"]) == list_pycs(descriptor)
    os.close(descriptor)


@pytest.mark.usefixtures("as_root")
def test_owners_are_those_of_the_sources(top: Path) -> None:
    """Not of links, directories or other files."""
    for name, uid in [("a.py", 1), ("b.py", 2), ("c.py", 2), ("text", 3)]:
        (top / name).touch()
        os.chown(top / name, uid, uid)
    (top / "l.py").symlink_to("a.py")
    os.lchown(top / "l.py", 4, 4)
    (top / "d.py").mkdir()
    os.chown(top / "d.py", 5, 5)
    descriptor = opened(top)
    assert {1, 2} == source_owners(descriptor)
    os.close(descriptor)


def test_a_source_that_goes_meanwhile_has_no_owner(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the listing and the look at it."""
    (top / "a.py").touch()
    (top / "b.py").touch()
    scandir = os.scandir

    @contextlib.contextmanager
    def listing_before_it_goes(directory: int) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(directory) as entries:
            found = list(entries)
        (top / "a.py").unlink()
        yield found

    monkeypatch.setattr(os, "scandir", listing_before_it_goes)
    descriptor = opened(top)
    assert {os.geteuid()} == source_owners(descriptor)
    os.close(descriptor)
