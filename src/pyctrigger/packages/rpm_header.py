"""rpm's package headers, as its database and its packages have them.

A header without its magic is two big-endian numbers (how many index entries and how many bytes of data
follow), the entries (tag, type, offset, count, 4 bytes each), and the data (rpm's docs/manual/format_header.md). A
file's path is its directory, an index into a list, and its base name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_NAME, _DIRINDEXES, _BASENAMES, _DIRNAMES = 1000, 1116, 1117, 1118
_STRING, _STRING_ARRAY = 6, 8
#: Types of numbers, by their `struct` formats.
_NUMBERS = {"H": 3, "I": 4, "Q": 5}
_ENTRY = struct.Struct(">4I")


class PackageHeader:
    """A package's header. Its methods raise ValueError, struct.error or LookupError for a damaged one."""

    def __init__(self, blob: bytes) -> None:
        count, size = struct.unpack_from(">2I", blob)
        start = 8 + _ENTRY.size * count
        if start + size != len(blob):
            raise ValueError(f"a package's header has {len(blob)} bytes instead of {start + size}")
        self._index = {tag: (kind, offset, length) for tag, kind, offset, length in _ENTRY.iter_unpack(blob[8:start])}
        self._data = blob[start:]

    @property
    def name(self) -> bytes:
        """The package's name."""
        kind, offset, _ = self._index[_NAME]
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
