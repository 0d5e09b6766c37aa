"""What one archive may use (bytes, ratio, entries, names, time, memory), and a count of what it has used."""

from __future__ import annotations

from typing import NamedTuple

#: Bytes. A small archive may expand as it likes: a hundred kilobytes of spaces is no bomb.
_RATIO_COUNTS_FROM = 64 << 20
#: Different magic numbers, and tags for one of them, that an archive may have: there were 200 in 30 years.
MOST_MAGIC_NUMBERS = 1000
MOST_TAGS = 100
#: All that is ever said about what to do: a reader that was taken over gives nobody advice.
RAISE_SIZE = "raise --max-size if you trust it"
UNPACK_BY_HAND = "this may be a decompression bomb; unpack it by hand if you trust it"
HAVE_BACKEND = "install the package that fsspec needs for this kind of URL, such as s3fs, where archives are examined"
HAVE_CREDENTIALS = "set them for the account that examines: what is in root's environment and files isn't used"
MAKE_READABLE = "use a Python that everybody may read, or run it under another account"
HAVE_ZSTD = (
    "install backports.zstd as a system package, or with pip install 'pyctrigger[audit]'; or run it with Python 3.14 "
    "or later"
)


class ArchiveError(Exception):
    """Why an archive can't be examined: a value in the making, never shown as an exception.

    `kind` is damaged, limit, unsupported, memory, io or defect; `hint` is what the reader can do about it.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint


class ArchiveLimits(NamedTuple):
    """What one archive may use."""

    size: int = 16 << 30
    """Bytes after decompression, over all of the archive."""
    ratio: int = 500
    """Bytes after decompression for each byte of the archive, once that is worth looking at."""
    entries: int = 1_000_000
    """Members, of whatever kind."""
    name: int = 4096
    """Bytes of one member's name (PATH_MAX)."""
    source: int = 16 << 20
    """Bytes of one source whose hash is wanted: it is held in memory."""
    findings: int = 1000
    """Findings that are listed one by one; all of them are counted."""
    timeout: float = 300.0
    """Seconds, by the clock; 0: no limit."""
    memory: int = 1 << 30
    """Bytes of address space of the process that reads."""


class Budget:
    """What one archive has used so far. Counting raises ArchiveError if it is too much."""

    def __init__(self, limits: ArchiveLimits, archive_size: int) -> None:
        self.limits = limits
        self._archive_size = archive_size
        self._bytes = 0
        self._entries = 0

    def spend(self, count: int) -> None:
        """Count bytes that came out of a decompressor."""
        self._bytes += count
        if self._bytes > self.limits.size:
            raise ArchiveError("limit", f"expands to more than {self.limits.size} bytes", RAISE_SIZE)
        if self._bytes > _RATIO_COUNTS_FROM and self._bytes > self.limits.ratio * self._archive_size:
            message = f"expands to more than {self.limits.ratio} times its size"
            raise ArchiveError("limit", message, UNPACK_BY_HAND)

    def entry(self, name: str) -> None:
        """Count a member."""
        self._entries += 1
        if self._entries > self.limits.entries:
            raise ArchiveError("limit", f"has more than {self.limits.entries} members")
        if len(name) > self.limits.name:
            raise ArchiveError("limit", f"has a member whose name is longer than {self.limits.name} bytes")
