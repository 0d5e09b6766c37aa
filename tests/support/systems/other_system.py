"""This system's package managers, as if their databases lay below a directory: what is read is real, where isn't."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyctrigger.packages.files import Files

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator
    from contextlib import AbstractContextManager


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

    def open_database(self, path: str, tables: Collection[str]) -> AbstractContextManager[sqlite3.Connection]:
        return super().open_database(self._top + path, tables)
