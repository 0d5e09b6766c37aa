"""Gathered writes: several buffers (a pyc's header and code, the parts of a frame) written without joining them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from .typed import Union

Buffer = Union[bytes, memoryview]
#: PyPy's os has none.
_HAS_WRITEV = hasattr(os, "writev")


def write_pieces(descriptor: int, pieces: Sequence[Buffer]) -> int:
    """Write as much as one system call takes, from the first buffer on. Returns the number of bytes. Raises OSError."""
    if _HAS_WRITEV:
        try:
            return os.writev(descriptor, pieces)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    return os.write(descriptor, pieces[0])
