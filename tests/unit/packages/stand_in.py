"""Package databases in memory, as a manager gets those of a foreign root."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from pyctrigger.packages.databases import Files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class FilesInMemory(Files):
    """Texts by path, links by path, and one SQLite database."""

    def __init__(
        self,
        texts: dict[str, bytes],
        links: dict[str, str] | None = None,
        database: sqlite3.Connection | None = None,
        *,
        is_foreign: bool = True,
    ) -> None:
        self._texts, self._links, self._database = texts, links or {}, database
        self.is_foreign = is_foreign
        #: The tables that were asked for.
        self.tables: list[str] = []

    def describe(self, path: str) -> str:
        return f"/root{path}"

    def has(self, path: str) -> bool:
        return any(each == path or each.startswith(f"{path}/") for each in self._texts)

    def has_file(self, path: str) -> bool:
        return path in self._texts

    def link(self, path: str) -> str | None:
        return self._links.get(path)

    def names(self, directory: str, most: int) -> list[str]:
        return [path.rpartition("/")[2] for path in self._texts if path.rpartition("/")[0] == directory][:most]

    def read(self, path: str) -> bytes:
        try:
            return self._texts[path]
        except KeyError:
            raise FileNotFoundError(2, "it isn't there") from None

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        for path, text in self._texts.items():
            if path.startswith(f"{directory}/") and path.endswith(ending):
                yield path[len(directory) + 1 : -len(ending)], text

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        assert path in self._texts
        assert self._database is not None
        self.tables += tables
        yield self._database
