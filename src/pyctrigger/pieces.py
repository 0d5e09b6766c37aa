"""Bytes in pieces, as a worker's frames come and a pyc's header and code go, written without joining them first."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Sequence

Buffer = Union[bytes, memoryview]


def write_pieces(descriptor: int, pieces: Sequence[Buffer]) -> int:
    """Write what one call takes of them, from the first on; how many bytes that was. Raises OSError."""
    # PyPy's os has no writev.
    return os.writev(descriptor, pieces) if hasattr(os, "writev") else os.write(descriptor, pieces[0])
