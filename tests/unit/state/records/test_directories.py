"""Directories that needed nothing, as they were when that was seen."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state.records import directories as module
from pyctrigger.state.records.directories import TABLE, UnchangedDirectories, UnchangedDirectory, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class File:
    """A database in memory that counts questions."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.executescript(TABLE)
        self.asked = 0

    def ask(self, question: str, *parameters: Any) -> list[Any]:
        """The rows of an answer."""
        self.asked += 1
        return self.database.execute(question, parameters).fetchall()

    def all_keys(self) -> list[bytes]:
        """All keys."""
        return [key for (key,) in self.database.execute("select directory from settled order by directory")]


@pytest.fixture
def file() -> Iterator[File]:
    """An empty one."""
    file = File()
    yield file
    file.database.close()


def settled(text: str = "t") -> UnchangedDirectory:
    """What was seen in a directory."""
    return UnchangedDirectory(text, b"below", b"m.py", b"seen")


def saved(file: File, *directories: str) -> None:
    """Save what was seen of these."""
    notes = UnchangedDirectories(file.ask)
    for directory in directories:
        notes.note(key_of(directory), settled(directory))
    notes.write(file.database)


@pytest.mark.parametrize(
    ("directory", "key"),
    [
        ("/a", b"\0a\0"),
        ("/a/", b"\0a\0"),
        ("/a/b", b"\0a\0b\0"),
        ("/", b"\0"),
        ("/aX", b"\0aX\0"),
        ("/\udcff", b"\0\xff\0"),
    ],
)
def test_a_key_begins_with_those_above(directory: str, key: bytes) -> None:
    """And what is below follows it before all others."""
    assert key == key_of(directory)


def test_keys_are_in_the_order_of_a_walk() -> None:
    """`/a-b` comes after all of `/a`."""
    walk = ["/a", "/a/b", "/a/b/c", "/a-b", "/a.b", "/ab"]
    assert walk == sorted(walk, key=key_of)


def test_what_was_noted_is_found_at_once(file: File) -> None:
    """And what was forgotten isn't, whatever the file says."""
    saved(file, "/a", "/b")
    notes = UnchangedDirectories(file.ask)
    notes.note(key_of("/a"), settled("new"))
    notes.forget(key_of("/b"))
    assert (settled("new"), None, 0) == (notes.of(key_of("/a")), notes.of(key_of("/b")), file.asked)
    notes.write(file.database)
    notes.saved()
    assert ([key_of("/a")], settled("new"), None) == (file.all_keys(), notes.of(key_of("/a")), notes.of(key_of("/b")))


@pytest.mark.parametrize("column", ["terms", "below", "sources", "seen"])
@pytest.mark.parametrize("value", [7, "text", b"bytes"])
def test_a_row_that_was_edited_is_none(file: File, column: str, value: Any) -> None:
    """Each column has its type."""
    saved(file, "/a")
    file.database.execute(f"update settled set {column} = ?", (value,))
    fits = isinstance(value, bytes) is (column != "terms")  # SQLite makes text of a number there
    assert fits is (UnchangedDirectories(file.ask).of(key_of("/a")) is not None)


def test_what_is_below_goes_with_a_directory(file: File) -> None:
    """And nothing beside it."""
    saved(file, "/a", "/a/b", "/a/b/c", "/a/bA", "/a/bc", "/a/d", "/e", "/e/f")
    notes = UnchangedDirectories(file.ask)
    notes.forget(key_of("/a"), [b"b"])
    notes.forget(key_of("/e"), [b"f"])
    notes.write(file.database)
    assert sorted([key_of("/a/bA"), key_of("/a/bc"), key_of("/a/d")]) == file.all_keys()


def test_a_run_takes_down_so_much_and_no_more(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a larger tree the next run takes down more."""
    monkeypatch.setattr(module, "MOST_NOTED", 3 * len(b"\0a\0belowm.pyseen"))
    notes = UnchangedDirectories(file.ask)
    for name in "abcd":
        notes.note(key_of(f"/{name}"), settled())
    notes.write(file.database)
    assert [key_of(f"/{name}") for name in "abc"] == file.all_keys()
    notes.saved()
    for name in "defg":
        notes.note(key_of(f"/{name}"), settled())
    notes.write(file.database)
    assert [key_of(f"/{name}") for name in "abcdef"] == file.all_keys()


def test_a_run_forgets_so_much_and_no_more(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is seen to have changed by the next run."""
    saved(file, "/a", "/b", "/c", "/d")
    monkeypatch.setattr(module, "MOST_NOTED", 3 * len(b"\0a\0"))
    notes = UnchangedDirectories(file.ask)
    for name in "abcd":
        notes.forget(key_of(f"/{name}"))
    notes.write(file.database)
    assert [key_of("/d")] == file.all_keys()


@pytest.mark.parametrize(("count", "expected"), [(99, False), (100, True)])
def test_a_hundred_directories_are_worth_saving(file: File, count: int, expected: bool) -> None:
    """Fewer cost less than a transaction."""
    notes = UnchangedDirectories(file.ask)
    for number in range(count):
        notes.note(key_of(f"/{number}"), settled())
    assert expected is notes.is_worth_saving
