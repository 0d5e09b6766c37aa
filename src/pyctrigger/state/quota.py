"""How much the state about a stranger's tree may grow: its names are his, and the disk is ours."""

from __future__ import annotations

import errno
import os

#: Bytes that a file or directory takes at least.
_SMALLEST = 4096


class StateFullError(OSError):
    """What is to be kept would take more than it may."""


class Quota:
    """Bytes that may still be written; None: as many as there are."""

    def __init__(self, left: int | None = None) -> None:
        self.left = left

    def spend(self, size: int) -> None:
        """Count bytes, before they are written. Raises StateFullError."""
        if self.left is None:
            return
        self.left -= max(size, _SMALLEST)
        if self.left < 0:
            raise StateFullError(errno.EDQUOT, "its state would take more than it may")

    def give_back(self, size: int) -> None:
        """Count what turned out smaller, or went."""
        if self.left is not None:
            self.left += size


def measure(directory: str) -> int:
    """Bytes that a directory of ours takes with all that is in it."""
    size = 0
    for path, _, names in os.walk(directory):
        size += _SMALLEST
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except OSError:
                continue  # another run has just removed it
            size += max(status.st_blocks * 512, _SMALLEST)
    return size
