"""Records of a directory that has too many for memory, read page by page in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from .record import Record
from .spool import Spool

_FROM_ON = (
    "select name, source, source_digest, pyc, body_digest, header, microseconds from pycs"
    " where directory = ? and name >= ? order by name limit ?"
)
#: Records in a page, some half a kilobyte each.
_PAGE = 512
#: Sorts after all names that a file can have.
_AFTER_ALL_NAMES = b"\xff" * 256


class PagedRecords:
    """Has the interface of the dictionary that a smaller directory gets. `ask` sends a query to the manifest."""

    def __init__(self, ask: Callable[..., list[Any]], spool: Spool, directory: str) -> None:
        self._ask = ask
        self._spool = spool
        self._directory = directory
        self._key = os.fsencode(directory)
        self._page: dict[bytes, Any] = {}
        self._first, self._last = _AFTER_ALL_NAMES, b""

    def __len__(self) -> int:
        """Returns the number of records in memory."""
        return len(self._page)

    def __bool__(self) -> bool:
        return True

    def get(self, name: str) -> Record | None:
        """Returns the record of a pyc, or None."""
        is_spooled, record = self._spool.find(self._directory, name)
        if is_spooled:
            return record
        key = os.fsencode(name)
        if key > self._last:
            rows = self._ask(_FROM_ON, self._key, key, _PAGE)
            self._page = {row[0]: row[1:] for row in rows}
            self._first, self._last = key, rows[-1][0] if len(rows) == _PAGE else _AFTER_ALL_NAMES
        if key >= self._first:
            row = self._page.get(key)
        else:
            row = next((row[1:] for row in self._ask(_FROM_ON, self._key, key, 1) if row[0] == key), None)
        return None if row is None else Record._make(row)

    def pop(self, name: str, default: None) -> Record | None:
        """Returns the record of a pyc that is about to be dropped. The caller notes that in the spool."""
        return self.get(name) or default

    def __setitem__(self, name: str, record: Record) -> None:
        """Does nothing: the spool has the new record."""
