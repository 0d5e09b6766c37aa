"""Pages of a table: look-ups in the order of its keys take few queries, and others are answered, too."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state.records import pages as module
from pyctrigger.state.records.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE = "select key, value from one where key >= ? order by key limit ?"
TWO = "select first, second, value from two where (first, second) >= (?, ?) order by first, second limit ?"


class Tables:
    """A database in memory that counts queries."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("create table one (key blob primary key, value) without rowid")
        self.database.execute(
            "create table two (first blob, second blob, value, primary key (first, second)) without rowid"
        )
        self.asked = 0

    def ask(self, query: str, *parameters: Any) -> list[Any]:
        """The rows of an answer."""
        self.asked += 1
        return self.database.execute(query, parameters).fetchall()


@pytest.fixture
def tables() -> Iterator[Tables]:
    """With every second one of sixty keys."""
    tables = Tables()
    tables.database.executemany("insert into one values (?, ?)", ((b"/%03d" % each, each) for each in range(0, 60, 2)))
    keys = ((b"/%d" % (each // 10), b"%03d" % each, each) for each in range(0, 60, 2))
    tables.database.executemany("insert into two values (?, ?, ?)", keys)
    yield tables
    tables.database.close()


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
@pytest.mark.parametrize("columns", [1, 2])
def test_a_walk_takes_few_queries(
    tables: Tables,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    largest: int,
    walk: list[int],
    queries: int,
    columns: int,
) -> None:
    """Each page is twice as large as the one before; a key that isn't there has no row."""
    monkeypatch.setattr(module, "_FIRST_PAGE", first)
    monkeypatch.setattr(module, "_LARGEST_PAGE", largest)
    pages = Pages(tables.ask, ONE if columns == 1 else TWO, columns)
    keys = [(b"/%03d" % each,) if columns == 1 else (b"/%d" % (each // 10), b"%03d" % each) for each in walk]
    assert [None if each % 2 or each > 58 else (each,) for each in walk] == [pages.find(*key) for key in keys]
    assert queries == tables.asked


def test_a_page_that_is_forgotten_is_read_again(tables: Tables) -> None:
    """The table has changed."""
    pages = Pages(tables.ask, ONE, 1)
    assert (4,) == pages.find(b"/004")
    tables.database.execute("update one set value = 5 where value = 4")
    assert (4,) == pages.find(b"/004")
    pages.forget()
    assert (5,) == pages.find(b"/004")


@pytest.mark.parametrize("key", ["text", 7, None])
def test_a_row_with_a_key_that_is_none_is_passed_over(tables: Tables, key: object) -> None:
    """In a damaged file a column may hold anything."""
    pages = Pages(lambda query, *parameters: [(b"/1", "one"), (key, "odd"), (b"/2", "two")], ONE, 1)
    assert [("one",), ("two",), None] == [pages.find(each) for each in (b"/1", b"/2", b"/3")]
