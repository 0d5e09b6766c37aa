"""What a program of ELF's format loads before its first instruction: its loader, and the libraries that it needs.

Facts: elf(5), ld.so(8). A library is looked for in DT_RUNPATH, or in DT_RPATH where there is no DT_RUNPATH; only
DT_RPATH serves the libraries of a library, too. `$ORIGIN` is the directory of the file that says it.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC = b"\x7fELF"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _STRINGS_SIZE, _RPATH, _RUNPATH = 1, 5, 10, 15, 29
#: Offsets of e_phoff, e_phentsize and e_phnum; forms of these, of a program header and of a dynamic entry.
_CLASSES = {1: (28, "I", 42, "IIIII", "iI"), 2: (32, "Q", 54, "IIQQQQ", "qQ")}
_MOST_HEADERS = 256
_MOST_DYNAMIC = 1 << 16
_MOST_STRINGS = 4 << 20
_MOST_NAME = 4096


class Needs(NamedTuple):
    """What one file says that it needs."""

    loader: str | None
    libraries: tuple[str, ...]
    rpath: tuple[str, ...]
    """For itself and for what its libraries need."""
    runpath: tuple[str, ...]
    """For itself alone."""


def read_needs(path: str) -> Needs | None:
    """What the file at `path` needs; None for what is no ELF file, or one that can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return _needs(lambda size, offset: os.pread(descriptor, size, offset), os.path.dirname(path))
    except (OSError, OverflowError, ValueError, LookupError, struct.error):
        return None
    finally:
        os.close(descriptor)


def _needs(read: Callable[[int, int], bytes], origin: str) -> Needs | None:
    head = read(64, 0)
    if not head.startswith(_MAGIC):
        return None
    order = "<" if head[5] == 1 else ">"
    at, address, counts, program_form, entry_form = _CLASSES[head[4]]
    (table,) = struct.unpack_from(order + address, head, at)
    size, number = struct.unpack_from(f"{order}HH", head, counts)
    if number > _MOST_HEADERS:
        return None
    rows = [struct.unpack_from(order + program_form, read(size, table + size * each)) for each in range(number)]
    # Kind, offset, virtual address and size in the file; the flags stand elsewhere in 32 bits.
    rows = [(row[0], row[1], row[2], row[4]) if head[4] == 1 else (row[0], row[2], row[3], row[5]) for row in rows]
    loader, entries = None, []
    for kind, offset, _, length in rows:
        if kind == _INTERPRETER:
            loader = _text(read(min(length, _MOST_NAME), offset))
        elif kind == _DYNAMIC:
            found = read(min(length, _MOST_DYNAMIC), offset)
            form = order + entry_form
            entries = list(
                struct.iter_unpack(form, found[: len(found) // struct.calcsize(form) * struct.calcsize(form)])
            )
    values = dict(entries)
    strings = _strings(read, rows, values) if entries else b""

    def texts(tag: int) -> list[str]:
        return [_text(strings[value : value + _MOST_NAME]) for kind, value in entries if kind == tag]

    def directories(tag: int) -> tuple[str, ...]:
        return tuple(_expand(part, origin) for text in texts(tag) for part in text.split(":") if part)

    return Needs(loader, tuple(texts(_NEEDED)), directories(_RPATH), directories(_RUNPATH))


def _strings(read: Callable[[int, int], bytes], rows: list[tuple[int, ...]], values: dict[int, int]) -> bytes:
    """The table that a library's name is an offset into; it is named by its address in memory."""
    address = values[_STRINGS]
    for kind, offset, start, length in rows:
        if kind == _LOAD and start <= address < start + length:
            return read(min(values[_STRINGS_SIZE], _MOST_STRINGS), offset + address - start)
    return b""


def _text(piece: bytes) -> str:
    return os.fsdecode(piece.partition(b"\0")[0])


def _expand(directory: str, origin: str) -> str:
    return os.path.join("/", directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))
