"""Limit on the size of the state of a foreign root: others choose the names in it, and the disk is ours."""

from __future__ import annotations

import errno
import os

#: Bytes. The least that a file or directory takes on the disk.
_SMALLEST = 4096


class StateFullError(OSError):
    """Writing this would exceed the quota."""


class Quota:
    """Bytes that may still be written."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        """Count bytes before they are written. Raises StateFullError."""
        self.left -= max(size, _SMALLEST)
        if self.left < 0:
            raise StateFullError(errno.EDQUOT, "its state would exceed the quota")

    def give_back(self, size: int) -> None:
        """Return bytes that weren't needed, or were removed."""
        self.left += size


def measure(directory: str) -> int:
    """Returns the bytes that a state directory takes on the disk, with everything in it."""
    size = 0
    for path, _, names in os.walk(directory):
        size += _SMALLEST
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except OSError:
                continue  # removed by another run just now
            size += max(status.st_blocks * 512, _SMALLEST)
    return size
