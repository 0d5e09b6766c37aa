"""Records of a run that aren't saved yet: in memory, and in a temporary file when there are too many.

A record may only be saved once its pyc is on the disk, at the end of the run; a run over 120,000 sources would have to
keep all of them in memory until then.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from .record import Record

#: Bytes. SQLite's default page size (sqlite.org/pragma.html, page_size).
PAGE = 4096
#: Records kept in memory, some half a kilobyte each.
_MAX_HELD = 8192
_TABLE = """
create table records (
    directory, name, source, source_digest, pyc, body_digest, header, microseconds, primary key (directory, name)
) without rowid
"""


class Spool:
    """The newest record of each pyc, or None if its record is dropped."""

    def __init__(self, most: int | None = None) -> None:
        """`most` limits the size of the temporary file, in bytes."""
        self._most = most
        self._held: dict[str, dict[str, Record | None]] = {}
        self._count = 0
        self._file: Any = None

    def __bool__(self) -> bool:
        return self._count > 0 or self._file is not None

    def put(self, directory: str, name: str, record: Record | None) -> None:
        """Add the record of a pyc; None drops it."""
        self._held.setdefault(directory, {})[name] = record
        self._count += 1
        if self._count >= _MAX_HELD:
            self._spill()

    def of(self, directory: str, most: int) -> dict[str, Record | None] | None:
        """Returns what was recorded for a directory, or None if that is more than `most`."""
        held = self._held.get(directory, {})
        found = dict(self._read_spilled(directory, most + 1)) if self._file is not None else {}
        if max(len(held), len(found)) > most:
            return None
        found.update(held)
        return found

    def find(self, directory: str, name: str) -> tuple[bool, Record | None]:
        """Returns whether anything was recorded for a pyc, and what."""
        held = self._held.get(directory, {})
        if name in held:
            return True, held[name]
        for _, record in self._read_spilled(directory, 1, name) if self._file is not None else ():
            return True, record
        return False, None

    def rows(self) -> Iterator[tuple[bytes, bytes, Record | None]]:
        """Yields directory, name and record of everything, oldest first."""
        if self._file is not None:
            for directory, name, *fields in self._file.execute("select * from records"):
                yield directory, name, None if fields[0] is None else Record(*fields)
        yield from self._encoded()

    def close(self) -> None:
        """Drop everything."""
        if self._file is not None:
            self._file.close()
        self._held, self._count, self._file = {}, 0, None

    def _read_spilled(self, directory: str, most: int, name: str | None = None) -> Iterator[tuple[str, Record | None]]:
        question = "select * from records where directory = ?"
        parameters: list[bytes | int] = [os.fsencode(directory)]
        if name is not None:
            question += " and name = ?"
            parameters.append(os.fsencode(name))
        for _, each, *fields in self._file.execute(f"{question} limit ?", (*parameters, most)).fetchall():
            yield os.fsdecode(each), None if fields[0] is None else Record(*fields)

    def _spill(self) -> None:
        """Move all records from memory into a temporary file. Those that don't fit are dropped, and made again."""
        try:
            import sqlite3
        except ImportError:  # then nothing is ever saved
            self._held, self._count = {}, 0
            return
        nothing = (None,) * len(Record._fields)
        rows = ((directory, name, *(record or nothing)) for directory, name, record in self._encoded())
        try:
            if self._file is None:
                self._file = sqlite3.connect("")  # a file without a name, deleted when it is closed
                self._file.execute("pragma synchronous = off")
                if self._most is not None:
                    self._file.execute(f"pragma max_page_count = {max(1, self._most // PAGE)}")
                self._file.execute(_TABLE)
            self._file.executemany("insert or replace into records values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error:
            self.close()
        self._held, self._count = {}, 0

    def _encoded(self) -> Iterator[tuple[bytes, bytes, Record | None]]:
        for directory, records in self._held.items():
            encoded = os.fsencode(directory)
            for name, record in records.items():
                yield encoded, os.fsencode(name), record
