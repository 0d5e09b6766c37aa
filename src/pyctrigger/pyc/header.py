"""The header of a pyc: 12 bytes up to Python 3.6, 16 bytes from 3.7 on.

Sources: PEP 3147 (magic number, mtime), PEP 552 (flags, hash-based pycs), and `importlib._bootstrap_external`
(`_classify_pyc`, `_validate_timestamp_pyc`, `_pack_uint32`): every field is an unsigned little-endian 32-bit number.
"""

from __future__ import annotations

import enum
import struct

from ..tuples import NamedTuple

_UINT32 = 0xFFFFFFFF
_HASH_BASED = 0b01
_CHECK_SOURCE = 0b10
_SHORT = 12
_LONG = 16
_LONG_TIMESTAMP = struct.Struct("<4sIII").pack


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
    """What the header of a pyc says about its source."""

    FRESH = "fresh"
    MISSING = "missing"
    UNPROVEN = "unproven"  # hash-based, of the right mode: only the target can compute the hash of the source
    CORRUPT = "corrupt"
    FOREIGN_MAGIC = "foreign-magic"
    OTHER_MODE = "mode"
    OTHER_MTIME = "mtime"
    OTHER_SIZE = "size"
    OTHER_HASH = "hash"
    REFRESHABLE = "mtime only"  # another mtime, and the content is known to be the one that the pyc was made from
    OTHER_CONTENT = "content"  # mtime and size fit, and the source is another one than the pyc was made from
    UNKNOWN = "unknown"  # the header fits, and nobody has recorded whether the code does
    MISMATCHED = "mismatched"  # it loads, and is another code than that of its source
    UNREADABLE = "unreadable"  # who may read the source can't read it
    EXPOSED = "rights"  # its rights give accounts more than those of its source
    OBSTRUCTED = "obstructed"  # what has the name of the pyc is no regular file
    SUSPECT = "suspect"  # a repair trusts no header


#: The verdicts that mean: there is no pyc.
NO_PYC = frozenset({Verdict.MISSING, Verdict.OBSTRUCTED})


class HeaderFormat(NamedTuple):
    """What the headers of one interpreter look like."""

    magic_number: bytes
    """Four bytes, `importlib.util.MAGIC_NUMBER`."""
    size: int
    """12 or 16 bytes."""

    @classmethod
    def of(cls, magic_number: bytes, version: tuple[int, ...]) -> HeaderFormat:
        """The format of the Python with this magic number and version."""
        return cls(magic_number, _SHORT if tuple(version[:2]) < (3, 7) else _LONG)

    @property
    def has_modes(self) -> bool:
        """Whether this Python knows hash-based pycs."""
        return self.size == _LONG

    def timestamp(self, mtime: int, size: int) -> bytes:
        """The header of a timestamp pyc; both numbers are masked to 32 bits, as importlib does."""
        if self.has_modes:
            return _LONG_TIMESTAMP(self.magic_number, 0, mtime & _UINT32, size & _UINT32)
        return struct.pack("<4sII", self.magic_number, mtime & _UINT32, size & _UINT32)

    def hashed(self, mode: InvalidationMode, source_hash: bytes) -> bytes:
        """The header of a hash-based pyc; `source_hash` is what the target's `_imp.source_hash` says, 8 bytes."""
        return struct.pack("<4sI8s", self.magic_number, mode.flags, source_hash)

    def judge(self, found: bytes, mode: InvalidationMode, expected: bytes) -> Verdict:
        """Compare the first `size + 1` bytes of a pyc with the timestamp header that its source asks for.

        The byte behind the header tells a pyc without a body, which importlib answers with an EOFError for ever.
        Any bytes get a verdict. `expected` is `timestamp(…)` of the source, whatever the mode.
        """
        if len(found) <= self.size:
            return Verdict.CORRUPT
        if found[:4] != self.magic_number:
            return Verdict.FOREIGN_MAGIC
        if self.has_modes:
            (flags,) = struct.unpack_from("<I", found, 4)
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
        """The hash field of a hash-based header."""
        return found[8:16]
