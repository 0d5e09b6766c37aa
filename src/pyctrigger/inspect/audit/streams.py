"""Bytes out of an archive, in one direction and counted: a window on a part of a file, and what decompresses it."""

from __future__ import annotations

import contextlib
import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from .limits import HAVE_ZSTD, ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget

_PIECE = 1 << 18
#: Bytes. What asks for more at once, or for one header (a name, the extended attributes), does so because a number in
#: the archive says so: memory, for nothing.
_MOST_AT_ONCE = 16 << 20
#: Of the longest that `compression_of` knows.
_LONGEST_MAGIC = 6


class Readable(Protocol):
    """All that is asked of a source of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Window(io.RawIOBase):
    """The next `length` bytes of a source, as a file of their own that can't be read past its end."""

    def __init__(self, source: Readable, length: int) -> None:
        self._source = source
        self.left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._source.read(min(len(buffer), self.left))
        buffer[: len(piece)] = piece
        self.left -= len(piece)
        return len(piece)

    def skip(self) -> None:
        """Read what is left of it. Raises ArchiveError if the archive ends before."""
        while self.left:
            piece = self._source.read(min(self.left, _PIECE))
            if not piece:
                raise ArchiveError("damaged", "ends in the middle of a member")
            self.left -= len(piece)


class Forward:
    """A file that goes forward only, and whose bytes are counted. `last` is what the last `read` gave.

    `tarfile` asks its file for `tell` and `seek` as well; a seek backwards is how it loops on a made-up size
    (CVE-2019-20907, CVE-2025-8194), so that is damage here.
    """

    def __init__(self, source: Readable, budget: Budget, plain: BinaryIO | None = None) -> None:
        self._source = source
        self._budget = budget
        self._plain = plain
        self._at = 0
        self._header: int | None = None
        self.last = b""

    @contextlib.contextmanager
    def one_header(self) -> Iterator[None]:
        """What is read meanwhile belongs to one header, in whatever pieces `tarfile` takes it (3.14: 1 MiB)."""
        self._header = 0
        yield
        self._header = None

    def read(self, size: int = -1, /) -> bytes:
        """Exactly so many bytes, less only at the end."""
        wanted = size
        if self._header is not None:
            wanted = self._header = self._header + size
        if not 0 <= size <= wanted <= _MOST_AT_ONCE:
            raise ArchiveError("limit", f"has a header of more than {_MOST_AT_ONCE} bytes")
        pieces = []
        while size:
            piece = self._source.read(min(size, _PIECE))
            if not piece:
                break
            self._count(len(piece))
            pieces.append(piece)
            size -= len(piece)
        self.last = b"".join(pieces)
        return self.last

    def tell(self) -> int:
        """How far it was read."""
        return self._at

    def seek(self, target: int, whence: int = os.SEEK_SET) -> int:
        """Go forward to there, or to the end."""
        if whence != os.SEEK_SET or target < self._at:
            raise ArchiveError("damaged", "a member says that it lies before its own header")
        if self._plain is not None:
            self._at = self._plain.seek(target)
            return self._at
        while self._at < target:
            piece = self._source.read(min(target - self._at, _PIECE))
            if not piece:
                break
            self._count(len(piece))
        return self._at

    def seekable(self) -> bool:
        return True

    def drain(self) -> None:
        """Go to the end: only there a decompressor says whether all of it was whole."""
        while True:
            piece = self._source.read(_PIECE)
            if not piece:
                return
            self._count(len(piece))

    def _count(self, count: int) -> None:
        self._at += count
        if self._plain is None:
            self._budget.spend(count)


def compression_of(head: bytes) -> str:
    """Which compression a file is in by its first bytes: gzip, bzip2, xz, lzma, zstd, or none of these."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"BZh"):
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"\x5d\0\0"):
        return "lzma"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"  # the second is a skippable frame, which may come first
    return ""


def decompressed(source: Readable, length: int) -> tuple[Readable, str]:
    """The content of a file of this length, and its compression. Raises ArchiveError for one that nothing here reads.

    All of them read members or frames that follow one another as one file, as the programs of their names do.
    """
    file = io.BufferedReader(Window(source, length), _PIECE)
    compression = compression_of(file.peek(_LONGEST_MAGIC)[:_LONGEST_MAGIC])
    if compression == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=file), compression
    if compression == "bzip2":
        import bz2

        return bz2.BZ2File(file), compression
    if compression in ("xz", "lzma"):
        import lzma

        return lzma.LZMAFile(file), compression
    if compression == "zstd":
        return _zstd(file), compression
    return file, compression


def _zstd(file: Readable) -> Readable:
    module = zstd_module()
    if module is None:
        raise ArchiveError(
            "unsupported",
            "is compressed with zstd, which this Python can't read",
            HAVE_ZSTD,
        )
    opened: Readable = module.ZstdFile(file)
    return opened


def zstd_module() -> Any:
    """The standard library's (3.14, PEP 784), or its backport, or None."""
    try:
        from compression import zstd
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            return None
    return zstd
