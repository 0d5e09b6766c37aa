"""Directories that needed nothing, as they were when that was seen."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state.records import directories as module
from pyctrigger.state.records.directories import TABLE, Pages, UnchangedDirectories, UnchangedDirectory, key_of

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


# -- its pages ---------------------------------------------------------------------------------------------------------


def note_every_second(file: File) -> None:
    """Of sixty keys."""
    rows = ((b"\0" + b"%03d" % each, str(each), b"", b"", b"") for each in range(0, 60, 2))
    file.database.executemany("insert into settled values (?, ?, ?, ?, ?)", rows)


#: Rows of the first page and of the largest, the numbers that are looked up, and how many queries that takes.
WALKS: list[tuple[int, int, list[int], int]] = [
    (32, 512, list(range(61)), 1),
    (2, 512, list(range(61)), 5),  # 2, 4, 8, 16 and the rest
    (2, 2, list(range(61)), 16),
    (4, 512, list(range(61)), 4),
    (2, 512, [4, 5, 6, 4], 1),
    (2, 512, [4, 8], 2),
    (2, 512, [8, 4, 6, 8], 3),  # going back turns the page, too
    (2, 512, [58, 59, 60, 61], 1),  # behind the last one there is none
    (2, 512, [1, 3, 5], 2),
]


@pytest.mark.parametrize(("first", "largest", "walk", "queries"), WALKS)
def test_a_walk_takes_few_queries(
    file: File, monkeypatch: pytest.MonkeyPatch, first: int, largest: int, walk: list[int], queries: int
) -> None:
    """Each page is twice as large as the one before; a key that isn't there has no row."""
    monkeypatch.setattr(module, "_FIRST_PAGE", first)
    monkeypatch.setattr(module, "_LARGEST_PAGE", largest)
    note_every_second(file)
    pages = Pages(file.ask)
    expected = [None if each % 2 or each > 58 else (str(each), b"", b"", b"") for each in walk]
    assert expected == [pages.find(b"\0" + b"%03d" % each) for each in walk]
    assert queries == file.asked


def test_a_page_that_is_forgotten_is_read_again(file: File) -> None:
    """The table has changed."""
    note_every_second(file)
    pages, key = Pages(file.ask), b"\0" + b"004"
    before, after = ("4", b"", b"", b""), ("5", b"", b"", b"")
    assert before == pages.find(key)
    file.database.execute("update settled set terms = '5' where terms = '4'")
    assert before == pages.find(key)
    pages.forget()
    assert after == pages.find(key)


@pytest.mark.parametrize("key", ["text", 7, None])
def test_a_row_with_a_key_that_is_none_is_passed_over(key: object) -> None:
    """In a damaged file a column may hold anything."""
    pages = Pages(lambda query, *parameters: [(b"\0" + b"1", "one"), (key, "odd"), (b"\0" + b"2", "two")])
    assert [("one",), ("two",), None] == [pages.find(b"\0" + each) for each in (b"1", b"2", b"3")]
