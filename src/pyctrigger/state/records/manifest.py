"""The manifest of an installation: an SQLite file of records about its tree. They are hints, and never trusted alone.

It has a record for each pyc, and the sources that don't compile. A record counts only while the files have the same
status, or the same digests: a system may roll its tree back without its state, or its state without the tree. Without
sqlite3, without the file, or with a damaged one, everything works, and is recorded again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from ...typed import TYPE_CHECKING, Any, NamedTuple
from ..sqlite import connect, database_error, has_sqlite, is_busy
from . import directories, pycs

if TYPE_CHECKING:
    from ..quota import Quota

#: Most uncompilable sources that are recorded for a foreign root, in memory as well.
MOST_UNCOMPILABLE = 20_000
#: Seconds to wait for another program that has locked the file; a hook waits less.
PATIENCE, HOOK_PATIENCE = 5.0, 0.5
_SCHEMA = 5
_TABLES = """
create table if not exists uncompilable (
    path blob primary key, identity blob not null, digest blob not null, magic_number blob not null,
    kind text not null, message text not null, tried_with real not null
) without rowid;
create table if not exists sites (path blob primary key) without rowid;
"""
#: Bytes. SQLite's default page size (sqlite.org/pragma.html, page_size).
_PAGE = 4096
#: Bytes. A disk with less free space counts as full.
_FULL_BELOW = 1 << 20
_CHECK = "pragma quick_check(1)"
_DIRECTORIES = "select distinct directory from blocks where directory >= ?"
_NAMES = {"uncompilable", "pycs", "blocks", "sites", "settled"}
#: What release 0.1.0 knew of uncompilable sources lacks a column; the rest can be read, and is taken over.
_SCHEMA_OF_0_1, _SAME_IN_0_1 = 4, {"pycs", "sites"}


class Uncompilable(NamedTuple):
    """A source that this interpreter can't compile, and the state of the file at that time."""

    identity: bytes
    """Which state of the file."""
    digest: bytes
    magic_number: bytes
    kind: str
    message: str
    tried_with: float = 0
    """The limit that it exceeded, for the kinds `timeout` (CPU seconds) and `memory` (bytes)."""

    def holds(self, magic_number: bytes, limits: Mapping[str, float]) -> bool:
        """Whether it would fail again with this interpreter and these limits."""
        if self.magic_number != magic_number:
            return False
        return self.kind not in limits or 0 < limits[self.kind] <= self.tried_with


