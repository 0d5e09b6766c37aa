"""The record of a pyc that was made from its source: proves by two stat calls that it still fits.

Times and sizes alone prove nothing: package archives carry clamped times, and two versions of a source can share both.
A record holds the digests of source and body, and for each file an identity that changes with the file. As long as the
identities are the same, so are the digests; where one differs, the bytes are compared before anything is trusted.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterable

from ...stamps import stamp_of
from ...typed import Any, NamedTuple

#: A stamp in bytes. Times before 1677 or after 2262 don't fit.
PACKED = struct.Struct("<QQQqq")
#: Nanoseconds. A file can change twice within a tick of its file system's clock without a difference in its status, so
#: no identity is recorded of a file that is younger than this when it is read. The kernel's clock ticks every 1 to 10
#: ms.
_TICK = 20_000_000
#: ext2, ext3, and ext4 with small inodes store whole seconds, FAT even ones: their times are always multiples.
_SECOND = 1_000_000_000
_COARSE_TICK = 2 * _SECOND + _TICK
DIGEST_SIZE = 20
#: Instead of an identity: compare the bytes next time. No file has this one.
UNSEEN = bytes(PACKED.size)
#: By device: how many nanoseconds its clock lagged behind ours when we last wrote there.
_lags: dict[int, int] = {}


class Record(NamedTuple):
    """The record of one pyc."""

    source: bytes
    """Identity of its source."""
    source_digest: bytes
    pyc: bytes
    """Identity of the pyc."""
    body_digest: bytes
    """Digest of the code after the header."""
    header: bytes
    microseconds: int = 0
    """How long compiling it took, or 0 if unknown."""
    store: str = ""
    """The store that its code came from; nothing if it was compiled here."""
    signer: str = ""
    """The public key of who signed the code there, as a configuration has it."""

    def of_pyc(self, identity: bytes) -> Record:
        """Returns the same for a pyc with this identity."""
        return Record(self[0], self[1], identity, *self[3:])


def identity_of(status: os.stat_result) -> bytes:
    """Returns the stamp of a file, as a record has it."""
    stamp = stamp_of(status)
    try:
        return PACKED.pack(*stamp)
    except struct.error:
        return repr(stamp).encode()  # no stamp: where it has no room in the manifest, the bytes are compared


def is_coarse(status: os.stat_result) -> bool:
    """Whether the file system may store whole seconds only. Looks at the ctime, since archives set such mtimes, too."""
    return status.st_ctime_ns % _SECOND == 0


def is_older(status: os.stat_result, now: int) -> bool:
    """Whether a change at `now` (nanoseconds since the epoch by our clock) or later would show in the status."""
    tick = _COARSE_TICK if is_coarse(status) else _TICK
    return max(status.st_mtime_ns, status.st_ctime_ns) + tick < now - _lags.get(status.st_dev, 0)


def identity_at(status: os.stat_result, now: int) -> bytes:
    """Returns the identity of a file whose bytes were read at `now`, or UNSEEN if it was too young."""
    return identity_of(status) if is_older(status, now) else UNSEEN


def identity_written(status: os.stat_result) -> bytes:
    """Returns the identity of a file that we have just written under a random name, and renamed.

    It is always young. Nobody else can change it within a fine tick, but within a whole second somebody may.
    """
    return UNSEEN if is_coarse(status) else identity_of(status)


def learn_clock(status: os.stat_result, now: int) -> None:
    """Compare the clock of a file system with ours: a file was written at `now` or later, and has this status.

    A server's clock may lag behind ours, and then its newest files look old.
    """
    lag = now - status.st_ctime_ns
    if lag > _TICK:
        _lags[status.st_dev] = lag


def digest_of(data: bytes | memoryview) -> bytes:
    """Returns the digest of a source, or of a body."""
    return shortened(whole_digest_of(data))


class Sha256:
    """Digests the first `own` bytes with Python's own code, and what comes then with OpenSSL's, or all if it is loaded.

    That is five times as fast, but its library takes as long to load as a MiB takes without it, and few hooks have more
    to digest. It can't be loaded while we act as an account that may not read Python's files. Some distributions leave
    Python's own out.
    """

    def __init__(self, own: int) -> None:
        self._left = own
        self._openssl: Any = None

    def new(self, size: int) -> Any:
        """Returns what digests so many bytes."""
        if self._openssl is None:
            self._left -= size
            own = None if sys.modules.get("hashlib") else _own_sha256()
            if own is not None and self._left > 0:
                return own
            try:
                import hashlib
            except ImportError:
                if own is None:
                    raise
                return own
            self._openssl = hashlib.sha256
        return self._openssl

    def digest(self, data: bytes | memoryview) -> bytes:
        """Returns the SHA-256."""
        new = self._openssl or self.new(len(data))
        digest: bytes = new(data).digest()
        return digest


def _own_sha256() -> Any:
    if sys.implementation.name == "cpython":  # PyPy's is written in Python
        with contextlib.suppress(ImportError):
            return __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    return None


_SHA256 = Sha256(own=1 << 20)


def whole_digest_of(data: bytes | memoryview) -> bytes:
    """Returns the SHA-256 of a source, as a store has it."""
    return _SHA256.digest(data)


def shortened(whole_digest: bytes) -> bytes:
    """Returns as much of a SHA-256 as is recorded."""
    return whole_digest[:DIGEST_SIZE]


def digest_of_pieces(pieces: Iterable[bytes | memoryview]) -> bytes:
    """Returns the digest of these pieces, joined."""
    digest = _SHA256.new(64 << 10)()  # as if they had so many bytes
    for piece in pieces:
        digest.update(piece)
    return shortened(digest.digest())
