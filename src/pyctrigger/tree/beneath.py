"""Opening what lies beneath a directory as chroot(2) would see it, without one, and without entering any mount below.

Whoever mounts something beneath a stranger's root means it for those inside: it may be this system's own tree, or a
file system of a program's that never answers. openat2(2) refuses it before anything is asked; where there is no such
call, the device number tells, which a bind mount has in common with its root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from typing import Any

_MOST_LINKS = 40
_PASSAGE = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
#: From <linux/openat2.h>; the number is the same on all machines but Alpha.
_OPENAT2 = 437
_NO_XDEV, _NO_SYMLINKS = 0x01, 0x04
_ABSENT = (errno.ENOSYS, errno.EPERM, errno.EINVAL)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _OpenAt2:
    """The system call, as long as it is there."""

    def __init__(self) -> None:
        self._call: Any = None
        if sys.platform.startswith("linux") and os.uname().machine != "alpha":
            self._call = ctypes.CDLL(None, use_errno=True).syscall

    def open(self, name: str, flags: int, directory: int) -> int | None:
        """A descriptor; None where this kernel, or a sandbox, doesn't know the call. Raises OSError."""
        while self._call is not None:
            how = _How(flags, 0, _NO_XDEV | _NO_SYMLINKS)
            size = ctypes.c_size_t(ctypes.sizeof(how))
            found = self._call(
                ctypes.c_long(_OPENAT2), ctypes.c_int(directory), os.fsencode(name), ctypes.byref(how), size
            )
            if found >= 0:
                return int(found)
            number = ctypes.get_errno()
            if number in _ABSENT:
                self._call = None
            elif number != errno.EINTR:
                raise OSError(number, os.strerror(number), name)
        return None


_openat2: list[_OpenAt2] = []


def open_component(name: str, flags: int, directory: int) -> int:
    """Open one name in a directory: no link is followed, no mount entered. Raises OSError (EXDEV: a mount)."""
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
    """A root itself, to be looked into with `open_beneath`. Raises OSError."""
    return os.open(root, _PASSAGE)


def open_beneath(root: int, path: str, flags: int = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) -> int:
    """Open what `path` means inside a root: links to directories are followed inside of it, a last one isn't.

    With O_DIRECTORY a last one is, too. Raises OSError (EXDEV: it lies on a mount).
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
            if links > _MOST_LINKS:
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
    """What a link leads to; None for what is none, or isn't there. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=directory)  # asks no mount: what one stands on is no link
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def status_of_regular(descriptor: int) -> os.stat_result:
    """The status of an open file. Raises OSError if it is none whose bytes are all there to be read."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    return status
