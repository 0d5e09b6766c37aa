"""Opening a name beneath a root without entering a mount.

Mounts beneath a foreign root are meant for the processes inside: one may be this system's own tree, or a FUSE file
system that never answers. openat2(2) refuses to cross one before anything is asked of it. Where the call is missing,
device numbers are compared; a bind mount of the same device isn't noticed then.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

#: From <linux/openat2.h>; the number is the same on all machines but Alpha.
_OPENAT2 = 437
_NO_XDEV, _NO_SYMLINKS = 0x01, 0x04
_CALL_IS_MISSING = (errno.ENOSYS, errno.EPERM, errno.EINVAL)
_has_openat2 = sys.platform.startswith("linux") and os.uname().machine != "alpha"


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_component(name: str, flags: int, directory: int) -> int:
    """Open one name in a directory, without following a link or entering a mount. Raises OSError (EXDEV: a mount)."""
    flags |= os.O_NOFOLLOW
    found = _call_openat2(name, flags, directory) if _has_openat2 else None
    if found is not None:
        return found
    descriptor = os.open(name, flags, dir_fd=directory)
    if os.fstat(descriptor).st_dev != os.fstat(directory).st_dev:
        os.close(descriptor)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return descriptor


def _call_openat2(name: str, flags: int, directory: int) -> int | None:
    """Returns a descriptor, or None if the kernel or a sandbox refuses the call itself. Raises OSError."""
    how = _OpenHow(flags, 0, _NO_XDEV | _NO_SYMLINKS)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    call, number = ctypes.CDLL(None, use_errno=True).syscall, ctypes.c_long(_OPENAT2)
    while True:
        found = call(number, ctypes.c_int(directory), os.fsencode(name), ctypes.byref(how), size)
        if found >= 0:
            return int(found)
        error = ctypes.get_errno()
        if error in _CALL_IS_MISSING:
            return None
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error), name)
