"""Birth times of files: with device and inode they distinguish a directory from a later one that reuses the inode."""

from __future__ import annotations

import os
import struct
import sys

from ..clibrary import call

#: From <linux/stat.h>: the flag that asks for the field, and the field's offset in the answer.
_STATX_BTIME = 0x800
_MASK, _BIRTH = struct.Struct("=I"), struct.Struct("=qI")
_BIRTH_AT, _SIZE = 80, 256
_AT_EMPTY_PATH = 0x1000


def birth_of(descriptor: int, status: os.stat_result) -> int:
    """Returns a file's birth time in nanoseconds since the epoch, or 0 if unknown. `status` is of the same file."""
    known = getattr(status, "st_birthtime_ns", None) or getattr(status, "st_birthtime", None)
    if known is not None:
        return known if isinstance(known, int) else round(known * 1e9)
    return _ask_statx(descriptor) if sys.platform.startswith("linux") else 0


def _ask_statx(descriptor: int) -> int:
    """Ask statx(2), since os.stat doesn't return it."""
    try:
        import ctypes

        answer = ctypes.create_string_buffer(_SIZE)
        call("statx", descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, answer)
    except (ImportError, OSError):  # no ctypes, or an old C library
        return 0
    if not _MASK.unpack_from(answer)[0] & _STATX_BTIME:
        return 0
    seconds, nanoseconds = _BIRTH.unpack_from(answer, _BIRTH_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
