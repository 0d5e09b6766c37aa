"""The manifest of an installation: an SQLite file of records about its tree. They are hints, and never trusted alone.

It has a record for each pyc, and the sources that don't compile. A record counts only while the files have the same
status, or the same digests: a system may roll its tree back without its state, or its state without the tree. Without
sqlite3, without the file, or with a damaged one, everything works, and is recorded again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ...tuples import NamedTuple
from ..quota import Quota, StateFullError
from ..sqlite import connect, database_error, has_sqlite, is_busy
from .pages import PagedRecords
from .record import Record
from .spool import PAGE, Spool
from .unchanged import TABLE, UnchangedDirectories

#: Most uncompilable sources that are recorded for a foreign root, in memory as well.
MOST_UNCOMPILABLE = 20_000
#: Seconds to wait for another program that has locked the file; a hook waits less.
PATIENCE, HOOK_PATIENCE = 5.0, 0.5
_SCHEMA = 5
_TABLES = """
create table if not exists uncompilable (
    path blob primary key, identity text not null, digest blob not null, magic_number blob not null,
    kind text not null, message text not null, tried_with real not null
) without rowid;
create table if not exists pycs (
    directory blob not null, name blob not null, source text not null, source_digest blob not null,
    pyc text not null, body_digest blob not null, header blob not null, microseconds integer not null,
    primary key (directory, name)
) without rowid;
create table if not exists sites (path blob primary key) without rowid;
"""
_RECORDS = (
    "select name, source, source_digest, pyc, body_digest, header, microseconds from pycs where directory = ? limit ?"
)
#: Between `directory/` and `directory0`: "0" follows "/".
_RECORDS_BELOW = (
    "select directory, name, source, source_digest, pyc, body_digest, header, microseconds from pycs"
    " where directory > ? and directory < ? limit ?"
)
#: Records read at once, some half a kilobyte each: one query for a package takes a third of the time of one for each of
#: its directories.
_MAX_READ_AHEAD = 4096
#: Directories whose records are kept in memory: the plan goes through directories one by one, and soon leaves each.
_MAX_DIRECTORIES = 64
#: Records kept in memory, of all those directories together. A directory that alone has more than the second number is
#: read page by page.
_MAX_HELD = 8192
_MAX_HELD_OF_ONE = 4096
#: Bytes. A disk with less free space counts as full.
_FULL_BELOW = 1 << 20
_CHECK = "pragma quick_check(1)"
_DIRECTORIES = "select distinct directory from pycs where directory >= ?"
_NAMES = ("uncompilable", "pycs", "sites", "settled")


class Uncompilable(NamedTuple):
    """A source that this interpreter can't compile, and the state of the file at that time."""

    identity: str
    """Device, inode, size and times."""
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
        self._quota = quota or Quota()
        self._patience = patience
        self._notice = notice
        self._path = os.path.join(directory, "manifest.sqlite") if directory else None
        self._database: Any = None
        self._opened = self._is_damaged = False
        #: Whether another program has locked the file.
        self.is_busy = False
        self._known: dict[str, Uncompilable] | None = None
        self._learned: dict[str, Uncompilable | None] = {}
        #: Records of the directories that were used last.
        self._records: OrderedDict[str, dict[str, Record] | PagedRecords] = OrderedDict()
        #: Records that were read ahead, below one directory.
        self._read_ahead: dict[str, dict[str, Record]] = {}
        self._read_ahead_prefix = ""
        self._spool = Spool(self._quota.left)
        #: Directories that needed no work.
        self.unchanged = UnchangedDirectories(self._query)
        self._sites: set[str] = set()
        self._strangers: set[str] = set()

    # -- sources that can't compile ------------------------------------------------------------------------------

    @property
    def uncompilable(self) -> dict[str, Uncompilable]:
        """The sources that can't compile, by their full path."""
        if self._known is None:
            self._known = {}
            for path, *fields in self._query(
                "select path, identity, digest, magic_number, kind, message, tried_with from uncompilable"
            ):
                if isinstance(path, bytes):
                    self._known[os.fsdecode(path)] = Uncompilable(*fields)
        return self._known

    def learn(self, path: str, fact: Uncompilable) -> None:
        """Record a source that doesn't compile."""
        if self._quota.left is not None and len(self.uncompilable) >= MOST_UNCOMPILABLE:
            return
        self.uncompilable[path] = fact
        self._learned[path] = fact

    def unlearn(self, path: str) -> None:
        """Drop the record of an uncompilable source."""
        if self.uncompilable.pop(path, None) is not None:
            self._learned[path] = None

    # -- pycs ----------------------------------------------------------------------------------------------------

    @property
    def lacks_sqlite(self) -> bool:
        """Whether nothing can be recorded since Python has no module sqlite3."""
        return not has_sqlite()

    @property
    def keeps_records(self) -> bool:
        """Whether records can be read now, and will still be there next time."""
        self._open()
        return self._path is not None and has_sqlite()

    def records(self, directory: str) -> dict[str, Record] | PagedRecords:
        """Returns the records of the pycs in a directory, by name."""
        found = self._records.get(directory)
        if found is None:
            found = self._read_directory(directory)
            if found is None:
                found = PagedRecords(self._query, self._spool, directory)
            self._records[directory] = found
            while len(self._records) > _MAX_DIRECTORIES or (
                len(self._records) > 1 and sum(map(len, self._records.values())) > _MAX_HELD
            ):
                self._records.popitem(last=False)
        return found

    def _read_directory(self, directory: str) -> dict[str, Record] | None:
        """Returns all records of a directory, or None if there are too many to keep in memory."""
        found = self._read_ahead.get(directory)
        if found is None and not (self._read_ahead_prefix and directory.startswith(self._read_ahead_prefix)):
            rows = self._query(_RECORDS, os.fsencode(directory), _MAX_HELD_OF_ONE + 1)
            if len(rows) > _MAX_HELD_OF_ONE:
                return None
            found = {os.fsdecode(row[0]): Record._make(row[1:]) for row in rows if isinstance(row[0], bytes)}
        found = found or {}
        spooled = self._spool.of(directory, _MAX_HELD_OF_ONE) if self._spool else {}
        if spooled is None:
            return None
        for name, record in spooled.items():
            if record is None:
                found.pop(name, None)
            else:
                found[name] = record
        return found

    def approach(self, directory: str) -> None:
        """Read ahead all records below a directory that is about to be walked, unless there are too many."""
        below = os.fsencode(directory) + b"/"
        rows = self._query(_RECORDS_BELOW, below, below[:-1] + b"0", _MAX_READ_AHEAD + 1)
        self._read_ahead, self._read_ahead_prefix = {}, ""
        if len(rows) > _MAX_READ_AHEAD:
            return
        last: bytes | None = None
        records: dict[str, Record] = {}
        for row in rows:
            if not (isinstance(row[0], bytes) and isinstance(row[1], bytes)):
                continue
            if row[0] != last:
                last, records = row[0], {}
                self._read_ahead[os.fsdecode(last)] = records
            records[os.fsdecode(row[1])] = Record._make(row[2:])
        self._read_ahead_prefix = f"{directory}/"

    def record(self, directory: str, name: str, record: Record) -> None:
        """Record a pyc."""
        if self._path is None:
            return
        held = self._records.get(directory)
        if held is not None:
            held[name] = record
            if len(held) > _MAX_HELD_OF_ONE:  # read it page by page from now on
                self._records[directory] = PagedRecords(self._query, self._spool, directory)
                self._read_ahead.pop(directory, None)
                self._read_ahead_prefix = ""
        self._spool.put(directory, name, record)

    def forget(self, directory: str, name: str) -> None:
        """Drop the record of a pyc."""
        if self.records(directory).pop(name, None) is not None:
            self._spool.put(directory, name, None)

    # -- the directories -----------------------------------------------------------------------------------------

    def serve(self, sites: list[str]) -> None:
        """Set the site directories that this run works on."""
        self._sites = set(sites)

    def drop_strangers(self) -> list[str]:
        """Drop records outside of all site directories, of this run and of earlier ones. Returns their directories.

        No run of ours has made such records, and none would ever work there.
        """
        known = {os.fsdecode(path) for (path,) in self._query("select path from sites") if isinstance(path, bytes)}
        roots = tuple(path.rstrip("/") + "/" for path in known | self._sites)
        self._strangers = {os.fsdecode(path) for path in self._directories_outside(map(os.fsencode, roots))}
        for path in [path for path in self.uncompilable if not path.startswith(roots)]:
            self.unlearn(path)
            self._strangers.add(os.path.dirname(path))
        return sorted(self._strangers)

    def _directories_outside(self, roots: Iterable[bytes]) -> Iterator[bytes]:
        """Yields directories outside of all these roots. Only the gaps between the roots are read from the table."""
        inside = [(root[:-1], root[:-1] + b"\0") for root in roots]
        inside += [(root + b"/", root + b"0") for root, _ in inside]
        start, gaps = b"", []
        for first, past in sorted(inside):
            gaps.append((start, first))
            start = max(start, past)
        for gap in gaps:
            yield from (row[0] for row in self._query(f"{_DIRECTORIES} and directory < ?", *gap))
        yield from (row[0] for row in self._query(_DIRECTORIES, start))

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._learned or self._spool or self._strangers or self.unchanged.is_worth_saving)

    def check(self) -> None:
        """Check the whole file for damage. If any part is damaged, none of it is used.

        Otherwise the remaining records would pass for all that were made, and a lost one for one that never existed.
        """
        if os.path.exists(self._path or ""):
            is_whole = self._query(_CHECK) == [("ok",)]
            self._is_damaged = self._path is not None and not is_whole  # a busy one has lost its path

    def save(self) -> None:
        """Write all changes in one transaction. Raises OSError."""
        if self._path is None or not self.has_changed or not has_sqlite():
            return
        self._disconnect()
        if self._is_damaged:
            self._remove()
            self._is_damaged = False
        try:
            self._write()
        except database_error() as error:
            if is_busy(error):
                self._continue_without()
                return
            # The file is damaged: start a new one with the records of this run.
            self._remove()
            self._learned = dict(self._known or {})
            try:
                self._write()
            except database_error():
                if self._is_too_large(error):
                    raise StateFullError(errno.EDQUOT, str(error)) from error
                raise OSError(str(error)) from error
        self._learned, self._strangers = {}, set()
        self._spool.close()
        self.unchanged.saved()

    def close(self) -> None:
        """Close the file, and drop unsaved records."""
        self._spool.close()
        self._disconnect()

    def _remove(self) -> None:
        assert self._path is not None
        size = self._size()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
            self._quota.give_back(size)

    def _size(self) -> int:
        try:
            return os.stat(self._path or "").st_size
        except OSError:
            return 0

    def _is_too_large(self, error: Exception) -> bool:
        """Whether the quota is exhausted, rather than the disk: SQLite reports SQLITE_FULL for both."""
        if self._quota.left is None or "full" not in str(error):
            return False
        disk = os.statvfs(os.path.dirname(self._path or ""))
        return disk.f_bavail * disk.f_frsize > _FULL_BELOW

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database, self._opened = None, False

    def _query(self, question: str, *parameters: bytes | int) -> list[Any]:
        """Returns the rows of a query, or none if the file can't be read."""
        if self._is_damaged:
            return []
        self._open()
        if self._database is None:
            return []
        try:
            rows: list[Any] = self._database.execute(question, parameters).fetchall()
        except database_error() as error:  # another format, or a damaged file
            if is_busy(error):
                self._continue_without()
            return []
        return rows

    def _open(self) -> None:
        """Open the file, if there is one, and read from it to find out now whether another program has locked it."""
        if self._opened:
            return
        self._opened = True
        if self._path is not None and os.path.exists(self._path):
            with contextlib.suppress(database_error()):
                self._database = self._connect()
                self._query("select 1 from sites limit 1")

    def _continue_without(self) -> None:
        """Continue without the manifest, since another program has locked it for too long; everything is compared."""
        assert self._path is not None
        self._notice(f"{self._path} is locked by another program; this run continues without its records")
        self._disconnect()
        self._path, self._opened, self.is_busy = None, True, True

    def _write(self) -> None:
        with contextlib.closing(self._connect()) as database, database:
            # The system may crash at any moment, and later runs rely on these records.
            database.execute("pragma synchronous = full")
            before = self._size()
            if self._quota.left is not None:
                pages = max(1, (before + self._quota.left) // PAGE)
                database.execute(f"pragma max_page_count = {pages}")
            if database.execute("pragma user_version").fetchone()[0] not in (0, _SCHEMA):
                for name in _NAMES:
                    database.execute(f"drop table if exists {name}")
            database.executescript(_TABLES + TABLE)
            database.execute(f"pragma user_version = {_SCHEMA}")
            database.executemany(
                "delete from uncompilable where path = ?", ((os.fsencode(path),) for path in self._learned)
            )
            database.executemany("insert into uncompilable values (?, ?, ?, ?, ?, ?, ?)", _rows(self._learned))
            strangers = ((os.fsencode(path),) for path in self._strangers)
            database.executemany("delete from pycs where directory = ?", strangers)
            database.executemany(
                "insert or ignore into sites values (?)", ((os.fsencode(path),) for path in self._sites)
            )
            forgotten = ((directory, name) for directory, name, record in self._spool.rows() if record is None)
            database.executemany("delete from pycs where directory = ? and name = ?", forgotten)
            kept = ((directory, name, *record) for directory, name, record in self._spool.rows() if record is not None)
            database.executemany("insert or replace into pycs values (?, ?, ?, ?, ?, ?, ?, ?)", kept)
            self.unchanged.write(database)
        self._quota.give_back(before - self._size())

    def _connect(self) -> Any:
        assert self._path is not None
        return connect(self._path, self._patience)


def _rows(learned: dict[str, Uncompilable | None]) -> Iterator[tuple[Any, ...]]:
    return ((os.fsencode(path), *fact) for path, fact in learned.items() if fact is not None)
