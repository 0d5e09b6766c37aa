"""SQLite databases of package managers, opened for reading and restricted to a few plain tables.

A database's schema is code (views, generated columns, virtual tables), written by whoever wrote the file. So only
tables that store their rows are read, only the functions in our own queries may be called, and queries have a time
limit (sqlite.org/security.html).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import ManagerError

if TYPE_CHECKING:
    import sqlite3

#: Seconds to wait for a database that another program has locked.
_LOCK_TIMEOUT = 0.5
#: Offset of the "read version" in a database file; 2 means a write-ahead log (SQLite's fileformat2.html, 1.3.3).
_READ_VERSION, _WRITE_AHEAD = 19, 2
#: From sqlite3.h. Python's module has these names from 3.11 on.
_OK, _DENY = 0, 1
_READ, _SELECT, _FUNCTION = 20, 21, 31
#: Functions that our queries call.
_FUNCTIONS = frozenset({"instr", "like"})
#: Steps of SQLite's virtual machine between two checks of the time limit: some milliseconds.
_STEPS = 100_000
_IS_PLAIN = "select count(*) from sqlite_master where type = 'table' and rootpage > 0 and name = ?"


@contextlib.contextmanager
def open_beside_its_manager(path: str, tables: Collection[str], seconds: float) -> Iterator[sqlite3.Connection]:
    """Open this system's database, even while its manager is in the middle of a transaction.

    Raises ManagerError, also for errors that occur later while it is read, and OSError.
    """
    with translated(path), contextlib.closing(_open(path, next(iter(tables)))) as database:
        confine(database, tables, seconds)
        yield database


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ManagerError."""
    try:
        import sqlite3
    except ImportError as error:
        raise ManagerError(f"{path} can't be read without the module sqlite3") from error
    try:
        yield
    except sqlite3.Error as error:
        raise ManagerError(f"{path} can't be read: {error}") from error


def confine(database: sqlite3.Connection, tables: Collection[str], seconds: float) -> None:
    """Restrict a connection to these tables and this time. Raises sqlite3.Error."""
    import sqlite3

    for pragma in ("trusted_schema = off", "cell_size_check = on", "query_only = on", "temp_store = memory"):
        database.execute(f"pragma {pragma}")
    # Processor time: waiting for the processor doesn't count.
    deadline = time.process_time() + seconds
    database.set_progress_handler(lambda: int(time.process_time() > deadline), _STEPS)
    for table in tables:
        if database.execute(_IS_PLAIN, (table,)).fetchone()[0] != 1:
            raise sqlite3.DatabaseError(f"it has no table {table}")
        # Expressions of generated columns were compiled with the schema, so the authorizer isn't called for them.
        if any(column[-1] > 1 for column in database.execute(f"pragma table_xinfo({table})")):
            raise sqlite3.DatabaseError(f"its table {table} has generated columns")
    known = frozenset(tables)

    def allow(action: int, first: str | None, second: str | None, _: str | None, inner: str | None) -> int:
        if action == _SELECT:
            return _OK
        if action == _READ and inner is None and first in known:
            return _OK
        return _OK if action == _FUNCTION and second in _FUNCTIONS else _DENY

    database.set_authorizer(allow)


def _open(path: str, table: str) -> sqlite3.Connection:
    import sqlite3

    # While no program uses it there is no log, and opening it would create one, which even a reader leaves behind.
    if _has_log(path) and not os.path.exists(f"{path}-wal"):
        return connect(path, "immutable=1")
    try:
        with contextlib.ExitStack() as stack:
            database = stack.enter_context(contextlib.closing(connect(path, "mode=ro")))
            database.execute(f"select 1 from {table} limit 1")  # noqa: S608 - a name of ours
            stack.pop_all()
            return database
    except sqlite3.OperationalError as error:  # on a read-only file system a missing log can't be created
        if "locked" in str(error):
            raise
        return connect(path, "immutable=1")


def connect(path: str, how: str) -> sqlite3.Connection:
    """Open a database in one of SQLite's ways (sqlite.org/uri.html). Raises sqlite3.Error."""
    import sqlite3

    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", uri=True, timeout=_LOCK_TIMEOUT)


def _has_log(path: str) -> bool:
    with open(path, "rb") as database:
        start = database.read(_READ_VERSION + 1)
    return len(start) > _READ_VERSION and start[_READ_VERSION] == _WRITE_AHEAD
