"""FreeBSD's pkg: an SQLite database, table `files` (pkg(8), FILES), and triggers in UCL and Lua (pkg-triggers(5))."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Collection, Iterator

from ..errors import ManagerError, UsageError
from ..links import follow_links
from .databases import Source
from .hook import HookFile, Subject, quoted, render
from .manager import Manager, ask

#: Special characters: UCL expands variables, fnmatch(3) patterns, and a message shows the path in apostrophes.
_SPECIAL = "$*?['"
_PROGRAM = "/usr/local/sbin/pkg"
_DEFAULT = "/var/db/pkg"
_FILE = "local.sqlite"
_CONFIGURATION = "/usr/local/etc/pkg.conf"
#: Seconds.
_ANSWERS_WITHIN = 20
#: Paths in the table have the type text, even if they aren't UTF-8.
_OWNER = (
    "select packages.name from files join packages on packages.id = files.package_id where files.path = cast(? as text)"
)


class Pkg(Manager):
    """FreeBSD's package manager."""

    name = "pkg"
    sites = ("/usr/local/lib/{library}/site-packages",)

    @property
    def database(self) -> str:
        """The path of its database. Raises ManagerError if pkg is installed, but its database can't be found."""
        return os.path.join(self._directory, _FILE)

    @property
    def is_present(self) -> bool:
        try:
            return super().is_present
        except ManagerError:
            return True  # reading its database raises the error

    @functools.cached_property
    def _directory(self) -> str:
        """The directory of its database: asked of pkg (pkg.conf(5), PKG_DBDIR), or where that isn't run the usual one.

        Raises ManagerError.
        """
        if not self._files.has(_PROGRAM):
            return _DEFAULT
        if self._files.is_foreign or not _only_root_can_change(_PROGRAM):
            # We don't run it then; its configuration must not name a directory, and the default one has to exist.
            if self._names_a_directory() or not self._files.has(f"{_DEFAULT}/{_FILE}"):
                program = self._files.describe(_PROGRAM)
                raise ManagerError(f"{program} is installed, but its database can't be found")
            return _DEFAULT
        answer = ask([_PROGRAM, "config", "PKG_DBDIR"], _ANSWERS_WITHIN)
        directory = os.fsdecode(answer.rstrip(b"\n"))
        if not directory.startswith("/") or "\n" in directory:
            raise ManagerError(f"{_PROGRAM} doesn't print the directory of its database")
        return directory

    def _names_a_directory(self) -> bool:
        try:
            text = self._files.read(_CONFIGURATION)
        except OSError:
            return False
        return any(line.lstrip().upper().startswith((b"PKG_DBDIR", b'"PKG_DBDIR')) for line in text.split(b"\n"))

    @property
    def sources(self) -> list[Source]:
        return [Source("database", self.database)]

    def read_owned(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        tables = ["files"] if paths is None else ["files", "packages"]
        with self._files.open_database(self.database, tables) as database:
            database.text_factory = bytes
            if paths is None:
                for (owned,) in database.execute("select path from files where path like '%.pyc'"):
                    yield bytes(owned), ""
            for path in paths or ():
                for (package,) in database.execute(_OWNER, (path,)):
                    yield path, os.fsdecode(bytes(package))

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        sites = subject.site_directories or cls.site_directories(subject.library)
        if "/" in sites:
            raise UsageError("pkg's hooks can't watch /", hint="name a site directory: the cleanup walks all of it")
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


def _only_root_can_change(path: str) -> bool:
    """Whether only root can change a file, or anything that its path leads through."""
    found: list[os.stat_result] = []

    def examine(step: str, in_sticky: bool) -> os.stat_result:
        found.append(os.lstat(step))
        return found[-1]

    try:
        follow_links(path, examine)
    except OSError:
        return False  # it leads in a circle, or is gone by now
    return all(
        status.st_uid == 0 and (stat.S_ISLNK(status.st_mode) or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        for status in found
    )
