"""A record: what one pyc was when it was last known to be made from its source, so that a look at two files tells.

Times and sizes alone prove nothing: package archives carry clamped times, and two versions of a source can share both.
A record holds the digests of source and body, and for each file what a change of it can't leave as it was. As long as
that is the same, the digests are; where it isn't, the bytes are compared before anything is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

#: Nanoseconds. A file can change twice within a tick of the kernel's clock and look the same: what is as young as this
#: when it is read is not recorded as seen.
TICK = 20_000_000
#: In the place of an identity: compare the bytes next time.
UNSEEN = ""


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


def identity_at(status: os.stat_result, now: int) -> str:
    """The identity of a file whose bytes were read at `now` (nanoseconds since the epoch), unless it was too young."""
    return identity_of(status) if max(status.st_mtime_ns, status.st_ctime_ns) + TICK < now else UNSEEN


def digest_of(data: bytes | memoryview) -> bytes:
    """The digest of a source, or of a body."""
    import hashlib  # 5 ms, which an idle run doesn't need

    return hashlib.sha256(data).digest()[:20]
