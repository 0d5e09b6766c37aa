"""The records of pycs: those in the manifest, and those of this run.

The manifest has one block for each directory, and several for one with very many pycs: each begins with a name, the
first one with the empty name.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ...typed import Any, Union
from .blocks import MOST_IN_BLOCK, Block, Changes, split
from .record import Record

TABLE = """
create table if not exists blocks (
    directory blob not null, first blob not null, names blob not null, records blob not null, origins text not null,
    primary key (directory, first)
);
"""
#: The block that would have this name, and where the next one begins.
_FIND = (
    "select names, records, origins, first, (select min(first) from blocks where directory = ?1 and first > ?2)"
    " from blocks where directory = ?1 and first <= ?2 order by first desc limit 1"
)
_FIRSTS = "select first from blocks where directory = ? order by first"
_READ = "select names, records, origins from blocks where directory = ? and first = ?"
_REMOVE = "delete from blocks where directory = ? and first = ?"
#: The first block of a directory that has none: one query instead of two, for nearly all there are in a first run.
_INSERT_FIRST = (
    "insert into blocks (directory, first, names, records, origins) select ?1, x'', ?2, ?3, ?4"
    " where not exists (select 1 from blocks where directory = ?1)"
)
_INSERT = "insert or replace into blocks (directory, first, names, records, origins) values (?, ?, ?, ?, ?)"
#: Whether there are records of release 0.1: it is rare, and then takes a module more.
_EARLIER = "select 1 from sqlite_master where type = 'table' and name = 'pycs'"
#: Records of a run that are in memory before they are saved, up to half a kilobyte each.
MOST_UNSAVED = 8192

#: By directory: what became of its pycs, in that order.
Noted = dict[str, list[Union[Block, Changes]]]


class PycRecords:
    """Records by the directory and the name of a pyc. `ask` sends a query to the manifest."""

    def __init__(self, ask: Callable[..., list[Any]]) -> None:
        self._ask = ask
        self._unsaved: Noted = {}
        #: How many records this run has noted since it saved.
        self.unsaved = 0
        self.forget()

    def forget(self) -> None:
        """Drop what was read: the manifest has changed."""
        #: The block that was looked at last, its first name, and that of the next one.
        self._directory: str | None = None
        self._records: dict[str, Record] = {}
        self._first = b""
        self._end: bytes | None = None
        self._has_earlier: bool | None = None

    def get(self, directory: str, name: str) -> Record | None:
        """Returns the record of a pyc, or None."""
        if directory in self._unsaved:
            changes = self._changes(directory)
            if name in changes:
                return changes[name]
        if directory != self._directory or ((self._first or self._end) and not self._covers(name)):
            self._turn_to(directory, name)
        return self._records.get(name)

    def note(self, directory: str, name: str, record: Record | None) -> None:
        """Record a pyc; None drops its record, if there is one."""
        if record is not None or self.get(directory, name) is not None:
            self._note(directory, name, record)

    def _note(self, directory: str, name: str, record: Record | None) -> None:
        parts = self._unsaved.setdefault(directory, [])
        last = parts[-1] if parts else None
        if not isinstance(last, dict):
            last = {}
            parts.append(last)
        last[name] = record
        self.unsaved += 1

    def take(self) -> Noted:
        """Returns what this run has noted, and drops it."""
        noted: Noted = {}
        for directory in self._unsaved:
            changes = self._changes(directory)
            kept = {name: record for name, record in changes.items() if record is not None}
            noted[directory] = [Block.of(kept)] if kept else []
            if len(kept) < len(changes):
                noted[directory].append(dict.fromkeys(changes.keys() - kept.keys()))
        self._unsaved, self.unsaved = {}, 0
        return noted

    def add(self, noted: Noted) -> None:
        """Record what another process has noted."""
        for directory, parts in noted.items():
            self._unsaved.setdefault(directory, []).extend(parts)
            self.unsaved += sum(len(part) if isinstance(part, dict) else part.size for part in parts)

    def _changes(self, directory: str) -> Changes:
        """Returns all that this run has noted of a directory, in one."""
        parts = self._unsaved[directory]
        if len(parts) == 1 and isinstance(parts[0], dict):
            return parts[0]
        changes: Changes = {}
        for part in parts:
            changes.update(part.unpacked() if isinstance(part, Block) else part)
        self._unsaved[directory] = [changes]
        return changes

    # -- the manifest ----------------------------------------------------------------------------------------------

    def _covers(self, name: str) -> bool:
        encoded = os.fsencode(name)
        return self._first <= encoded and (self._end is None or encoded < self._end)

    def _turn_to(self, directory: str, name: str) -> None:
        """Read the block in which this name would be."""
        encoded = os.fsencode(directory)
        self._directory, self._records, self._first, self._end = directory, {}, b"", None
        for *fields, first, end in self._ask(_FIND, encoded, os.fsencode(name)):
            if isinstance(first, bytes) and isinstance(end, (bytes, type(None))):  # not what a damaged row may have
                self._first, self._end = first, end
                self._records = Block(*fields).unpacked()
            return
        if self._has_earlier is None:
            self._has_earlier = bool(self._ask(_EARLIER))
        if self._has_earlier:
            from . import earlier

            self._records = earlier.records_of(self._ask, encoded)

    def write(self, database: Any) -> None:
        """Write the records of this run, in the caller's transaction."""
        if database.execute(_EARLIER).fetchall():
            from . import earlier

            for directory, records in earlier.take_all(database):
                if not database.execute(_FIRSTS, (directory,)).fetchall():
                    _write_anew(database, directory, b"", records)
        for name in sorted(self._unsaved):  # in the table's order: SQLite splits fewer pages
            self._write_directory(database, os.fsencode(name), name)

    def _write_directory(self, database: Any, directory: bytes, name: str) -> None:
        block = _joined(self._unsaved[name])
        if block is not None and database.execute(_INSERT_FIRST, (directory, *block)).rowcount == 1:
            return
        from bisect import bisect  # a hook with nothing to do writes nothing

        firsts = [first for (first,) in database.execute(_FIRSTS, (directory,)) if isinstance(first, bytes)]
        changed: dict[bytes, Changes] = {}
        for pyc, record in self._changes(name).items():
            first = firsts[max(0, bisect(firsts, os.fsencode(pyc)) - 1)] if firsts else b""
            changed.setdefault(first, {})[pyc] = record
        for first, changes in sorted(changed.items(), reverse=True):
            records: Changes = {}
            for row in database.execute(_READ, (directory, first)):
                records.update(Block(*row).unpacked())
            records.update(changes)
            kept = {pyc: record for pyc, record in records.items() if record is not None}
            if not kept and (first or len(firsts) <= 1):  # the first one stays while there are others
                database.execute(_REMOVE, (directory, first))
                firsts = [each for each in firsts if each != first]
            else:
                _write_anew(database, directory, first, kept)

    def saved(self) -> None:
        """Drop the records of this run: they are in the file now, or can't be saved."""
        self._unsaved, self.unsaved = {}, 0
        self.forget()


def _joined(parts: list[Block | Changes]) -> Block | None:
    """Returns what was noted of a directory without records as one block, if that needs no look into it."""
    blocks = [part for part in parts if isinstance(part, Block)]
    is_plain = len(blocks) == 1 or not any(block.origins for block in blocks)
    if len(blocks) < len(parts) or not is_plain or sum(block.size for block in blocks) > MOST_IN_BLOCK:
        return None
    names = b"\0".join(block.names for block in blocks)
    return Block(names, b"".join(block.records for block in blocks), blocks[0].origins)


def _write_anew(database: Any, directory: bytes, first: bytes, records: dict[str, Record]) -> None:
    """Replace a block by these records; by several blocks if they are too many."""
    for number, part in enumerate(split(records)):
        begins = os.fsencode(min(part, key=os.fsencode)) if number else first
        database.execute(_INSERT, (directory, begins, *Block.of(part)))
