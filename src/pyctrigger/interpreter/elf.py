"""ELF files: the loader and libraries that a program loads before its first instruction.

Facts: elf(5), ld.so(8). A library is searched for in DT_RUNPATH, or in DT_RPATH if there is no DT_RUNPATH; only
DT_RPATH also applies to the libraries of a library. `$ORIGIN` is the directory of the file that contains it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable

from ..typed import NamedTuple

_MAGIC = b"\x7fELF"
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _STRINGS_SIZE, _RPATH, _RUNPATH = 1, 5, 10, 15, 29
#: Offsets of e_phoff, e_phentsize and e_phnum; forms of these, of a program header and of a dynamic entry.
_CLASSES = {1: (28, "I", 42, "IIIII", "iI"), 2: (32, "Q", 54, "IIQQQQ", "qQ")}
_MAX_HEADERS = 256
_MAX_DYNAMIC = 1 << 16
_MAX_STRINGS = 4 << 20
_MAX_NAME = 4096


class Needs(NamedTuple):
    """Loader and libraries that a file names."""

    loader: str | None
    libraries: tuple[str, ...]
    rpath: tuple[str, ...]
    """Search path for its libraries, and for theirs."""
    runpath: tuple[str, ...]
    """Search path for its own libraries only."""


def read_needs(path: str) -> Needs | None:
    """Returns what the file at `path` needs, or None if it isn't a readable ELF file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return _parse_needs(lambda size, offset: os.pread(descriptor, size, offset), os.path.dirname(path))
    except (OSError, OverflowError, ValueError, LookupError, struct.error):
        return None
    finally:
        os.close(descriptor)


def _parse_needs(read: Callable[[int, int], bytes], origin: str) -> Needs | None:
    head = read(64, 0)
    if not head.startswith(_MAGIC):
        return None
    order = "<" if head[5] == 1 else ">"
    at, address, counts, program_form, entry_form = _CLASSES[head[4]]
    (table,) = struct.unpack_from(order + address, head, at)
    size, number = struct.unpack_from(f"{order}HH", head, counts)
    if number > _MAX_HEADERS:
        return None
    rows = [struct.unpack_from(order + program_form, read(size, table + size * each)) for each in range(number)]
    # Kind, offset, virtual address and size in the file. The flags are in different places in 32 and 64 bits.
    rows = [(row[0], row[1], row[2], row[4]) if head[4] == 1 else (row[0], row[2], row[3], row[5]) for row in rows]
    loader, entries = None, []
    for kind, offset, _, length in rows:
        if kind == _INTERPRETER:
            loader = _decode(read(min(length, _MAX_NAME), offset))
        elif kind == _DYNAMIC:
            found = read(min(length, _MAX_DYNAMIC), offset)
            form, size = order + entry_form, struct.calcsize(order + entry_form)
            entries = [struct.unpack_from(form, found, at) for at in range(0, len(found) - size + 1, size)]
    values = dict(entries)
    strings = _read_string_table(read, rows, values) if entries else b""

    def texts(tag: int) -> list[str]:
        return [_decode(strings[value : value + _MAX_NAME]) for kind, value in entries if kind == tag]

    def directories(tag: int) -> tuple[str, ...]:
        return tuple(_expand_origin(part, origin) for text in texts(tag) for part in text.split(":") if part)

    return Needs(loader, tuple(texts(_NEEDED)), directories(_RPATH), directories(_RUNPATH))


def _read_string_table(read: Callable[[int, int], bytes], rows: list[tuple[int, ...]], values: dict[int, int]) -> bytes:
    """Returns the string table, which the file refers to by its address in memory."""
    address = values[_STRINGS]
    for kind, offset, start, length in rows:
        if kind == _LOAD and start <= address < start + length:
            return read(min(values[_STRINGS_SIZE], _MAX_STRINGS), offset + address - start)
    return b""


def _decode(piece: bytes) -> str:
    return os.fsdecode(piece.partition(b"\0")[0])


def _expand_origin(directory: str, origin: str) -> str:
    return os.path.join("/", directory.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))
