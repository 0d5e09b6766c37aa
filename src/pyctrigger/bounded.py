"""Bounded reads of small files: only a regular file, and never more than a given size."""

from __future__ import annotations

import errno
import os
import stat

#: Bytes.
_PIECE = 1 << 16


def read_regular(path: str, largest: int, directory: int | None = None) -> bytes:
    """Returns the contents of a file of at most `largest` bytes. Never blocks on a FIFO.

    `directory` is the descriptor that the path is relative to. Raises OSError: EINVAL if it isn't a regular file, EFBIG
    if it is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        return read_open(descriptor, largest)
    finally:
        os.close(descriptor)


def read_open(descriptor: int, largest: int) -> bytes:
    """Returns the contents of an open file, like `read_regular`. Raises OSError."""
    size, data = regular_status(descriptor).st_size, b""
    while size <= largest >= len(data):
        # read() allocates what it is asked for, however little comes; files in /proc and the like show no size.
        piece = os.read(descriptor, min(max(size + 1 - len(data), _PIECE), largest + 1 - len(data)))
        data += piece
        if not piece or len(data) == size:
            return data
    raise OSError(errno.EFBIG, f"larger than {largest >> 10} KiB")


def regular_status(descriptor: int) -> os.stat_result:
    """Returns the status of an open file. Raises OSError if it isn't a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status
