"""FreeBSD's pkg: an SQLite database, table `files` (pkg(8), FILES), and triggers in UCL and Lua (pkg-triggers(5))."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import UsageError
from .hook import HookFile, quoted, render
from .manager import PATIENCE, Manager, ManagerError, ask, read

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator

    from .hook import Subject

#: UCL expands variables, fnmatch(3) patterns; an apostrophe would end a word of the command that a message shows.
_SPECIAL = "$*?['"
#: Where a database's header says whether it has a write-ahead log (sqlite.org/fileformat2.html, 1.3).
_VERSIONS = slice(18, 20)
_WITH_LOG = b"\2\2"
_PROGRAM = "/usr/local/sbin/pkg"
_DEFAULT = "/var/db/pkg"
_FILE = "local.sqlite"
_CONFIGURATION = "/usr/local/etc/pkg.conf"
#: Seconds.
_ANSWERS_WITHIN = 20


class Pkg(Manager):
    """FreeBSD's."""

    name = "pkg"

    def __init__(self, root: str = "") -> None:
        super().__init__(root)
        self._directory: str | None = None

    @property
    def database(self) -> str:
        """Raises ManagerError where pkg is there and can't say where it has its own."""
        if self._directory is None:
            self._directory = self._asked() or _DEFAULT
        return os.path.join(self._directory, _FILE)

    @property
    def is_present(self) -> bool:
        try:
            return super().is_present
        except ManagerError:
            return True  # whatever packages own: asking for it says why nobody knows

    def _asked(self) -> str | None:
        """The directory of its database by its own words (pkg.conf(5), PKG_DBDIR); None where it can't be asked.

        Raises ManagerError.
        """
        if not os.path.exists(self.inside(_PROGRAM)):
            return None
        if self._root or not _is_roots(_PROGRAM):
            # It isn't executed: then the default has to hold by what its configuration says, and by being there.
            if self._names_a_directory() or not os.path.exists(self.inside(f"{_DEFAULT}/{_FILE}")):
                raise ManagerError(f"{self.inside(_PROGRAM)} is there, but nobody can say where its database is")
            return None
        answer = ask([_PROGRAM, "config", "PKG_DBDIR"], _ANSWERS_WITHIN)
        directory = os.fsdecode(answer.rstrip(b"\n"))
        if not directory.startswith("/") or "\n" in directory:
            raise ManagerError(f"{_PROGRAM} doesn't say where its database is")
        return directory

    def _names_a_directory(self) -> bool:
        try:
            text = read(self.inside(_CONFIGURATION))
        except OSError:
            return False
        return any(line.lstrip().upper().startswith((b"PKG_DBDIR", b'"PKG_DBDIR')) for line in text.split(b"\n"))

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
        path = f"/usr/local/share/pkg/triggers/python-pycache-{subject.name}.ucl"
        words = {
            "PROGRAM": ", ".join(quoted(word, forbidden="$") for word in subject.program),
            "VERSION": subject.version,
            "PYTHON": quoted(subject.python, forbidden="$"),
            "PATH": path,
            "FLAVOUR": subject.name,
            "CACHE_TAG": subject.cache_tag,
            "TAG": f".{subject.cache_tag}",
            "SITES": ", ".join(quoted(site, forbidden=_SPECIAL) for site in sites),
            "GLOBS": ", ".join(quoted(f"{site}/*") for site in sites),
        }
        return [HookFile(path, render("pkg/python-pycache.ucl", words))]


def _is_roots(path: str) -> bool:
    """Whether nobody but root can change a file, or what its path means."""
    while True:
        status = os.lstat(path)
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)
        if status.st_uid != 0 or shared:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)
