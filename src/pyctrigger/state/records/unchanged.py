"""Directories that needed nothing, as they were when that was seen: as long as they are, they need nothing again.

A directory's own times change with every name that comes, goes or is replaced in it. So while the identities of a
directory, of its `__pycache__`, and of each source and pyc in them are what they were, nothing is listed, read or
compared a second time. Like every record it is a hint: what isn't just as it was is looked at.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TABLE = """
create table if not exists settled (
    directory blob primary key, terms text not null, below blob not null, sources blob not null, seen blob not null
) without rowid;
"""
_ONE = "select terms, below, sources, seen from settled where directory = ?"
_FROM_ON = "select directory, terms, below, sources, seen from settled where directory >= ? order by directory limit ?"
#: Directories read at once, some half a kilobyte each: few at first, since a hook looks into one package.
_FIRST_PAGE = 32
_LARGEST_PAGE = 512
#: Bytes that a run takes down at most: of a larger tree the next run takes down more.
MOST_NOTED = 4 << 20
#: What a run with nothing else to save saves for the next one's sake; fewer directories cost less than a transaction.
_WORTH_SAVING = 100
#: Keys begin with what an absolute path begins with.
_BEHIND_ALL = b"\1"


class Settled(NamedTuple):
    """One directory. The names are joined by slashes, which no name has."""

    terms: str
    """What was wanted of it."""
    below: bytes
    """Its directories but `__pycache__`."""
    sources: bytes
    seen: bytes
    """The identities of the directory, and, if it has sources, of its `__pycache__`, of the sources and of the pycs."""


class SettledDirectories:
    """What the manifest says of them, and what this run has seen. `ask` puts a question to the file."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._ask = ask
        #: A piece of the file, in the order of a walk, and between which keys it is all that there is.
        self._page: dict[bytes, tuple[Any, ...]] = {}
        self._first, self._last = b"", b""
        self._page_size = _FIRST_PAGE
        self._noted: dict[bytes, Settled | None] = {}
        self._gone: list[bytes] = []
        self._size = 0

    def of(self, directory: bytes) -> Settled | None:
        """What was seen in a directory, by its key. A walk in the order of the keys is read a piece at a time."""
        if directory in self._noted:
            return self._noted[directory]
        if directory > self._last:
            self._turn_to(directory)
        if directory >= self._first:
            row = self._page.get(directory)
        else:
            row = next(iter(self._ask(_ONE, directory)), None)
        return Settled._make(row) if row is not None and _is_sound(row) else None

    def _turn_to(self, directory: bytes) -> None:
        rows = self._ask(_FROM_ON, directory, self._page_size)
        is_last = len(rows) < self._page_size
        self._page = {row[0]: row[1:] for row in rows}
        self._first, self._last = directory, _BEHIND_ALL if is_last else rows[-1][0]
        self._page_size = min(2 * self._page_size, _LARGEST_PAGE)

    def note(self, directory: bytes, settled: Settled) -> None:
        """Take down a directory that needs nothing."""
        self._size += len(directory) + len(settled.below) + len(settled.sources) + len(settled.seen)
        if self._size <= MOST_NOTED:
            self._noted[directory] = settled

    def forget(self, directory: bytes, gone: Iterable[bytes] = ()) -> None:
        """A directory isn't as it was, and of those below it these have gone."""
        self._size += len(directory)
        if self._size <= MOST_NOTED:
            self._noted[directory] = None
            self._gone += [directory + name + b"\0" for name in gone]

    @property
    def is_worth_saving(self) -> bool:
        """Whether so much was seen that the next run gains by it."""
        return len(self._noted) >= _WORTH_SAVING

    def write(self, database: Any) -> None:
        """Write what was seen, within the caller's transaction."""
        database.executemany("delete from settled where directory = ?", ((key,) for key in self._noted))
        ranges = ((key, key[:-1] + b"\1") for key in self._gone)
        database.executemany("delete from settled where directory >= ? and directory < ?", ranges)
        database.executemany("insert or replace into settled values (?, ?, ?, ?, ?)", self._rows())

    def saved(self) -> None:
        """What was seen is in the file."""
        self._noted, self._gone, self._size = {}, [], 0

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        return ((key, *settled) for key, settled in self._noted.items() if settled is not None)


def key_of(directory: str) -> bytes:
    """The key of a directory, by its full path. What is below begins with it, and follows it before all others."""
    return os.fsencode(directory.rstrip("/")).replace(b"/", b"\0") + b"\0"


def _is_sound(row: tuple[Any, ...]) -> bool:
    terms, below, sources, seen = row
    kinds_fit = isinstance(below, bytes) and isinstance(sources, bytes) and isinstance(seen, bytes)
    return kinds_fit and isinstance(terms, str)
