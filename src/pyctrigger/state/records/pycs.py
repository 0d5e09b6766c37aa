"""The records of pycs: those in the manifest, and those of this run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ...typed import Any, Union
from .pages import Pages
from .record import Record

TABLE = """
create table if not exists pycs (
    directory blob not null, name blob not null, source text not null, source_digest blob not null,
    pyc text not null, body_digest blob not null, header blob not null, microseconds integer not null,
    store text not null default '', signer text not null default '',
    primary key (directory, name)
) without rowid;
"""
#: What the table of an earlier release lacks.
_LATER = ("store", "signer")
#: With the columns that there are.
_PAGE = "select * from pycs where (directory, name) >= (?, ?) order by directory, name limit ?"
_INSERT = (
    "insert or replace into pycs"
    " (directory, name, source, source_digest, pyc, body_digest, header, microseconds, store, signer)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
#: Records of a run, some half a kilobyte each, that are in memory before they are saved.
MOST_UNSAVED = 8192

#: Records by directory and name; None for one to drop.
Noted = dict[str, dict[str, Union[tuple[Any, ...], None]]]


class PycRecords:
    """Records by the directory and the name of a pyc. `ask` sends a query to the manifest."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._pages = Pages(ask, _PAGE, 2)
        self._unsaved: Noted = {}
        #: The last directory that was asked about, and its name in the manifest.
        self._directory = "", b""
        #: How much this run has noted since it saved.
        self.unsaved = 0

    def get(self, directory: str, name: str) -> Record | None:
        """Returns the record of a pyc, or None."""
        unsaved = self._unsaved.get(directory)
        if unsaved is not None and name in unsaved:
            row = unsaved[name]
        else:
            if directory != self._directory[0]:
                self._directory = directory, os.fsencode(directory)
            row = self._pages.find(self._directory[1], os.fsencode(name))
        return None if row is None else Record(*row[: len(Record._fields)])

    def note(self, directory: str, name: str, record: Record | None) -> None:
        """Record a pyc; None drops its record, if there is one."""
        if record is not None or self.get(directory, name) is not None:
            self._unsaved.setdefault(directory, {})[name] = record
            self.unsaved += 1

    def take(self) -> Noted:
        """Returns what this run has noted, and drops it."""
        taken, self._unsaved, self.unsaved = self._unsaved, {}, 0
        return taken

    def add(self, taken: Noted) -> None:
        """Record what another process has noted."""
        for directory, records in taken.items():
            self._unsaved.setdefault(directory, {}).update(records)
            self.unsaved += len(records)

    def write(self, database: Any) -> None:
        """Write the records of this run, in the caller's transaction."""
        there = {column for _, column, *_ in database.execute("pragma table_info(pycs)")}
        for column in _LATER:
            if column not in there:
                database.execute(f"alter table pycs add column {column} text not null default ''")
        dropped = (
            (os.fsencode(directory), os.fsencode(name))
            for directory, records in self._unsaved.items()
            if None in records.values()
            for name, record in records.items()
            if record is None
        )
        database.executemany("delete from pycs where directory = ? and name = ?", dropped)
        database.executemany(_INSERT, self._kept())

    def _kept(self) -> Iterator[tuple[Any, ...]]:
        """Yields the rows to keep, in the table's order: SQLite splits fewer pages. A directory may have very many."""
        for directory in sorted(self._unsaved):
            encoded, records = os.fsencode(directory), self._unsaved[directory]
            for name in sorted(records):
                record = records[name]
                if record is not None:
                    yield (encoded, os.fsencode(name), *record)

    def saved(self) -> None:
        """Drop the records of this run: they are in the file now, or can't be saved."""
        self._unsaved, self.unsaved = {}, 0
        self._pages.forget()
