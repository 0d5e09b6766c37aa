"""This system's package managers, as if their databases lay below a directory: what is read is real, where isn't."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pyctrigger.packages.databases import Files

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator


class FilesBelow(Files):
    """The files of a system that begins at a directory."""

    def __init__(self, top: str | os.PathLike[str]) -> None:
        self._top = os.fspath(top)

    def describe(self, path: str) -> str:
        return self._top + path

    def has(self, path: str) -> bool:
        return super().has(self._top + path)

    def has_file(self, path: str) -> bool:
        return super().has_file(self._top + path)

    def link(self, path: str) -> str | None:
        return super().link(self._top + path)

    def read(self, path: str) -> bytes:
        return super().read(self._top + path)

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        return super().read_below(self._top + directory, ending)

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        with super().open_database(self._top + path, tables) as database:
            yield database
