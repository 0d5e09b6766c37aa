"""FreeBSD's pkg: an SQLite database, table `files` (pkg(8), FILES)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from .manager import Manager, ManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pkg(Manager):
    """FreeBSD's."""

    database = "/var/db/pkg/local.sqlite"

    def owned_pycs(self) -> Iterator[bytes]:
        try:
            import sqlite3
        except ImportError as error:
            raise ManagerError("no sqlite3 module to read pkg's database with") from error
        path = quote(os.fsencode(self.inside(self.database)))
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                database.text_factory = bytes
                for (owned,) in database.execute("select path from files where path like '%.pyc'"):
                    yield bytes(owned)
        except sqlite3.Error as error:
            raise ManagerError(f"{self.inside(self.database)} can't be read: {error}") from error
