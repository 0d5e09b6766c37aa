"""The manifest of an installation: what was learned about its tree, as a hint, never as an authority.

It has a record for each pyc, and the sources that can't compile. What it says counts only while the files look as they
did, or have the same digests: a system may roll its tree back without its state, or its state without the tree. Without
sqlite3, without the file, or with a damaged one, everything works, and is learned again.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ...tuples import NamedTuple
from ..quota import Quota, StateFullError
from .pages import PagedRecords
from .record import Record
from .spool import PAGE, Spool
from .unchanged import TABLE, SettledDirectories

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Sources of a stranger's tree that are remembered as such that can't compile, in memory too.
MOST_UNCOMPILABLE = 20_000
#: Seconds of waiting for another program that has locked the file, and those of a hook.
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
#: Records read at once, some half a kilobyte each: one question for a package is a third of one for each directory.
_MOST_NEAR = 4096
#: Whose records are held in memory: the plan looks at one directory after the other, and is done with each soon.
_MOST_DIRECTORIES = 64
#: Records held in memory, of those directories together; one that has more of its own is read a page at a time.
_MOST_HELD = 8192
_MOST_OF_ONE = 4096
#: Bytes that a disk has left at least that isn't full.
_LITTLE = 1 << 20
_CHECK = "pragma quick_check(1)"
_DIRECTORIES = "select distinct directory from pycs where directory >= ?"
_NAMES = ("uncompilable", "pycs", "sites", "settled")


class Uncompilable(NamedTuple):
    """A source that this interpreter can't compile, as it was seen."""

    identity: str
    """Device, inode, size and times."""
    digest: bytes
    magic_number: bytes
    kind: str
    message: str
    tried_with: float = 0
    """The limit that it exceeded, for the kinds `timeout` (seconds of CPU) and `memory` (bytes)."""

    def holds(self, magic_number: bytes, limits: Mapping[str, float]) -> bool:
        """Whether it would fail again under this interpreter, and with the limits of these kinds."""
        if self.magic_number != magic_number:
            return False
        return self.kind not in limits or 0 < limits[self.kind] <= self.tried_with


