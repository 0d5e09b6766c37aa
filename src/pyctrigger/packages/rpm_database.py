"""rpm's SQLite database: table `Packages`, each row's blob a package's header, as rpm's own format has it.

A header without its magic: two big-endian numbers, how many index entries and how many bytes of data follow; the
entries (tag, type, offset, count, 4 bytes each); the data (rpm's docs/manual/format_header.md). A file's path is its
directory, picked from a list by a number, and its base name.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from .files import ManagerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .files import Files

_NAME, _DIRINDEXES, _BASENAMES, _DIRNAMES = 1000, 1116, 1117, 1118
_INT32, _STRING, _STRING_ARRAY = 4, 6, 8
_ENTRY = struct.Struct(">4I")
#: Most packages have no bytecode, and their headers needn't be looked into. Hexadecimal, so that bytes are compared.
_QUERY = "select blob from Packages where instr(blob, x'2e707963')"
_WITH_FILE = "select blob from Packages where hnum in (select hnum from Basenames where key = cast(? as text))"


def owned_pycs(files: Files, path: str) -> Iterator[bytes]:
    """The pycs of all packages. Raises ManagerError and OSError."""
    with _told(files, path), files.open_database(path, ["Packages"]) as database:
        for (blob,) in database.execute(_QUERY):
            yield from _files_of_package(*_parts(bytes(blob)), b".pyc")


def owners(files: Files, path: str, wanted: Collection[bytes]) -> dict[bytes, str]:
    """The names of the packages that own these files. Raises ManagerError and OSError."""
    found = {}
    with _told(files, path), files.open_database(path, ["Packages", "Basenames"]) as database:
        for base in {os.path.basename(each) for each in wanted}:
            for (blob,) in database.execute(_WITH_FILE, (base,)):
                entries, data = _parts(bytes(blob))
                for owned in _files_of_package(entries, data, base):
                    if owned in wanted:
                        found[owned] = os.fsdecode(_string(entries[_NAME], data))
    return found


@contextlib.contextmanager
def _told(files: Files, path: str) -> Iterator[None]:
    """What is wrong with a header, as ManagerError."""
    try:
        yield
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise ManagerError(f"{files.describe(path)} can't be read: {error}") from error


class _Entry(NamedTuple):
    kind: int
    offset: int
    length: int


def _files_of_package(entries: dict[int, _Entry], data: bytes, ending: bytes) -> Iterator[bytes]:
    if _BASENAMES not in entries:
        return  # a package without files that only speaks of bytecode
    names = _strings(entries[_BASENAMES], data)
    directories = _strings(entries[_DIRNAMES], data) if _DIRNAMES in entries else []
    numbers = _numbers(entries[_DIRINDEXES], data) if _DIRINDEXES in entries else ()
    if len(numbers) != len(names):
        raise ValueError("a package's files and directories don't match")
    for name, number in zip(names, numbers):
        if name.endswith(ending):
            if number >= len(directories):
                raise ValueError("a package's file lies in no directory")
            yield directories[number] + name


def _parts(blob: bytes) -> tuple[dict[int, _Entry], bytes]:
    count, size = struct.unpack_from(">2I", blob)
    start = 8 + _ENTRY.size * count
    if start + size != len(blob):
        raise ValueError(f"a package's header has {len(blob)} bytes, and speaks of {start + size}")
    index = _ENTRY.iter_unpack(blob[8:start])
    return {tag: _Entry(kind, offset, length) for tag, kind, offset, length in index}, blob[start:]


def _strings(entry: _Entry, data: bytes) -> list[bytes]:
    found = data[entry.offset :].split(b"\0", entry.length)
    if entry.kind != _STRING_ARRAY or len(found) != entry.length + 1:
        raise ValueError("a package's list of names ends in the middle")
    return found[:-1]


def _string(entry: _Entry, data: bytes) -> bytes:
    if entry.kind != _STRING:
        raise ValueError("a package's name is no text")
    return data[entry.offset :].split(b"\0", 1)[0]


def _numbers(entry: _Entry, data: bytes) -> tuple[int, ...]:
    if entry.kind != _INT32:
        raise ValueError("a package's list of directories is no list of numbers")
    return struct.unpack_from(f">{entry.length}I", data, entry.offset)
