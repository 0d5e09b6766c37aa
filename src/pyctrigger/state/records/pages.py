"""Reading a table of the manifest page by page: looking rows up in the order of their keys takes few queries."""

from __future__ import annotations

from collections.abc import Callable

from ...typed import Any

#: Rows of a page, some half a kilobyte each: few at first, since most hooks touch one package.
_FIRST_PAGE = 32
_LARGEST_PAGE = 512
#: Sorts after all keys: they begin with a path's first slash, or with the NUL that stands for it.
_AFTER_ALL_KEYS: tuple[bytes, ...] = (b"\xff",)
#: What a key consists of. A damaged row may contain anything.
_KEYS = frozenset({bytes})


class Pages:
    """The page of a table that was looked at last. A key that isn't on it is the first one of the next page."""

    def __init__(self, ask: Callable[..., list[Any]], query: str, columns: int) -> None:
        """`ask` sends a query to the manifest: rows from a key on, in order, whose first `columns` are their key."""
        self._ask = ask
        self._query = query
        self._columns = columns
        self.forget()

    def find(self, *key: bytes) -> tuple[Any, ...] | None:
        """Returns the rest of the row with this key, or None."""
        if not self._first <= key <= self._last:
            self._turn_to(key)
        return self._rows.get(key)

    def forget(self) -> None:
        """Drop the page: the table has changed."""
        self._rows: dict[tuple[bytes, ...], tuple[Any, ...]] = {}
        self._first = _AFTER_ALL_KEYS
        self._last: tuple[bytes, ...] = ()
        self._size = _FIRST_PAGE // 2

    def _turn_to(self, key: tuple[bytes, ...]) -> None:
        self._size = min(2 * self._size, _LARGEST_PAGE) if key > self._last else _FIRST_PAGE
        rows = self._ask(self._query, *key, self._size)
        self._rows = {tuple(row[: self._columns]): tuple(row[self._columns :]) for row in rows if self._is_valid(row)}
        self._first = key
        self._last = max(self._rows) if len(self._rows) == self._size else _AFTER_ALL_KEYS

    def _is_valid(self, row: tuple[Any, ...]) -> bool:
        return _KEYS.issuperset(map(type, row[: self._columns]))
