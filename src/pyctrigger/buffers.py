"""Bytes in pieces, as a worker's frames come and a pyc's header and code go, written without joining them first."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer = Union[bytes, memoryview]


def write_pieces(descriptor: int, pieces: Sequence[Buffer]) -> int:
    """Write what one call takes of them, from the first on; how many bytes that was. Raises OSError."""
    if hasattr(os, "writev"):  # PyPy's os has none
        try:
            return os.writev(descriptor, pieces)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    return os.write(descriptor, pieces[0])
