"""Small files of ours, written so that a reader finds the old bytes or the new ones, also after a power failure.

A writer holds a lock (flock(2)) on its temporary file, which ends with it however it ends: what nobody holds is the
residue of one that was killed, and the next one that writes into the directory removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import Any

from ..bounded import read_regular

_TEMPORARY = ".tmp"
#: Bytes that a file of ours may have: the notes on half a million directories.
_LARGEST = 64 << 20
_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What a kernel, a file system or a sandbox says that doesn't have a call, or forbids it.
NO_SUCH_CALL = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)


def write_durably(path: str, value: Any) -> None:
    """Put a value as JSON under `path`, as `write_text` does. Raises OSError."""
    write_text(path, json.dumps(value))


def write_text(path: str, text: str) -> None:
    """Put a text under `path`: the bytes are on the disk before the name, the name before this returns.

    Raises OSError.
    """
    _put(path, text, durable=True)
    sync_directory(os.path.dirname(path))


def write_lightly(path: str, text: str) -> None:
    """Put a text that may be lost: after a power failure the file may be one that can't be read. Raises OSError."""
    _put(path, text, durable=False)


def _put(path: str, text: str, *, durable: bool) -> None:
    sweep(os.path.dirname(path))
    temporary, descriptor = _create(path)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                sync(file.fileno())
            os.rename(temporary, path)  # while it is still ours
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _create(path: str) -> tuple[str, int]:
    """A temporary file that is held by us, and its descriptor. Raises OSError."""
    while True:
        temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}{_TEMPORARY}"
        descriptor = os.open(temporary, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: then it can't be swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # somebody swept it before it was held


def sweep(directory: str) -> None:
    """Remove what writers that were killed have left. Raises OSError where the directory can't be listed."""
    for name in os.listdir(directory):
        if not name.endswith(_TEMPORARY):
            continue
        residue = os.path.join(directory, name)
        with contextlib.suppress(OSError):
            descriptor = os.open(residue, _OPEN)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(residue)
            finally:
                os.close(descriptor)


def sync_directory(path: str) -> None:
    """Bring the names in a directory to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Bring an open file to the disk, where the system has that: some file systems don't, and some sandboxes.

    Raises OSError where the disk failed.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise


def try_lock(descriptor: int) -> bool:
    """Whether an open file is ours alone from now on, as far as this system has flock(2) at all."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_SUCH_CALL:
            raise
    return True


def hold_directory(directory: str) -> int | None:
    """A descriptor of a directory, with a lock that ends with it; None if somebody else has the lock.

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


def read(path: str) -> Any:
    """The value in a file of ours; None where there is none, or none that can be read."""
    try:
        return json.loads(read_regular(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
