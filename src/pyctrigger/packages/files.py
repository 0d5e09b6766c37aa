"""Access to the files of package managers' databases: this system's are read in place, a foreign root's are copied.

A manager names the files that it reads as `Source`, so that those of a foreign root can be copied before any of them is
parsed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..bounded import read_regular
from ..tuples import NamedTuple

if TYPE_CHECKING:
    import sqlite3

#: Bytes of a text. All packages of a large system have 100 MiB of them.
_LARGEST = 1 << 30
#: Seconds of processor time that one SQLite query may take.
_PATIENCE = 60.0


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

    def open_database(self, path: str, tables: Collection[str]) -> AbstractContextManager[sqlite3.Connection]:
        """Open an SQLite database, restricted to these tables.

        Raises ManagerError, also for errors that occur later while it is read, and OSError.
        """
        from .database import open_beside_its_manager  # not needed to examine a hook

        return open_beside_its_manager(path, tables, _PATIENCE)

    def ask_reader(
        self, manager: str, sources: list[Source], paths: Collection[bytes] | None
    ) -> list[tuple[bytes, bytes]] | None:
        """Have a child read a foreign root's files. Returns None for others, which this process reads itself."""
        return None
