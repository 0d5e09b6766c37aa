"""Records of pycs as release 0.1 kept them, in a row for each: they are read until a run saves.

That run takes them all over, and drops their table. The earlier release makes it anew, should it come back.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from ...typed import Any
from .record import PACKED, UNSEEN, Record

_OF_ONE = "select * from pycs where directory = ? order by name"
_ALL = "select * from pycs order by directory, name"


def records_of(ask: Callable[..., list[Any]], directory: bytes) -> dict[str, Record]:
    """Returns the records of one directory by name. `ask` sends a query to the manifest."""
    return _by_name(ask(_OF_ONE, directory))


def take_all(database: Any) -> Iterator[tuple[bytes, dict[str, Record]]]:
    """Yields the records of each directory; once all are, their table is dropped."""
    for directory, rows in groupby(database.execute(_ALL), itemgetter(0)):
        yield directory, _by_name(rows)
    database.execute("drop table pycs")


def _by_name(rows: Iterable[tuple[Any, ...]]) -> dict[str, Record]:
    """Returns the records of rows, but for damaged ones. Columns that came after that release aren't taken over."""
    found = {}
    for row in rows:
        with contextlib.suppress(TypeError, ValueError, AttributeError, struct.error):
            _, name, source, source_digest, pyc, body_digest, header, microseconds, *_ = row
            if {type(name), type(source_digest), type(body_digest), type(header)} == {bytes}:
                files = _identity(source), source_digest, _identity(pyc), body_digest, header
                found[os.fsdecode(name)] = Record(*files, int(microseconds))
    return found


def _identity(text: str) -> bytes:
    return PACKED.pack(*map(int, text.split(":"))) if text else UNSEEN
