"""The records of a directory that has too many to hold: read a page at a time, in the order of their names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from .spool import Spool

_FROM_ON = (
    "select name, source, source_digest, pyc, body_digest, header, microseconds from pycs"
    " where directory = ? and name >= ? order by name limit ?"
)
#: Some half a kilobyte each.
_PAGE = 512
#: What no name of a file has, and what follows all that one can have.
_BEHIND_ALL = b"\xff" * 256


class PagedRecords:
    """Looks like the dictionary of a smaller directory. `ask` puts a question to the manifest."""

    def __init__(self, ask: Callable[..., list[Any]], spool: Spool, directory: str) -> None:
        self._ask = ask
        self._spool = spool
        self._directory = directory
        self._key = os.fsencode(directory)
        self._page: dict[bytes, Any] = {}
        self._first, self._last = _BEHIND_ALL, b""

    def __len__(self) -> int:
        """How many are held in memory."""
        return len(self._page)

    def __bool__(self) -> bool:
        return True

    def get(self, name: str) -> Record | None:
        """The record of a pyc, if there is one."""
        is_spooled, record = self._spool.find(self._directory, name)
        if is_spooled:
            return record
        key = os.fsencode(name)
        if key > self._last:
            rows = self._ask(_FROM_ON, self._key, key, _PAGE)
            self._page = {row[0]: row[1:] for row in rows}
            self._first, self._last = key, rows[-1][0] if len(rows) == _PAGE else _BEHIND_ALL
        if key >= self._first:
            row = self._page.get(key)
        else:
            row = next((row[1:] for row in self._ask(_FROM_ON, self._key, key, 1) if row[0] == key), None)
        return None if row is None else Record._make(row)

    def pop(self, name: str, default: None) -> Record | None:
        """The record of a pyc that is about to be forgotten: the spool says so from then on."""
        return self.get(name) or default

    def __setitem__(self, name: str, record: Record) -> None:
        """Nothing: the spool has what is new."""
