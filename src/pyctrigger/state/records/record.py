"""A record: what one pyc was when it was last known to be made from its source, so that a look at two files tells.

Times and sizes alone prove nothing: package archives carry clamped times, and two versions of a source can share both.
A record holds the digests of source and body, and for each file what a change of it can't leave as it was. As long as
that is the same, the digests are; where it isn't, the bytes are compared before anything is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tuples import NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

#: Nanoseconds. A file can change twice within a tick of its file system's clock and look the same: what is as young as
#: this when it is read is not recorded as seen. The kernel's clock has 1 to 10 ms.
_TICK = 20_000_000
#: ext2, ext3 and ext4 with small inodes keep whole seconds, FAT every second one: their times are always multiples.
_SECOND = 1_000_000_000
_COARSE_TICK = 2 * _SECOND + _TICK
_DIGEST_SIZE = 20
#: In the place of an identity: compare the bytes next time.
UNSEEN = ""
#: By device: how many nanoseconds its clock was behind ours when we last wrote there.
_lags: dict[int, int] = {}


class Record(NamedTuple):
    """One pyc."""

    source: str
    """The identity of its source."""
    source_digest: bytes
    pyc: str
    """Its own identity."""
    body_digest: bytes
    """Of what stands behind the header."""
    header: bytes
    microseconds: int = 0
    """What compiling it took; 0: nobody knows."""


def identity_of(status: os.stat_result) -> str:
    """What tells one state of a file from another; a changed file with the same would need a forged ctime."""
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def is_coarse(status: os.stat_result) -> bool:
    """Whether the file system may keep whole seconds only. Archives set such an mtime as well; nobody sets a ctime."""
    return status.st_ctime_ns % _SECOND == 0


def is_older(status: os.stat_result, now: int) -> bool:
    """Whether a change at `now` (nanoseconds since the epoch, by our clock) or later would show in the status."""
    tick = _COARSE_TICK if is_coarse(status) else _TICK
    return max(status.st_mtime_ns, status.st_ctime_ns) + tick < now - _lags.get(status.st_dev, 0)


def identity_at(status: os.stat_result, now: int) -> str:
    """The identity of a file whose bytes were read at `now`, unless it was too young."""
    return identity_of(status) if is_older(status, now) else UNSEEN


def identity_written(status: os.stat_result) -> str:
    """The identity of a file that we have just written, under a name that only we know, and then renamed.

    It is young by nature. Within a fine tick nobody else gets to it; within whole seconds somebody may.
    """
    return UNSEEN if is_coarse(status) else identity_of(status)


def learn_clock(status: os.stat_result, now: int) -> None:
    """Compare the clock of a file system with ours: a file was written at `now` or later, and has this status.

    A server's clock may be behind ours, and then its newest files look old.
    """
    lag = now - status.st_ctime_ns
    if lag > _TICK:
        _lags[status.st_dev] = lag


def digest_of(data: bytes | memoryview) -> bytes:
    """The digest of a source, or of a body."""
    import hashlib  # 5 ms, which an idle run doesn't need

    return hashlib.sha256(data).digest()[:_DIGEST_SIZE]


def digest_of_pieces(pieces: Iterable[bytes | memoryview]) -> bytes:
    """The digest of what these are, joined."""
    import hashlib

    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()[:_DIGEST_SIZE]
