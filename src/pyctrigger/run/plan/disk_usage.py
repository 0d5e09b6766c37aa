"""The bytes that pycs take up."""

from __future__ import annotations

import os

from ...stamps import inode_of


class FileSizes:
    """Sizes of files. Equal code at several levels is one file with several names, and counts once."""

    def __init__(self) -> None:
        self._linked: set[tuple[int, int]] = set()

    def of(self, status: os.stat_result) -> int:
        """Returns the size of a file, 0 if it was counted under another name."""
        inode = inode_of(status)
        size = 0 if inode in self._linked else status.st_size
        if status.st_nlink > 1:
            self._linked.add(inode)
        return size
