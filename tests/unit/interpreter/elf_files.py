"""Files of ELF's format, as small as they can be."""

from __future__ import annotations

import struct
from typing import NamedTuple

LOAD, DYNAMIC, INTERPRETER = 1, 2, 3
NEEDED, STRINGS, STRINGS_SIZE, RPATH, RUNPATH = 1, 5, 10, 15, 29


class Kind(NamedTuple):
    """A class of ELF files, and their order of bytes."""

    bits: int
    order: str


KINDS = [Kind(32, "<"), Kind(32, ">"), Kind(64, "<"), Kind(64, ">")]
ADDRESS = 0x400000


def program(kind: Kind, loader: bytes | None, entries: list[tuple[int, bytes]], shift: int = 0) -> bytes:
    """A file with the headers of a program: its loader, and dynamic entries that name texts."""
    is_wide = kind.bits == 64
    head_size, row_size = (64, 56) if is_wide else (52, 32)
    entry = struct.Struct(kind.order + ("qQ" if is_wide else "iI"))
    strings = b"\0"
    rows: list[tuple[int, int]] = []
    for tag, text in entries:
        rows.append((tag, len(strings)))
        strings += text + b"\0"
    count = 3 + bool(loader is not None)
    strings_at = head_size + count * row_size
    dynamic_at = strings_at + len(strings)
    rows += [(STRINGS, ADDRESS + strings_at + shift), (STRINGS_SIZE, len(strings)), (0, 0)]
    dynamic = b"".join(entry.pack(*row) for row in rows)
    loader_at = dynamic_at + len(dynamic)
    loaded = loader_at + (len(loader) if loader else 0)
    headers = [
        _row(kind, LOAD, 0, ADDRESS, strings_at),
        _row(kind, LOAD, strings_at, ADDRESS + strings_at, loaded - strings_at),
        _row(kind, DYNAMIC, dynamic_at, ADDRESS + dynamic_at, len(dynamic)),
    ]
    if loader is not None:
        headers.append(_row(kind, INTERPRETER, loader_at, ADDRESS + loader_at, len(loader)))
    ident = b"\x7fELF" + bytes([2 if is_wide else 1, 1 if kind.order == "<" else 2, 1]) + bytes(9)
    form = "HHIQQQIHHHHHH" if is_wide else "HHIIIIIHHHHHH"
    fields = (2, 62, 1, 0, head_size, 0, 0, head_size, row_size, count, 0, 0, 0)
    return ident + struct.pack(kind.order + form, *fields) + b"".join(headers) + strings + dynamic + (loader or b"")


def _row(kind: Kind, what: int, offset: int, address: int, size: int) -> bytes:
    if kind.bits == 64:
        return struct.pack(kind.order + "IIQQQQQQ", what, 5, offset, address, 0, size, size, 1)
    return struct.pack(kind.order + "IIIIIIII", what, offset, address, 0, size, size, 5, 1)
