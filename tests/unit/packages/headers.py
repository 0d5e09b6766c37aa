"""rpm's package headers, made up."""

from __future__ import annotations

import struct
from typing import Any

NAME, DIRINDEXES, BASENAMES, DIRNAMES = 1000, 1116, 1117, 1118
INT32, STRING, STRING_ARRAY = 4, 6, 8


def header(entries: dict[int, tuple[int, Any]], *, size: int | None = None, tail: bytes = b"") -> bytes:
    """A header: each tag with its type and its value."""
    index, data = b"", b""
    for tag, (kind, value) in entries.items():
        count = len(value) if isinstance(value, list) else 1
        index += struct.pack(">4I", tag, kind, len(data), count)
        if isinstance(value, list) and value and isinstance(value[0], int):
            data += struct.pack(f">{count}I", *value)
        else:
            data += b"".join(each + b"\0" for each in (value if isinstance(value, list) else [value]))
    return struct.pack(">2I", len(entries), len(data) if size is None else size) + index + data + tail


def package(name: bytes, directories: list[bytes], files: list[tuple[int, bytes]]) -> dict[int, tuple[int, Any]]:
    """The entries of a package with these files, each in a directory by its number."""
    return {
        NAME: (STRING, name),
        DIRINDEXES: (INT32, [number for number, _ in files]),
        BASENAMES: (STRING_ARRAY, [base for _, base in files]),
        DIRNAMES: (STRING_ARRAY, directories),
    }
