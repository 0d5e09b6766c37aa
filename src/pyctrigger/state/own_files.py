"""Atomic writes of small state files: a reader finds the old or the new contents, also after a power failure.

A writer holds a lock (flock(2)) on its temporary file. The kernel releases it however the writer ends, so a temporary
file without a lock is residue of a killed one, and the next writer in that directory removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os

from ..bounded import read_regular
from ..typed import Any

_TEMPORARY = ".tmp"
#: Bytes. A larger file isn't read; this one has room for the records of half a million directories.
_LARGEST = 64 << 20
_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Errors of a kernel, file system or sandbox that doesn't have a system call, or forbids it.
NO_SUCH_CALL = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)


def write_durably(path: str, value: Any) -> None:
    """Write a value as JSON to `path`, like `write_bytes`. Raises OSError."""
    write_bytes(path, json.dumps(value).encode())


def write_bytes(path: str, data: bytes, *, durable: bool = True) -> None:
    """Write `path`. Its bytes are on the disk before the rename, the rename before this returns.

    If not `durable`, nothing is synced, and after a power failure the file may be unreadable. Raises OSError.
    """
    sweep(os.path.dirname(path))
    temporary, descriptor = _create_locked(path)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                sync(file.fileno())
            os.rename(temporary, path)  # while we hold its lock
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        sync_directory(os.path.dirname(path))


def _create_locked(path: str) -> tuple[str, int]:
    """Create a temporary file, and lock it. Returns its name and descriptor. Raises OSError."""
    while True:
        temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}{_TEMPORARY}"
        descriptor = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):  # on a file system without locks `sweep` can't remove it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not os.fstat(descriptor).st_nlink:  # another process swept it before it was locked
                os.close(descriptor)
                continue
        return temporary, descriptor


def sweep(directory: str) -> None:
    """Remove temporary files of killed writers. Raises OSError if the directory can't be listed."""
    for name in os.listdir(directory):
        if name.endswith(_TEMPORARY):
            remove_unlocked(os.path.join(directory, name))


def remove_unlocked(path: str, directory: int | None = None) -> None:
    """Remove a temporary file, unless a process holds its lock. `path` may be relative to an open directory."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, _OPEN, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path, dir_fd=directory)
        finally:
            os.close(descriptor)


def sync_directory(path: str) -> None:
    """Flush the names in a directory to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Flush an open file to the disk, unless the file system or a sandbox doesn't support that.

    Raises OSError if the disk failed.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise


def try_lock(descriptor: int) -> bool:
    """Try to lock an open file. Returns whether that succeeded, or flock(2) isn't supported here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise
    return True


def hold_directory(directory: str) -> int | None:
    """Open and lock a directory; closing the descriptor unlocks it. Returns None if another process has the lock.

    Raises FileNotFoundError if the directory is gone, and OSError.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if try_lock(descriptor) and os.path.samestat(os.stat(directory), os.fstat(descriptor)):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def read_bytes(path: str) -> bytes:
    """Returns what is in a file. Raises OSError."""
    return read_regular(path, _LARGEST)


def read(path: str) -> Any:
    """Returns the value in a JSON file, or None if it is missing or invalid."""
    try:
        return json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return None