class Manifest:
    """The manifest in one state directory, or an empty one that forgets."""

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
        #: Somebody else has locked the file.
        self.is_busy = False
        self._known: dict[str, Uncompilable] | None = None
        self._learned: dict[str, Uncompilable | None] = {}
        #: Of the directories looked at last.
        self._records: OrderedDict[str, dict[str, Record] | PagedRecords] = OrderedDict()
        #: What was read ahead, below one directory.
        self._near: dict[str, dict[str, Record]] = {}
        self._near_prefix = ""
        self._spool = Spool(self._quota.left)
        #: Directories that needed nothing.
        self.settled = SettledDirectories(self._ask)
        self._sites: set[str] = set()
        self._strangers: set[str] = set()

    # -- sources that can't compile ------------------------------------------------------------------------------

    @property
    def uncompilable(self) -> dict[str, Uncompilable]:
        """The sources that can't compile, by their full path."""
        if self._known is None:
            self._known = {}
            for path, *fields in self._ask(
                "select path, identity, digest, magic_number, kind, message, tried_with from uncompilable"
            ):
                if isinstance(path, bytes):
                    self._known[os.fsdecode(path)] = Uncompilable(*fields)
        return self._known

    def learn(self, path: str, fact: Uncompilable) -> None:
        """Remember a source that can't compile."""
        if self._quota.left is not None and len(self.uncompilable) >= MOST_UNCOMPILABLE:
            return
        self.uncompilable[path] = fact
        self._learned[path] = fact

    def unlearn(self, path: str) -> None:
        """Forget what was known about a source."""
        if self.uncompilable.pop(path, None) is not None:
            self._learned[path] = None

    # -- pycs ----------------------------------------------------------------------------------------------------

    @property
    def lacks_sqlite(self) -> bool:
        """Whether nothing can be recorded for want of a module."""
        return not _has_sqlite()

    @property
    def keeps_records(self) -> bool:
        """Whether what is recorded will be there next time, and what was can be read now."""
        self._open()
        return self._path is not None and _has_sqlite()

    def records(self, directory: str) -> dict[str, Record] | PagedRecords:
        """The records of the pycs in a directory, by name."""
        found = self._records.get(directory)
        if found is None:
            found = self._held(directory)
            if found is None:
                found = PagedRecords(self._ask, self._spool, directory)
            self._records[directory] = found
            while len(self._records) > _MOST_DIRECTORIES or (
                len(self._records) > 1 and sum(map(len, self._records.values())) > _MOST_HELD
            ):
                self._records.popitem(last=False)
        return found

    def _held(self, directory: str) -> dict[str, Record] | None:
        """All records of a directory; None where they are too many."""
        found = self._near.get(directory)
        if found is None and not (self._near_prefix and directory.startswith(self._near_prefix)):
            rows = self._ask(_RECORDS, os.fsencode(directory), _MOST_OF_ONE + 1)
            if len(rows) > _MOST_OF_ONE:
                return None
            found = {os.fsdecode(row[0]): Record._make(row[1:]) for row in rows if isinstance(row[0], bytes)}
        found = found or {}
        spooled = self._spool.of(directory, _MOST_OF_ONE) if self._spool else {}
        if spooled is None:
            return None
        for name, record in spooled.items():
            if record is None:
                found.pop(name, None)
            else:
                found[name] = record
        return found

    def approach(self, directory: str) -> None:
        """Read at once what is known below a directory that is about to be looked through, unless that is much."""
        below = os.fsencode(directory) + b"/"
        rows = self._ask(_RECORDS_BELOW, below, below[:-1] + b"0", _MOST_NEAR + 1)
        self._near, self._near_prefix = {}, ""
        if len(rows) > _MOST_NEAR:
            return
        last: bytes | None = None
        records: dict[str, Record] = {}
        for row in rows:
            if not (isinstance(row[0], bytes) and isinstance(row[1], bytes)):
                continue
            if row[0] != last:
                last, records = row[0], {}
                self._near[os.fsdecode(last)] = records
            records[os.fsdecode(row[1])] = Record._make(row[2:])
        self._near_prefix = f"{directory}/"

    def record(self, directory: str, name: str, record: Record) -> None:
        """Remember a pyc."""
        if self._path is None:
            return
        held = self._records.get(directory)
        if held is not None:
            held[name] = record
            if len(held) > _MOST_OF_ONE:  # it is read a page at a time from now on
                self._records[directory] = PagedRecords(self._ask, self._spool, directory)
                self._near.pop(directory, None)
                self._near_prefix = ""
        self._spool.put(directory, name, record)

    def forget(self, directory: str, name: str) -> None:
        """Forget a pyc."""
        if self.records(directory).pop(name, None) is not None:
            self._spool.put(directory, name, None)

    # -- the directories -----------------------------------------------------------------------------------------

    def serve(self, sites: list[str]) -> None:
        """Say which site directories the records of this run will be about."""
        self._sites = set(sites)

    def drop_strangers(self) -> list[str]:
        """Forget what lies in no site directory, neither of this run nor of an earlier one; the directories concerned.

        Nobody of ours has written that, and nothing is ever done there.
        """
        known = {os.fsdecode(path) for (path,) in self._ask("select path from sites") if isinstance(path, bytes)}
        roots = tuple(path.rstrip("/") + "/" for path in known | self._sites)
        self._strangers = {os.fsdecode(path) for path in self._outside(map(os.fsencode, roots))}
        for path in [path for path in self.uncompilable if not path.startswith(roots)]:
            self.unlearn(path)
            self._strangers.add(os.path.dirname(path))
        return sorted(self._strangers)

    def _outside(self, roots: Iterable[bytes]) -> Iterator[bytes]:
        """The directories that are none of these and lie below none: only what lies between the roots is read."""
        inside = [(root[:-1], root[:-1] + b"\0") for root in roots]
        inside += [(root + b"/", root + b"0") for root, _ in inside]
        start, gaps = b"", []
        for first, behind in sorted(inside):
            gaps.append((start, first))
            start = max(start, behind)
        for gap in gaps:
            yield from (row[0] for row in self._ask(f"{_DIRECTORIES} and directory < ?", *gap))
        yield from (row[0] for row in self._ask(_DIRECTORIES, start))

    # -- the file ------------------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to save."""
        return bool(self._learned or self._spool or self._strangers or self.settled.is_worth_saving)

    def check(self) -> None:
        """Read the whole file; if a part of it is damaged, all of it is worth nothing.

        What is left of it would be kept for what was known, and what is missing for what nobody ever wrote.
        """
        if os.path.exists(self._path or ""):
            is_whole = self._ask(_CHECK) == [("ok",)]
            self._is_damaged = self._path is not None and not is_whole  # one that is busy has no path any more

    def save(self) -> None:
        """Write what changed, in one transaction. Raises OSError where it can't be written."""
        if self._path is None or not self.has_changed or not _has_sqlite():
            return
        self._disconnect()
        if self._is_damaged:
            self._remove()
            self._is_damaged = False
        try:
            self._write()
        except _database_error() as error:
            if _is_busy(error):
                self._go_without()
                return
            # A damaged file is worth nothing: begin a new one, with what this run has seen.
            self._remove()
            self._learned = dict(self._known or {})
            try:
                self._write()
            except _database_error():
                if self._is_too_large(error):
                    raise StateFullError(errno.EDQUOT, str(error)) from error
                raise OSError(str(error)) from error
        self._learned, self._strangers = {}, set()
        self._spool.close()
        self.settled.saved()

    def close(self) -> None:
        """Give the file back, and forget what wasn't saved."""
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
        """Whether it is the quota that has no more room, and not the disk: SQLite calls both SQLITE_FULL."""
        if self._quota.left is None or "full" not in str(error):
            return False
        disk = os.statvfs(os.path.dirname(self._path or ""))
        return disk.f_bavail * disk.f_frsize > _LITTLE

    def _disconnect(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database, self._opened = None, False

    def _ask(self, question: str, *parameters: bytes | int) -> list[Any]:
        """The rows of a question; none where they can't be had."""
        if self._is_damaged:
            return []
        self._open()
        if self._database is None:
            return []
        try:
            rows: list[Any] = self._database.execute(question, parameters).fetchall()
        except _database_error() as error:  # another format, or a damaged file
            if _is_busy(error):
                self._go_without()
            return []
        return rows

    def _open(self) -> None:
        """Open the file, if there is one, and see that nobody keeps us from it: that can't be told later."""
        if self._opened:
            return
        self._opened = True
        if self._path is not None and os.path.exists(self._path):
            with contextlib.suppress(_database_error()):
                self._database = self._connect()
                self._ask("select 1 from sites limit 1")

    def _go_without(self) -> None:
        """Somebody has locked the file for longer than anybody should wait: forget, and compare all with sources."""
        assert self._path is not None
        self._notice(f"{self._path} is locked by another program: this run goes on without what is known of the tree")
        self._disconnect()
        self._path, self._opened, self.is_busy = None, True, True

    def _write(self) -> None:
        with contextlib.closing(self._connect()) as database, database:
            # The system may stop at any moment, and what is said here is believed afterwards.
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
            self.settled.write(database)
        self._quota.give_back(before - self._size())

    def _connect(self) -> Any:
        import sqlite3  # costs 4 ms: only where there is a manifest, or something to remember

        assert self._path is not None
        return sqlite3.connect(self._path, timeout=self._patience)


def _rows(learned: dict[str, Uncompilable | None]) -> Iterator[tuple[Any, ...]]:
    return ((os.fsencode(path), *fact) for path, fact in learned.items() if fact is not None)


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error)  # SQLITE_BUSY and SQLITE_LOCKED; the exception has their number from 3.11 on


def _has_sqlite() -> bool:
    try:
        import sqlite3  # noqa: F401
    except ImportError:  # FreeBSD packages it apart
        return False
    return True


def _database_error() -> type[Exception]:
    try:
        import sqlite3
    except ImportError:
        return ImportError
    return sqlite3.Error
