"""When a file was made: with device and inode it tells a directory from a later one that got the same inode."""

from __future__ import annotations

import os
import struct
import sys

#: From <linux/stat.h>: which field is asked for, and where it stands in the answer.
_STATX_BTIME = 0x800
_MASK, _BIRTH = struct.Struct("=I"), struct.Struct("=qI")
_BIRTH_AT, _SIZE = 80, 256
_AT_EMPTY_PATH = 0x1000


def birth_of(descriptor: int, status: os.stat_result) -> int:
    """Nanoseconds since the epoch; 0 where nobody knows. `status` is of the same file."""
    known = getattr(status, "st_birthtime_ns", None) or getattr(status, "st_birthtime", None)
    if known is not None:
        return known if isinstance(known, int) else round(known * 1e9)
    return _statx(descriptor) if sys.platform.startswith("linux") else 0


def _statx(descriptor: int) -> int:
    """What os.stat doesn't say (statx(2))."""
    try:
        import ctypes

        answer = ctypes.create_string_buffer(_SIZE)
        call = ctypes.CDLL(None).statx
        if call(descriptor, b"", _AT_EMPTY_PATH, ctypes.c_uint(_STATX_BTIME), answer) != 0:
            return 0
    except (ImportError, AttributeError, OSError):  # an old C library, or none that can be reached
        return 0
    if not _MASK.unpack_from(answer)[0] & _STATX_BTIME:
        return 0
    seconds, nanoseconds = _BIRTH.unpack_from(answer, _BIRTH_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
