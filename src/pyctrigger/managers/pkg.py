"""FreeBSD's pkg: an SQLite database, table `files` (pkg(8), FILES), and triggers in UCL and Lua (pkg-triggers(5))."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import UsageError
from .hook import HookFile, quoted, render
from .manager import PATIENCE, Manager, ManagerError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator

    from .hook import Subject

#: UCL expands variables, fnmatch(3) patterns; an apostrophe would end a word of the command that a message shows.
_SPECIAL = "$*?['"
#: Where a database's header says whether it has a write-ahead log (sqlite.org/fileformat2.html, 1.3).
_VERSIONS = slice(18, 20)
_WITH_LOG = b"\2\2"


class Pkg(Manager):
    """FreeBSD's."""

    name = "pkg"
    database = "/var/db/pkg/local.sqlite"

    def owned_pycs(self) -> Iterator[bytes]:
        with self._open() as database:
            for (owned,) in database.execute("select path from files where path like '%.pyc'"):
                yield bytes(owned)

    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        # The table's paths are text, whatever bytes they have.
        question = (
            "select packages.name from files join packages on packages.id = files.package_id "
            "where files.path = cast(? as text)"
        )
        found = {}
        with self._open() as database:
            for path in paths:
                for (package,) in database.execute(question, (path,)):
                    found[path] = os.fsdecode(bytes(package))
        return found

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The database. Raises ManagerError, also for what goes wrong while it is read, and OSError."""
        try:
            import sqlite3
        except ImportError as error:
            raise ManagerError(f"{self.inside(self.database)} can't be read without the module sqlite3") from error
        try:
            with contextlib.closing(sqlite3.connect(self._address(), uri=True, timeout=PATIENCE)) as database:
                database.text_factory = bytes
                yield database
        except sqlite3.Error as error:
            raise ManagerError(f"{self.inside(self.database)} can't be read: {error}") from error

    def _address(self) -> str:
        """The database, for reading. pkg's has a write-ahead log (since 2.6), which it removes when it is done.

        Without that log a reader would have to make it, and leave it behind: it fails where it may not write, though
        all that there is to read stands in the one file.
        """
        path = self.inside(self.database)
        with open(path, "rb") as file:
            versions = file.read(_VERSIONS.stop)[_VERSIONS]
        complete = versions == _WITH_LOG and not os.path.exists(f"{path}-wal")
        return f"file:{quote(os.fsencode(path))}?mode=ro{'&immutable=1' if complete else ''}"

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/local/lib/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        sites = subject.site_directories or cls.site_directories(subject.library)
        if "/" in sites:
            raise UsageError("pkg's hooks can't be for /", mend="name a site directory: the cleanup walks all of it")
        words = {
            "PROGRAM": ", ".join(quoted(word, forbidden="$") for word in subject.program),
            "VERSION": subject.version,
            "FLAVOUR": subject.flavour,
            "CACHE_TAG": subject.cache_tag,
            "TAG": f".{subject.cache_tag}",
            "SITES": ", ".join(quoted(site, forbidden=_SPECIAL) for site in sites),
            "GLOBS": ", ".join(quoted(f"{site}/*") for site in sites),
        }
        path = f"/usr/local/share/pkg/triggers/python-pycache-{subject.flavour}.ucl"
        return [HookFile(path, render("pkg/python-pycache.ucl", words))]
