"""System calls that Python has no function for, by way of the C library."""

from __future__ import annotations

import errno
import os
import struct
import sys

#: Errors that mean that the system doesn't know a call, or forbids it.
_REFUSALS = (errno.ENOSYS, errno.EPERM)
#: The C library, once it was loaded: a start of a worker calls it ten times.
_libraries: list[object] = []
#: From <linux/openat2.h>; the number is the same on all machines but Alpha.
_OPENAT2 = 437
_NO_XDEV, _NO_SYMLINKS = 0x01, 0x04
_has_openat2 = sys.platform.startswith("linux") and os.uname().machine != "alpha"
#: From <linux/capability.h>: the third version of the structures, which has 64 bits.
_CAPABILITY_VERSION = 0x20080522


def call(function: str, *arguments: object) -> int:
    """Call a function of the C library. Raises OSError if it fails, or ENOSYS if there is none."""
    try:
        import ctypes  # missing on some systems, and takes 8 ms

        if not _libraries:
            _libraries.append(ctypes.CDLL(None, use_errno=True))
        called = getattr(_libraries[0], function)
    except (ImportError, AttributeError, OSError) as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    converted = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    while (result := int(called(*converted))) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return result


def sync_file_system(descriptor: int) -> None:
    """Wait until everything that was written to the file system of an open file is on the disk. Raises OSError.

    A pyc that is renamed into its place without that can be empty after a power failure, under a good name: 12,000
    files cost 8.8 s with an fsync(2) each, and 0.08 s more with one syncfs(2) at the end.
    """
    try:
        call("syncfs", descriptor)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        os.sync()  # FreeBSD can't sync a single file system


def open_on_this_mount(name: str, flags: int, directory: int) -> int:
    """Open one name in a directory, without following a link or entering a mount. Raises OSError (EXDEV: a mount).

    Mounts beneath a foreign root are meant for the processes inside: one may be this system's own tree, or a FUSE file
    system that never answers. openat2(2) refuses to cross one before anything is asked of it. Where the call is
    missing, device numbers are compared; a bind mount of the same device isn't noticed then.
    """
    flags |= os.O_NOFOLLOW
    how = struct.pack("=3Q", flags, 0, _NO_XDEV | _NO_SYMLINKS)
    try:
        if _has_openat2:
            return call("syscall", _OPENAT2, directory, os.fsencode(name), how, len(how))
    except OSError as error:
        if error.errno not in (*_REFUSALS, errno.EINVAL):
            raise
    descriptor = os.open(name, flags, dir_fd=directory)
    if os.fstat(descriptor).st_dev != os.fstat(directory).st_dev:
        os.close(descriptor)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
    return descriptor


def read_capabilities() -> int:
    """Returns our effective capabilities (capget(2)). Raises OSError, and ImportError without ctypes."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION)
    data = (ctypes.c_uint32 * 6)()
    call("capget", header, data)
    return int(data[0] | data[3] << 32)
