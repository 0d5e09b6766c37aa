"""Opening paths beneath a root as chroot(2) would resolve them, without entering mounts.

Mounts beneath a foreign root are meant for the processes inside: one may be this system's own tree, or a FUSE file
system that never answers. openat2(2) refuses to cross one before anything is asked of it. Where the call is missing,
device numbers are compared; a bind mount of the same device isn't noticed then.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from typing import Any

_MAX_LINKS = 40
_PASSAGE = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
#: From <linux/openat2.h>; the number is the same on all machines but Alpha.
_OPENAT2 = 437
_NO_XDEV, _NO_SYMLINKS = 0x01, 0x04
_CALL_IS_MISSING = (errno.ENOSYS, errno.EPERM, errno.EINVAL)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _OpenAt2:
    """The system call openat2(2), if the kernel has it."""

    def __init__(self) -> None:
        self._call: Any = None
        if sys.platform.startswith("linux") and os.uname().machine != "alpha":
            self._call = ctypes.CDLL(None, use_errno=True).syscall

    def open(self, name: str, flags: int, directory: int) -> int | None:
        """Returns a descriptor, or None if the kernel or a sandbox refuses the call itself. Raises OSError."""
        while self._call is not None:
            how = _OpenHow(flags, 0, _NO_XDEV | _NO_SYMLINKS)
            size = ctypes.c_size_t(ctypes.sizeof(how))
            found = self._call(
                ctypes.c_long(_OPENAT2), ctypes.c_int(directory), os.fsencode(name), ctypes.byref(how), size
            )
            if found >= 0:
                return int(found)
            number = ctypes.get_errno()
            if number in _CALL_IS_MISSING:
                self._call = None
            elif number != errno.EINTR:
                raise OSError(number, os.strerror(number), name)
        return None


_openat2: list[_OpenAt2] = []


def open_component(name: str, flags: int, directory: int) -> int:
    """Open one name in a directory, without following a link or entering a mount. Raises OSError (EXDEV: a mount)."""
    if not _openat2:
        _openat2.append(_OpenAt2())
    found = _openat2[0].open(name, flags | os.O_NOFOLLOW, directory)
    if found is not None:
        return found
    descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
    if os.fstat(descriptor).st_dev != os.fstat(directory).st_dev:
        os.close(descriptor)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return descriptor


def open_root(root: str) -> int:
    """Open a root, for use with `open_beneath`. Raises OSError."""
    return os.open(root, _PASSAGE)


def open_beneath(root: int, path: str, flags: int = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) -> int:
    """Open `path` as resolved inside a root: links are followed inside of it, except for the last component.

    With O_DIRECTORY the last one is followed, too. Raises OSError (EXDEV: the path crosses a mount).
    """
    ancestry = [os.dup(root)]
    pending = path.split("/")[::-1]
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(ancestry) > 1:
                    os.close(ancestry.pop())
                continue
            is_last = not any(each not in ("", ".") for each in pending)
            if is_last and not flags & os.O_DIRECTORY:
                return open_component(part, flags, ancestry[-1])
            goal = read_link(part, ancestry[-1])
            if goal is None:
                ancestry.append(open_component(part, _PASSAGE, ancestry[-1]))
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if goal.startswith("/"):
                while len(ancestry) > 1:
                    os.close(ancestry.pop())
            pending += goal.split("/")[::-1]
        return os.open(".", flags, dir_fd=ancestry[-1])
    finally:
        for descriptor in ancestry:
            os.close(descriptor)


def read_link(name: str, directory: int) -> str | None:
    """Returns the target of a link, or None if `name` isn't a link or doesn't exist. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=directory)  # never enters a mount: a mount point isn't a link
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def status_of_regular(descriptor: int) -> os.stat_result:
    """Returns the status of an open file. Raises OSError if it isn't a regular file."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return status
