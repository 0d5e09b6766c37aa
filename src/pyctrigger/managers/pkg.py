"""FreeBSD's pkg: an SQLite database, table `files` (pkg(8), FILES), and triggers in UCL and Lua (pkg-triggers(5))."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from .hook import HookFile, quoted, render
from .manager import Manager, ManagerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hook import Subject

#: UCL expands variables, fnmatch(3) patterns; a comma and a quote would end an item.
_SPECIAL = "$*?["


class Pkg(Manager):
    """FreeBSD's."""

    name = "pkg"
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

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/local/lib/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        sites = subject.site_directories or cls.site_directories(subject.library)
        words = {
            "PROGRAM": ", ".join(quoted(word, forbidden="$") for word in subject.program),
            "VERSION": subject.version,
            "FLAVOUR": subject.flavour,
            "CACHE_TAG": subject.cache_tag,
            "SITES": ", ".join(quoted(site, forbidden=_SPECIAL) for site in sites),
            "GLOBS": ", ".join(quoted(f"{site}/*") for site in sites),
        }
        path = f"/usr/local/share/pkg/triggers/python-pycache-{subject.flavour}.ucl"
        return [HookFile(path, render("pkg/python-pycache.ucl", words))]