class Manifest:
    """The manifest in a state directory, or, without one, an empty manifest that saves nothing."""

    def __init__(
        self,
        directory: str | None,
        *,
        patience: float = PATIENCE,
        notice: Callable[[str], None] = lambda message: None,
        quota: Quota | None = None,
    ) -> None:
        self._quota = quota
        self._patience = patience
        self._notice = notice
        self._path = os.path.join(directory, "manifest.sqlite") if directory else None
        self._database: Any = None
        self._opened = self._is_damaged = False
        #: Whether another program has locked the file.
        self.is_busy = False
        self._known: dict[str, Uncompilable] | None = None
        self._learned: dict[str, Uncompilable | None] = {}
        self.pycs = pycs.PycRecords(self._run_query)
        #: Called once a run has recorded so much that it should be saved before the run ends.
        self.when_full: Callable[[], None] = lambda: None
        #: Directories that needed no work.
        self.directories = directories.UnchangedDirectories(self._run_query)
        self._sites: set[str] = set()
        self._out_of_scope: set[str] = set()

    # -- sources that can't compile ------------------------------------------------------------------------------

    @property
    def uncompilable(self) -> dict[str, Uncompilable]:
        """The sources that can't compile, by their full path."""
        if self._known is None:
            self._known = {}
            for path, *fields in self._run_query(
                "select path, identity, digest, magic_number, kind, message, tried_with from uncompilable"
            ):
                if isinstance(path, bytes):
                    self._known[os.fsdecode(path)] = Uncompilable(*fields)
        return self._known

    def learn(self, path: str, fact: Uncompilable) -> None:
        """Record a source that doesn't compile."""
        if self._quota is not None and len(self.uncompilable) >= MOST_UNCOMPILABLE:
            return
        self.uncompilable[path] = fact
        self._learned[path] = fact

    def unlearn(self, path: str) -> None:
        """Drop the record of an uncompilable source."""
        if self.uncompilable.pop(path, None) is not None:
            self._learned[path] = None

    @property
    def keeps_records(self) -> bool:
        """Whether records can be read now, and will still be there next time."""
        self._open_file()
        return self._path is not None and has_sqlite()

    @property
    def is_new(self) -> bool:
        """Whether no run before this one has recorded anything that can be read."""
        self._open_file()
        return self._path is not None and self._database is None

    # -- the directories -----------------------------------------------------------------------------------------

    def work_on(self, sites: list[str]) -> None:
        """Set the site directories that this run works on."""
        self._sites = set(sites)

    def drop_out_of_scope(self) -> list[str]:
        """Drop records outside of all site directories, of this run and of earlier ones. Returns their directories.

        No run of ours has made such records, and none would ever work there.
        """
        known = {os.fsdecode(path) for (path,) in self._run_query("select path from sites") if isinstance(path, bytes)}
        roots = tuple(path.rstrip("/") + "/" for path in known | self._sites)
        self._out_of_scope = {os.fsdecode(path) for path in self._directories_outside(map(os.fsencode, roots))}
        for path in [path for path in self.uncompilable if not path.startswith(roots)]:
            self.unlearn(path)
            self._out_of_scope.add(os.path.dirname(path))
        return sorted(self._out_of_scope)

    def _directories_outside(self, roots: Iterable[bytes]) -> Iterator[bytes]:
        """Yields directories outside of all these roots. Only the gaps between the roots are read from the table."""
        inside = [(root[:-1], root[:-1] + b"\0") for root in roots]
        inside += [(root + b"/", root + b"0") for root, _ in inside]
        start, gaps = b"", []
        for first, past in sorted(inside):
            gaps.append((start, first))
            start = max(start, past)
        for gap in gaps:
            yield from (row[0] for row in self._run_query(f"{_DIRECTORIES} and directory < ?", *gap))
        yield from (row[0] for row in self._run_query(_DIRECTORIES, start))

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._learned or self.pycs.unsaved or self._out_of_scope or self.directories.is_worth_saving)

    def check(self) -> None:
        """Check the whole file for damage. If any part is damaged, none of it is used.

        Otherwise the remaining records would pass for all that were made, and a lost one for one that never existed.
        """
        if os.path.exists(self._path or ""):
            is_whole = self._run_query(_CHECK) == [("ok",)]
            self._is_damaged = self._path is not None and not is_whole  # a busy one has lost its path

    def save(self) -> None:
        """Write all changes in one transaction. Raises OSError."""
        if self._path is None or not self.has_changed or not has_sqlite():
            return
        self.close()
        if self._is_damaged:
            self._remove_file()
            self._is_damaged = False
        try:
            self._write_all()
        except database_error() as error:
            if is_busy(error):
                self._continue_without()
                return
            # The file is damaged: start a new one with the records of this run.
            self._remove_file()
            self._learned = dict(self._known or {})
            try:
                self._write_all()
            except database_error():
                if self._is_too_large(error):
                    from ..quota import StateFullError  # only a root's has one

                    raise StateFullError(errno.EDQUOT, str(error)) from error
                raise OSError(str(error)) from error
        self._learned, self._out_of_scope = {}, set()
        self.pycs.saved()
        self.directories.saved()

    def save_if_full(self) -> None:
        """Have the records of this run saved once they are many. Those that can't be saved are made again."""
        if self.pycs.unsaved >= pycs.MOST_UNSAVED or self.directories.are_many:
            self.when_full()
            self.pycs.saved()
            self.directories.saved()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
        self._database, self._opened = None, False

    def _remove_file(self) -> None:
        assert self._path is not None
        size = self._file_size()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            self._give_back(size)

    def _give_back(self, size: int) -> None:
        if self._quota is not None:
            self._quota.give_back(size)

    def _file_size(self) -> int:
        try:
            return os.stat(self._path or "").st_size
        except OSError:
            return 0

    def _is_too_large(self, error: Exception) -> bool:
        """Whether the quota is exhausted, rather than the disk: SQLite reports SQLITE_FULL for both."""
        if self._quota is None or "full" not in str(error):
            return False
        disk = os.statvfs(os.path.dirname(self._path or ""))
        return disk.f_bavail * disk.f_frsize > _FULL_BELOW

    def _run_query(self, question: str, *parameters: bytes | int) -> list[Any]:
        """Returns the rows of a query, or none if the file can't be read."""
        if self._is_damaged:
            return []
        self._open_file()
        if self._database is None:
            return []
        try:
            rows: list[Any] = self._database.execute(question, parameters).fetchall()
        except database_error() as error:  # another format, or a damaged file
            if is_busy(error):
                self._continue_without()
            return []
        return rows

    def _open_file(self) -> None:
        """Open the file, if there is one, and read from it to find out now whether another program has locked it."""
        if self._opened:
            return
        self._opened = True
        if self._path is not None and os.path.exists(self._path):
            with contextlib.suppress(database_error()):
                self._database = self._connect_to_file()
                self._run_query("select 1 from sites limit 1")

    def _continue_without(self) -> None:
        """Continue without the manifest, since another program has locked it for too long; everything is compared."""
        assert self._path is not None
        self._notice(f"{self._path} is locked by another program; this run continues without its records")
        self.close()
        self._path, self._opened, self.is_busy = None, True, True

    def _write_all(self) -> None:
        with contextlib.closing(self._connect_to_file()) as database, database:
            # The system may crash at any moment, and later runs rely on these records.
            database.execute("pragma synchronous = full")
            before = self._file_size()
            if self._quota is not None:
                pages = max(1, (before + self._quota.left) // _PAGE)
                database.execute(f"pragma max_page_count = {pages}")
            schema = database.execute("pragma user_version").fetchone()[0]
            if schema not in (0, _SCHEMA):
                for name in _NAMES - (_SAME_IN_0_1 if schema == _SCHEMA_OF_0_1 else set()):
                    database.execute(f"drop table if exists {name}")
            database.executescript(_TABLES + pycs.TABLE + directories.TABLE)
            database.execute(f"pragma user_version = {_SCHEMA}")
            database.executemany(
                "delete from uncompilable where path = ?", ((os.fsencode(path),) for path in self._learned)
            )
            learned = ((os.fsencode(path), *fact) for path, fact in self._learned.items() if fact is not None)
            database.executemany("insert into uncompilable values (?, ?, ?, ?, ?, ?, ?)", learned)
            out_of_scope = ((os.fsencode(path),) for path in self._out_of_scope)
            database.executemany("delete from blocks where directory = ?", out_of_scope)
            database.executemany(
                "insert or ignore into sites values (?)", ((os.fsencode(path),) for path in self._sites)
            )
            self.pycs.write(database)
            self.directories.write(database)
        self._give_back(before - self._file_size())

    def _connect_to_file(self) -> Any:
        assert self._path is not None
        return connect(self._path, self._patience)
