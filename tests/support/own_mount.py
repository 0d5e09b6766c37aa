"""A mount that only the process sees which made it, and that can be turned read-only."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from conftest import absent

if TYPE_CHECKING:
    from pathlib import Path

#: linux/mount.h and fcntl.h; the numbers of both calls are the same on every architecture.
_OPEN_TREE, _MOUNT_SETATTR = 428, 442
_CLONE, _EMPTY_PATH, _READ_ONLY = 1, 0x1000, 1
_HERE = -100


class Mount:
    """A mount of a directory that has no path: it is reached by its descriptor alone (open_tree(2))."""

    def __init__(self, path: Path) -> None:
        self._system = ctypes.CDLL(None, use_errno=True).syscall
        self._descriptor = self._system(_OPEN_TREE, _HERE, os.fsencode(path), _CLONE | os.O_CLOEXEC)
        if self._descriptor < 0:
            absent("needs open_tree(2), and root")
        self.directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._descriptor)

    def turn(self, *, read_only: bool) -> None:
        """Let nothing be written by way of it, or let it again (mount_setattr(2))."""
        attributes = struct.pack("=4Q", _READ_ONLY * read_only, _READ_ONLY * (not read_only), 0, 0)
        if self._system(_MOUNT_SETATTR, self._descriptor, b"", _EMPTY_PATH, attributes, len(attributes)):
            absent("needs mount_setattr(2), of Linux 5.12")

    def close(self) -> None:
        """The mount is gone with its last descriptor; `directory` is whoever's has opened a tree on it."""
        os.close(self._descriptor)
