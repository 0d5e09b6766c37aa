"""The header of a pyc: 12 bytes up to Python 3.6, 16 bytes from 3.7 on.

Sources: PEP 3147 (magic number, mtime), PEP 552 (flags, hash-based pycs), and `importlib._bootstrap_external`
(`_classify_pyc`, `_validate_timestamp_pyc`, `_pack_uint32`): every field is an unsigned little-endian 32-bit number.
"""

from __future__ import annotations

import enum

from ..typed import NamedTuple

_UINT32 = 0xFFFFFFFF
_HASH_BASED = 0b01
_CHECK_SOURCE = 0b10
_SHORT = 12
_LONG = 16
_NO_FLAGS = bytes(4)


class InvalidationMode(enum.Enum):
    """How the target decides whether a pyc still fits its source (PEP 552)."""

    TIMESTAMP = "timestamp"
    CHECKED_HASH = "checked-hash"
    UNCHECKED_HASH = "unchecked-hash"

    @property
    def flags(self) -> int:
        """The value of the flags field."""
        if self is InvalidationMode.TIMESTAMP:
            return 0
        return _HASH_BASED | (_CHECK_SOURCE if self is InvalidationMode.CHECKED_HASH else 0)


class Verdict(enum.Enum):
    """Result of comparing a pyc with its source."""

    FRESH = "fresh"
    MISSING = "missing"
    UNPROVEN = "unproven"  # hash-based and of the right mode: its hash has yet to be compared
    CORRUPT = "corrupt"
    FOREIGN_MAGIC = "foreign-magic"
    OTHER_MODE = "mode"
    OTHER_MTIME = "mtime"
    OTHER_SIZE = "size"
    OTHER_HASH = "hash"
    REFRESHABLE = "mtime only"  # another mtime, but the content is known to be what the pyc was made from
    OTHER_CONTENT = "content"  # mtime and size fit, but the pyc was made from other content
    UNKNOWN = "unknown"  # the header fits; no record says whether the code does
    MISMATCHED = "mismatched"  # it loads, but its code isn't that of its source
    UNREADABLE = "unreadable"  # not readable by everybody who may read the source
    EXPOSED = "rights"  # readable or writable by accounts that may not read or write the source
    OBSTRUCTED = "obstructed"  # something other than a regular file has the name of the pyc
    SUSPECT = "suspect"  # a repair trusts no header


#: The verdicts for which there is no pyc.
NO_PYC = frozenset({Verdict.MISSING, Verdict.OBSTRUCTED})


class HeaderFormat(NamedTuple):
    """Format of the headers that one interpreter writes."""

    magic_number: bytes
    """Four bytes: `importlib.util.MAGIC_NUMBER`."""
    size: int
    """12 or 16 bytes."""

    @classmethod
    def of(cls, magic_number: bytes, version: tuple[int, ...]) -> HeaderFormat:
        """Returns the format of the Python with this magic number and version."""
        return cls(magic_number, _SHORT if tuple(version[:2]) < (3, 7) else _LONG)

    @property
    def has_modes(self) -> bool:
        """Whether this Python supports hash-based pycs."""
        return self.size == _LONG

    def timestamp(self, mtime: int, size: int) -> bytes:
        """Returns the header of a timestamp pyc. Both numbers are masked to 32 bits, as importlib does."""
        # Not by `struct`, which a hook with nothing to do would import for this alone.
        numbers = ((size & _UINT32) << 32 | (mtime & _UINT32)).to_bytes(8, "little")
        return self.magic_number + (_NO_FLAGS + numbers if self.has_modes else numbers)

    def hashed(self, mode: InvalidationMode, source_hash: bytes) -> bytes:
        """Returns the header of a hash-based pyc. `source_hash` comes from the target's `_imp.source_hash`, 8 bytes."""
        return self.magic_number + mode.flags.to_bytes(4, "little") + source_hash

    def judge(self, found: bytes, mode: InvalidationMode, expected: bytes) -> Verdict:
        """Compare the first `size + 1` bytes of a pyc with the timestamp header that its source should have.

        The byte after the header is there to detect a pyc without a body, on which every import fails with an EOFError.
        `expected` is `timestamp(…)` of the source in all modes. Returns a verdict for any bytes.
        """
        if len(found) <= self.size:
            return Verdict.CORRUPT
        if found[:4] != self.magic_number:
            return Verdict.FOREIGN_MAGIC
        if self.has_modes:
            flags = int.from_bytes(found[4:8], "little")
            if flags & ~(_HASH_BASED | _CHECK_SOURCE) or flags == _CHECK_SOURCE:
                return Verdict.CORRUPT
            if flags != mode.flags:
                return Verdict.OTHER_MODE
            if mode is not InvalidationMode.TIMESTAMP:
                return Verdict.UNPROVEN
        if found[self.size - 8 : self.size - 4] != expected[-8:-4]:
            return Verdict.OTHER_MTIME
        if found[self.size - 4 : self.size] != expected[-4:]:
            return Verdict.OTHER_SIZE
        return Verdict.FRESH

    def source_hash(self, found: bytes) -> bytes:
        """Returns the hash field of a hash-based header."""
        return found[8:16]
