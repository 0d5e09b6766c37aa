"""Reads an archive's bytes, forward only and counted: a window on a part of a file, and decompression."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from ...zstd import zstd_module
from .budget import HAVE_ZSTD, ArchiveError, Budget

_PIECE = 1 << 18
#: Bytes. What asks for more at once, or for one header (a name, the extended attributes), does so because a number in
#: the archive says so: memory, for nothing.
_MOST_AT_ONCE = 16 << 20
#: What a compressed file begins with.
_MAGICS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes((low,)) + b"\x2a\x4d\x18": "zstd" for low in range(0x50, 0x60)},  # a skippable frame, which may come first
}
_LONGEST_MAGIC = max(map(len, _MAGICS))
_MODULES = {"gzip": "gzip", "bzip2": "bz2", "xz": "lzma", "lzma": "lzma"}


#: How a part of a file is asked for that is read by ranges: its first byte, and its length. The answer has its length
#: before it; if there is none, it begins with what no length is, and says why.
REQUEST = struct.Struct("<QI")
MOST_OF_A_RANGE = 1 << 20
FAILED = b"\xff\xff\xff\xff"


class Readable(Protocol):
    """All that is asked of a source of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


def pieces(source: Readable, size: int) -> Iterator[bytes]:
    """Yields the next `size` bytes of a source, piece by piece; fewer if it ends before."""
    while size and (piece := source.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece


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
        for piece in pieces(self._source, self.left):
            self.left -= len(piece)
        if self.left:
            raise ArchiveError("damaged", "is truncated within a member")


class RangedFile(io.RawIOBase):
    """A file that lies elsewhere: parts of it are asked for through a socket."""

    def __init__(self, descriptor: int) -> None:
        #: Why a part could not be had. A format's library may take that for damage.
        self.trouble = ""
        self._at = 0
        self._channel = socket.socket(fileno=descriptor)
        self._size = int.from_bytes(self._receive(8), "little")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError("before the first byte")
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._at, MOST_OF_A_RANGE)
        if length <= 0:
            return 0
        self._channel.sendall(REQUEST.pack(self._at, length))
        given = self._receive(4)
        if given == FAILED:
            self.trouble = self._receive(int.from_bytes(self._receive(4), "little")).decode("utf-8", "replace")
            raise OSError(errno.EIO, self.trouble)
        piece = self._receive(int.from_bytes(given, "little"))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._channel.close()
        super().close()

    def _receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = self._channel.recv(size - len(received))
            if not piece:
                self.trouble = "the process that fetches it has ended"
                raise OSError(errno.EIO, self.trouble)
            received += piece
        return received


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
        """Bound what is read meanwhile like one header, in whatever pieces `tarfile` takes it (3.14: 1 MiB)."""
        self._header = 0
        yield
        self._header = None

    def read(self, size: int = -1, /) -> bytes:
        """Returns exactly `size` bytes, fewer only at the end."""
        wanted = size
        if self._header is not None:
            wanted = self._header = self._header + size
        if not 0 <= size <= wanted <= _MOST_AT_ONCE:
            raise ArchiveError("limit", f"has a header of more than {_MOST_AT_ONCE} bytes")
        self.last = b"".join(self._counted(size))
        return self.last

    def tell(self) -> int:
        """Returns the number of bytes read."""
        return self._at

    def seek(self, target: int, whence: int = os.SEEK_SET) -> int:
        """Go forward to there, or to the end."""
        if whence != os.SEEK_SET or target < self._at:
            raise ArchiveError("damaged", "a member claims to precede its own header")
        if self._plain is not None:
            self._at = self._plain.seek(target)
            return self._at
        self._pass(target - self._at)
        return self._at

    def seekable(self) -> bool:
        return True

    def drain(self) -> None:
        """Go to the end: only there a decompressor says whether all of it was whole."""
        self._pass(sys.maxsize)

    def _pass(self, size: int) -> None:
        for _ in self._counted(size):
            pass

    def _counted(self, size: int) -> Iterator[bytes]:
        for piece in pieces(self._source, size):
            self._at += len(piece)
            if self._plain is None:
                self._budget.spend(len(piece))
            yield piece


def compression_of(head: bytes) -> str:
    """Returns the compression of a file by its first bytes: gzip, bzip2, xz, lzma, zstd, or an empty string."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), "")


def decompressed(source: Readable, length: int) -> tuple[Readable, str]:
    """Returns the content of a file of this length, and its compression. Raises ArchiveError if nothing here reads it.

    All of them read members or frames that follow one another as one file, as the programs of their names do.
    """
    file = io.BufferedReader(Window(source, length), _PIECE)
    compression = compression_of(file.peek(_LONGEST_MAGIC)[:_LONGEST_MAGIC])
    if not compression:
        return file, ""
    module = zstd_module() if compression == "zstd" else importlib.import_module(_MODULES[compression])
    if module is None:
        raise ArchiveError("unsupported", "is compressed with zstd, which this Python can't read", HAVE_ZSTD)
    opened: Readable = module.open(file)
    return opened, compression
