"""rpm's package headers, and its SQLite database, whose table `Packages` has such a header in each row.

A header in the database lacks its magic: two big-endian numbers (how many index entries and how many bytes of data
follow), the entries (tag, type, offset, count, 4 bytes each), and the data (rpm's docs/manual/format_header.md). A
file's path is its directory, an index into a list, and its base name.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Collection, Iterator

from .files import Files, ManagerError

_NAME, _DIRINDEXES, _BASENAMES, _DIRNAMES = 1000, 1116, 1117, 1118
_STRING, _STRING_ARRAY = 6, 8
#: Types of numbers, by their `struct` formats.
_NUMBERS = {"H": 3, "I": 4, "Q": 5}
_ENTRY = struct.Struct(">4I")
#: Skips the headers of packages without bytecode, which most are. In hexadecimal, so that bytes are compared.
_QUERY = "select blob from Packages where instr(blob, x'2e707963')"
_WITH_FILE = "select blob from Packages where hnum in (select hnum from Basenames where key = cast(? as text))"


class PackageHeader:
    """A package's header. Its methods raise ValueError, struct.error or LookupError for a damaged one."""

    def __init__(self, blob: bytes) -> None:
        count, size = struct.unpack_from(">2I", blob)
        start = 8 + _ENTRY.size * count
        if start + size != len(blob):
            raise ValueError(f"a package's header has {len(blob)} bytes instead of {start + size}")
        self._index = {tag: (kind, offset, length) for tag, kind, offset, length in _ENTRY.iter_unpack(blob[8:start])}
        self._data = blob[start:]

    def text(self, tag: int) -> bytes:
        """Returns the text of a tag."""
        kind, offset, _ = self._index[tag]
        if kind != _STRING:
            raise ValueError("a package's name isn't text")
        return self._data[offset:].split(b"\0", 1)[0]

    def texts(self, tag: int) -> list[bytes]:
        """Returns the list of texts of a tag, empty if the header doesn't have it."""
        kind, offset, length = self._index.get(tag, (_STRING_ARRAY, 0, 0))
        found = self._data[offset:].split(b"\0", length)
        if kind != _STRING_ARRAY or len(found) != length + 1:
            raise ValueError("a package's list of names is incomplete")
        return found[:-1]

    def numbers(self, tag: int, width: str = "I") -> tuple[int, ...]:
        """Returns the numbers of a tag, none if the header doesn't have it."""
        kind, offset, length = self._index.get(tag, (_NUMBERS[width], 0, 0))
        if kind != _NUMBERS[width]:
            raise ValueError("a package's header has numbers of the wrong type")
        return struct.unpack_from(f">{length}{width}", self._data, offset)

    def files(self, ending: bytes = b"") -> Iterator[bytes]:
        """Yields the paths of the package's files that end with `ending`."""
        names, directories = self.texts(_BASENAMES), self.texts(_DIRNAMES)
        numbers = self.numbers(_DIRINDEXES)
        if len(numbers) != len(names):
            raise ValueError("a package's files and directories don't match")
        for name, number in zip(names, numbers):
            if name.endswith(ending):
                if number >= len(directories):
                    raise ValueError("a package's file is in no directory")
                yield directories[number] + name


def owned_pycs(files: Files, path: str) -> Iterator[bytes]:
    """Yields the pycs of all packages. Raises ManagerError and OSError."""
    with _translated_errors(files, path), files.open_database(path, ["Packages"]) as database:
        for (blob,) in database.execute(_QUERY):
            yield from PackageHeader(bytes(blob)).files(b".pyc")


def owners(files: Files, path: str, wanted: Collection[bytes]) -> dict[bytes, str]:
    """Returns the names of the packages that own these files. Raises ManagerError and OSError."""
    found = {}
    with _translated_errors(files, path), files.open_database(path, ["Packages", "Basenames"]) as database:
        for base in {os.path.basename(each) for each in wanted}:
            for (blob,) in database.execute(_WITH_FILE, (base,)):
                header = PackageHeader(bytes(blob))
                for owned in header.files(base):
                    if owned in wanted:
                        found[owned] = os.fsdecode(header.text(_NAME))
    return found


@contextlib.contextmanager
def _translated_errors(files: Files, path: str) -> Iterator[None]:
    """Turn errors in a header into ManagerError."""
    try:
        yield
    except (struct.error, ValueError, TypeError, KeyError) as error:
        raise ManagerError(f"{files.describe(path)} can't be read: {error}") from error
