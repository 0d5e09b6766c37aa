"""Bounded reads of small files: only a regular file, and never more than a given size."""

from __future__ import annotations

import errno
import os
import stat

#: Bytes.
_PIECE = 1 << 16


def read_regular(path: str, largest: int) -> bytes:
    """Returns the contents of a file of at most `largest` bytes. Never blocks on a FIFO.

    Raises OSError: EINVAL if it is no regular file, EFBIG if it is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = regular_status(descriptor)
        data, piece = b"", b"\0"
        while piece and status.st_size <= largest >= len(data):
            # read() allocates what it is asked for, however little comes; files in /proc and the like show no size.
            wanted = max(status.st_size + 1 - len(data), _PIECE)
            piece = os.read(descriptor, min(wanted, largest + 1 - len(data)))
            data += piece
    finally:
        os.close(descriptor)
    if piece:
        raise OSError(errno.EFBIG, f"larger than {largest >> 10} KiB")
    return data


def regular_status(descriptor: int) -> os.stat_result:
    """Returns the status of an open file. Raises OSError if it isn't a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status
