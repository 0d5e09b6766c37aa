"""Opening SQLite files of ours: a regular file and nothing else, and what its schema says is run by nobody."""

from __future__ import annotations

import contextlib
import os
import stat

from ..typed import Any


def has_sqlite() -> bool:
    """Whether this Python has the module."""
    try:
        _load_module()
    except ImportError:  # FreeBSD has it in a package of its own
        return False
    return True


def database_error() -> type[Exception]:
    """What is raised where a database can't be used."""
    try:
        kind: type[Exception] = _load_module().Error
    except ImportError:
        return ImportError
    return kind


def _load_module() -> Any:
    """Returns the compiled part of the module sqlite3, or all of it. Raises ImportError.

    The rest converts dates, of which we have none, and imports datetime for that, which takes as long again.
    """
    try:
        import _sqlite3
    except ImportError:  # a Python that keeps it elsewhere
        import sqlite3

        return sqlite3
    return _sqlite3


def is_busy(error: Exception) -> bool:
    """Whether another program has locked the file."""
    return "locked" in str(error)  # SQLITE_BUSY and SQLITE_LOCKED; the exception has their number from 3.11 on


def is_damaged(error: Exception) -> bool:
    """Whether what is in the file is no database, or not all of one; not what may pass, such as a full disk."""
    sqlite3 = _load_module()
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def connect(path: str, patience: float) -> Any:
    """Open a file, or make it, and wait `patience` seconds at most for another program's lock on it.

    Raises sqlite3.Error, also where anything but a file has the name: SQLite would follow a link.
    """
    sqlite3 = _load_module()  # takes 2 ms: only where there is something to read or to write
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise sqlite3.DatabaseError("it isn't a regular file")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.closing(sqlite3.connect(path, timeout=patience)))
        for pragma in ("trusted_schema = off", "cell_size_check = on"):
            database.execute(f"pragma {pragma}")
        stack.pop_all()
    return database
