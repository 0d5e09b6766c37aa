"""Reading a small file whole: a regular one, of a size that it may have, whatever else has its name by now."""

from __future__ import annotations

import errno
import os
import stat

#: Bytes.
_PIECE = 1 << 16


def read_regular(path: str, largest: int) -> bytes:
    """The bytes of a file, at most `largest` of them. Never waits for a writer. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        data, piece = b"", b"\0"
        while piece and status.st_size <= largest >= len(data):
            # What is asked for is held, however little comes: and some files, as those of /proc, don't say their size.
            wanted = max(status.st_size + 1 - len(data), _PIECE)
            piece = os.read(descriptor, min(wanted, largest + 1 - len(data)))
            data += piece
    finally:
        os.close(descriptor)
    if piece:
        raise OSError(errno.EFBIG, f"larger than {largest >> 10} KiB")
    return data
