"""Cache of directories that needed no work: unchanged ones are recognised by stat alone, without listing them.

A directory's own times change with every name that is added, removed or replaced in it. So while the identities of a
directory, of its `__pycache__`, and of each source and pyc in them are the same, nothing needs to be listed, read or
compared again. Like every record it is a hint: a directory that has changed in any way is examined.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from ...typed import Any, NamedTuple

TABLE = """
create table if not exists settled (
    directory blob primary key, terms text not null, below blob not null, sources blob not null, seen blob not null
) without rowid;
"""
_PAGE = "select directory, terms, below, sources, seen from settled where directory >= ? order by directory limit ?"
#: Rows of a page: few at first, since most hooks touch one package.
_FIRST_PAGE = 32
_LARGEST_PAGE = 512
#: Sorts after all keys: they begin with the NUL that stands for a path's first slash.
_AFTER_ALL_KEYS = b"\xff"
#: Bytes of notes after which a run should save, and those that it holds at most if it can't.
_MUCH, MOST_NOTED = 2 << 20, 4 << 20
#: Directories for which a run saves although nothing else has changed. Examining fewer again takes less than saving.
_MIN_WORTH_SAVING = 100


class UnchangedDirectory(NamedTuple):
    """The note of one directory. Names are joined by slashes, which no name contains."""

    terms: str
    """The options that it was examined with."""
    below: bytes
    """Its subdirectories other than `__pycache__`."""
    sources: bytes
    seen: bytes
    """Identities of the directory, and, if it has sources, of its `__pycache__`, the sources and the pycs."""


class UnchangedDirectories:
    """The notes in the manifest, and those of this run. `ask` sends a query to the manifest."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._pages = Pages(ask)
        self._noted: dict[bytes, UnchangedDirectory | None] = {}
        self._gone: list[bytes] = []
        self._size = 0

    def of(self, directory: bytes) -> UnchangedDirectory | None:
        """Returns the note of a directory, by its key."""
        if directory in self._noted:
            return self._noted[directory]
        row = self._pages.find(directory)
        return UnchangedDirectory._make(row) if row is not None and _is_valid(row) else None

    def note(self, directory: bytes, unchanged: UnchangedDirectory) -> None:
        """Record a directory that needs no work."""
        self._size += len(directory) + len(unchanged.below) + len(unchanged.sources) + len(unchanged.seen)
        if self._size <= MOST_NOTED:
            self._noted[directory] = unchanged

    def forget(self, directory: bytes, gone: Iterable[bytes] = ()) -> None:
        """Drop the note of a directory that has changed, and those of subdirectories that are gone."""
        self._size += len(directory)
        if self._size <= MOST_NOTED:
            self._noted[directory] = None
            self._gone += [directory + name + b"\0" for name in gone]

    @property
    def is_worth_saving(self) -> bool:
        """Whether there are enough new notes to be worth a transaction of their own."""
        return len(self._noted) >= _MIN_WORTH_SAVING or self.are_many

    @property
    def are_many(self) -> bool:
        """Whether they should be saved before the run ends."""
        return self._size >= _MUCH

    def write(self, database: Any) -> None:
        """Write the notes of this run, in the caller's transaction."""
        changed = ((key,) for key, unchanged in self._noted.items() if unchanged is None)
        database.executemany("delete from settled where directory = ?", changed)
        ranges = ((key, key[:-1] + b"\1") for key in self._gone)
        database.executemany("delete from settled where directory >= ? and directory < ?", ranges)
        database.executemany("insert or replace into settled values (?, ?, ?, ?, ?)", self._rows())

    def saved(self) -> None:
        """Drop the notes of this run: they are in the file now."""
        self._noted, self._gone, self._size = {}, [], 0
        self._pages.forget()

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        noted = sorted(self._noted.items())  # in the order of the table: SQLite comes to each of its pages once
        return ((key, *unchanged) for key, unchanged in noted if unchanged is not None)


class Pages:
    """The page of the table that was looked at last. A key that isn't on it is the first one of the next page."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._ask = ask
        self.forget()

    def find(self, key: bytes) -> tuple[Any, ...] | None:
        """Returns the rest of the row with this key, or None."""
        if not self._first <= key <= self._last:
            self._turn_to(key)
        return self._rows.get(key)

    def forget(self) -> None:
        """Drop the page: the table has changed."""
        self._rows: dict[bytes, tuple[Any, ...]] = {}
        self._first, self._last = _AFTER_ALL_KEYS, b""
        self._size = _FIRST_PAGE // 2

    def _turn_to(self, key: bytes) -> None:
        self._size = min(2 * self._size, _LARGEST_PAGE) if key > self._last else _FIRST_PAGE
        rows = self._ask(_PAGE, key, self._size)
        self._rows = {row[0]: row[1:] for row in rows if isinstance(row[0], bytes)}
        self._first = key
        self._last = max(self._rows) if len(self._rows) == self._size else _AFTER_ALL_KEYS


def key_of(directory: str) -> bytes:
    """Returns the key of a directory, by its full path. Keys of its subdirectories begin with it, and follow it."""
    return os.fsencode(directory.rstrip("/")).replace(b"/", b"\0") + b"\0"


def _is_valid(row: tuple[Any, ...]) -> bool:
    terms, below, sources, seen = row
    kinds_fit = isinstance(below, bytes) and isinstance(sources, bytes) and isinstance(seen, bytes)
    return kinds_fit and isinstance(terms, str)
