"""Files with keys and passwords: a secret is read only if nobody but its owner can read it.

A public key of `trusted_keys` is text, or in a file: one a line, and `#` begins a comment. What others could change
isn't trusted by root.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..bounded import read_open, regular_status
from ..errors import RefusedError, UsageError
from ..interpreter.trust import require_own
from ..tree.permission.access_lists import access_list
from .signing import SigningKey, parse_public

#: Bytes of a file with keys, or with a secret.
_LARGEST = 1 << 16
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read_trusted(entries: Sequence[str]) -> list[bytes]:
    """Returns the public keys that a configuration trusts: each entry is a key, or the absolute path of a file.

    Raises UsageError, and RefusedError if others could change a file that root is asked to trust.
    """
    found: list[bytes] = []
    for entry in entries:
        if not entry.startswith("/"):
            found.append(_parse(entry, "trusted_keys"))
            continue
        with _open(entry, "file of trusted keys") as descriptor:
            require_own(entry, "file of trusted keys")
            lines = read_open(descriptor, _LARGEST).decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            if text:
                found.append(_parse(text, f"file of trusted keys {entry}: line {number}"))
    return found


def _parse(text: str, where: str) -> bytes:
    try:
        return parse_public(text)
    except ValueError as error:
        raise UsageError(f"{where}: {error}", hint="write what `pyctrigger store keygen` printed") from None


def read_signing_key(path: str) -> SigningKey:
    """Returns the key in a file. Raises UsageError, and RefusedError if others can read it."""
    pem = _read_secret(path, "signing key")
    try:
        return SigningKey.from_pem(pem)
    except ValueError as error:
        raise UsageError(f"signing key {path}: {error}", hint="make one with `pyctrigger store keygen`") from None


def read_password(path: str) -> bytes:
    """Returns the first line of a file. Raises UsageError, and RefusedError if others can read it."""
    password = _read_secret(path, "password file").partition(b"\n")[0].rstrip(b"\r")
    if not password:
        raise UsageError(f"password file {path}: its first line is empty", hint="write the password there")
    return password


def write_signing_key(path: str, key: SigningKey) -> None:
    """Write a key into a new file that only we can read. Raises UsageError; what exists is never replaced."""
    try:
        descriptor = os.open(path, _CREATE, 0o600)
        try:
            os.fchmod(descriptor, 0o600)  # whatever the umask, or a directory's default list
            if os.fstat(descriptor).st_mode & 0o077:
                raise OSError(errno.EPERM, "this file system can't keep it from others")
            data = memoryview(key.to_pem())
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(descriptor)
    except FileExistsError:
        raise UsageError(f"{path} exists, and a key is never replaced", hint="name a new file") from None
    except OSError as error:
        raise UsageError(
            f"the key can't be written to {path}: {error.strerror}", hint="name a file in a directory of your own"
        ) from error


def _read_secret(path: str, what: str) -> bytes:
    with _open(path, what) as descriptor:
        status = os.fstat(descriptor)
        if status.st_uid not in (0, os.geteuid()):
            raise RefusedError(f"{what} {path} belongs to account {status.st_uid}", hint="run as that account")
        if status.st_mode & 0o077 or access_list(descriptor, status) is not None:
            raise RefusedError(f"{what} {path} is open to others", hint=f"replace it, and chmod 600 {path}")
        require_own(path, what)
        return read_open(descriptor, _LARGEST)


@contextmanager
def _open(path: str, what: str) -> Iterator[int]:
    """Opens a regular file. What is an OSError, also in the block, raises UsageError."""
    try:
        descriptor = os.open(path, _READ)
        try:
            regular_status(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError(f"{what} {path}: {error.strerror}", hint="name a file that can be read") from error
