"""Databases of package managers: this system's are read in place, a foreign root's are copied.

A manager names the files that it reads as `Source`, so that those of a foreign root can be copied before any of them is
parsed. An SQLite database's schema is code (views, generated columns, virtual tables), written by whoever wrote the
file. So only tables that store their rows are read, only the functions in our own queries may be called, and queries
have a time limit (sqlite.org/security.html).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from itertools import islice

from ..bounded import read_regular
from ..errors import ManagerError
from ..typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3

#: Bytes of a text. All packages of a large system have 100 MiB of them.
_LARGEST = 1 << 30
#: Seconds of processor time that one SQLite query may take.
_PATIENCE = 60.0
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


class Source(NamedTuple):
    """Something that a manager reads: a file, an SQLite database, or files below a directory."""

    kind: str
    """`file`, `database` or `files`."""
    path: str
    """Absolute, as seen inside the root."""
    ending: str = ""
    """For `files`: the suffix of their names, or `/NAME` for a file of that name in each subdirectory."""


class Files:
    """The files of this system."""

    #: Whether the files belong to a foreign root.
    is_foreign = False

    def describe(self, path: str) -> str:
        """Returns a path as a user of this system would write it."""
        return path

    def has(self, path: str) -> bool:
        """Whether this path exists."""
        return os.path.exists(path)

    def has_file(self, path: str) -> bool:
        """Whether this path is a file."""
        return os.path.isfile(path)

    def link(self, path: str) -> str | None:
        """Returns the target of a link, or None for anything else."""
        return os.readlink(path) if os.path.islink(path) else None

    def names(self, directory: str, most: int) -> list[str]:
        """Returns at most so many of the names in a directory. Raises OSError."""
        with os.scandir(directory) as entries:
            return [entry.name for entry in islice(entries, most)]

    def read(self, path: str) -> bytes:
        """Returns the contents of a file. Raises OSError."""
        return read_regular(path, _LARGEST)

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        """Yields name (without the ending) and contents of a directory's files; see `Source.ending`. Raises OSError."""
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(opened):
                if ending.startswith("/"):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        yield name, read_regular(name + ending, _LARGEST, opened)
                elif name.endswith(ending):
                    yield name[: -len(ending)], read_regular(name, _LARGEST, opened)
        finally:
            os.close(opened)

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        """Open an SQLite database, restricted to these tables, also in the middle of its manager's transaction.

        Raises ManagerError, also for errors that occur later while it is read, and OSError.
        """
        with translated(path), contextlib.closing(_open(path, next(iter(tables)))) as database:
            confine(database, tables, _PATIENCE)
            yield database

    def ask_reader(
        self, manager: str, sources: list[Source], paths: Collection[bytes] | None
    ) -> list[tuple[bytes, bytes]] | None:
        """Have a child read a foreign root's files. Returns None for others, which this process reads itself."""
        return None


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

    escaped = "".join(f"%{byte:02x}" for byte in os.fsencode(path))
    return sqlite3.connect(f"file:{escaped}?{how}", uri=True, timeout=_LOCK_TIMEOUT)


def _has_log(path: str) -> bool:
    with open(path, "rb") as database:
        start = database.read(_READ_VERSION + 1)
    return len(start) > _READ_VERSION and start[_READ_VERSION] == _WRITE_AHEAD
