"""The manifest of an installation: what was learned about its sources, as a hint, never as an authority.

Today it knows the sources that can't compile. What it says counts only while the source looks as it did, or has the
same digest. Without sqlite3, without the file, or with a damaged one, everything works, and is learned again.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCHEMA = 1
_TABLES = """
create table if not exists uncompilable (
    path blob primary key, identity text not null, digest blob not null, magic_number blob not null,
    kind text not null, message text not null
) without rowid;
"""


class Uncompilable(NamedTuple):
    """A source that this interpreter can't compile, as it was seen."""

    identity: str
    """Device, inode, size and times."""
    digest: bytes
    magic_number: bytes
    kind: str
    message: str


def identity_of(status: os.stat_result) -> str:
    """What tells one state of a file from another; a changed file with the same would need a forged ctime."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def digest_of(data: bytes) -> bytes:
    """The digest of a source."""
    import hashlib  # 5 ms, for the rare source that doesn't compile

    return hashlib.blake2b(data, digest_size=20).digest()


class Manifest:
    """The manifest in one state directory, or an empty one that forgets."""

    def __init__(self, directory: str | None) -> None:
        self._path = os.path.join(directory, "manifest.sqlite") if directory else None
        self._known: dict[str, Uncompilable] | None = None
        self._changed: dict[str, Uncompilable | None] = {}

    @property
    def uncompilable(self) -> dict[str, Uncompilable]:
        """The sources that can't compile, by their full path."""
        if self._known is None:
            self._known = dict(self._read())
        return self._known

    def learn(self, path: str, fact: Uncompilable) -> None:
        """Remember a source that can't compile."""
        self.uncompilable[path] = fact
        self._changed[path] = fact

    def unlearn(self, path: str) -> None:
        """Forget what was known about a source."""
        if self.uncompilable.pop(path, None) is not None:
            self._changed[path] = None

    def save(self) -> None:
        """Write what changed. Raises OSError where it can't be written."""
        if not self._changed or self._path is None:
            return
        try:
            self._write()
        except _database_error() as error:
            # A damaged file is worth nothing: begin a new one, with all that is known now.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._changed = dict(self._known or {})
            try:
                self._write()
            except _database_error():
                raise OSError(str(error)) from error
        self._changed = {}

    def _read(self) -> Iterator[tuple[str, Uncompilable]]:
        if self._path is None or not os.path.exists(self._path):
            return
        rows: list[Any] = []
        with contextlib.suppress(_database_error()), contextlib.closing(self._connect()) as database:
            rows = database.execute(
                "select path, identity, digest, magic_number, kind, message from uncompilable"
            ).fetchall()
        for path, *fields in rows:
            if isinstance(path, bytes):
                yield os.fsdecode(path), Uncompilable(*fields)

    def _write(self) -> None:
        with contextlib.closing(self._connect()) as database, database:
            if database.execute("pragma user_version").fetchone()[0] not in (0, _SCHEMA):
                database.execute("drop table if exists uncompilable")
            database.executescript(_TABLES)
            database.execute(f"pragma user_version = {_SCHEMA}")
            for path, fact in self._changed.items():
                database.execute("delete from uncompilable where path = ?", (os.fsencode(path),))
                if fact is not None:
                    database.execute("insert into uncompilable values (?, ?, ?, ?, ?, ?)", (os.fsencode(path), *fact))

    def _connect(self) -> Any:
        import sqlite3  # costs 4 ms: only where there is a manifest, or something to remember

        assert self._path is not None
        return sqlite3.connect(self._path, timeout=5)


def _database_error() -> type[Exception]:
    try:
        import sqlite3
    except ImportError:  # FreeBSD packages it apart
        return ImportError
    return sqlite3.Error
