"""How a package manager's database is read: this system's as it lies on the disk, a stranger's in another way.

What a manager's answers are read from is named here, so that a stranger's files can be copied before anything looks
into them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ..tuples import NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from .manager import Manager

_PIECE = 1 << 16
#: Seconds that one question may take SQLite.
_PATIENCE = 60.0


class ManagerError(Exception):
    """A database that is there and can't be read; the text says which, and why."""


class Source(NamedTuple):
    """What a manager reads: a file, an SQLite database, or files below a directory."""

    kind: str
    """file, database or files."""
    path: str
    """Absolute, as seen inside the root."""
    ending: str = ""
    """Of the files of a directory: what their names end with, or `/NAME` for one in each directory there."""


class Files:
    """Those of this system."""

    #: Whether somebody else than this system's root decides what stands there.
    is_foreign = False

    def describe(self, path: str) -> str:
        """A path as a person finds it from here."""
        return path

    def has(self, path: str) -> bool:
        """Whether something of this name is there."""
        return os.path.exists(path)

    def has_file(self, path: str) -> bool:
        """Whether it is a file."""
        return os.path.isfile(path)

    def link(self, path: str) -> str | None:
        """What a link leads to; None for anything else."""
        return os.readlink(path) if os.path.islink(path) else None

    def read(self, path: str) -> bytes:
        """The bytes of a file. Raises OSError."""
        return read(path)

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        """The files of a directory (`Source.ending`), each by its name without the ending. Raises OSError."""
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(opened):
                if ending.startswith("/"):
                    if _is_file(name + ending, opened):
                        yield name, read(name + ending, opened)
                elif name.endswith(ending):
                    yield name[: -len(ending)], read(name, opened)
        finally:
            os.close(opened)

    def open_database(self, path: str, tables: Collection[str]) -> AbstractContextManager[sqlite3.Connection]:
        """An SQLite database, of which these tables may be read.

        Raises ManagerError, also for what goes wrong while it is read, and OSError.
        """
        from .database import open_beside_its_manager  # nothing of it is needed to look at a hook

        return open_beside_its_manager(path, tables, _PATIENCE)

    def owned_pycs(self, manager: Manager) -> Iterable[bytes]:
        """What `manager` says of these files. Raises ManagerError and OSError."""
        return manager.owned_pycs()

    def owners(self, manager: Manager, paths: Collection[bytes]) -> dict[bytes, str]:
        """The same of `Manager.owners`."""
        return manager.owners(paths)


def read(path: str, directory: int | None = None) -> bytes:
    """The bytes of a file, without the cost of a file object: a database may have thousands. Raises OSError.

    `directory` is the descriptor that the path starts from.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        text = os.read(descriptor, _PIECE)
        if len(text) < _PIECE:
            return text
        pieces = [text]
        while pieces[-1]:
            pieces.append(os.read(descriptor, 16 * _PIECE))
        return b"".join(pieces)
    finally:
        os.close(descriptor)


def _is_file(path: str, directory: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(path, dir_fd=directory).st_mode)
    except OSError:
        return False
