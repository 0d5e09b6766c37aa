"""The members of a `.deb`: an ar archive with a tar in it (deb(5)).

The framing is 60 bytes a member, and deb(5) allows no long names, so it is read here: without it a Debian system would
need an extra for its own packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from .limits import ArchiveError
from .streams import Forward, Window, decompressed
from .tar import tar_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget
    from .member import Member

MAGIC = b"!<arch>\n"
_HEADER = 60
_END = b"`\n"
_FIRST = b"debian-binary"


def deb_members(file: BinaryIO, budget: Budget) -> Iterator[Member]:
    """Each member of the package's `data.tar`; `file` stands behind `MAGIC`. Raises ArchiveError."""
    first = True
    while True:
        header = file.read(_HEADER)
        if not header:
            raise ArchiveError("damaged", "has no data.tar")
        name, size = _parsed(header)
        if first and name != _FIRST:
            raise ArchiveError("unsupported", "is an ar archive, but no Debian package")
        first = False
        budget.entry(name.decode("latin-1"))
        window = Window(file, size)
        if name.startswith(b"data.tar"):
            source, compression = decompressed(window, size)
            yield from tar_members(Forward(source, budget), budget, is_plain=not compression)
            window.skip()  # a decompressor may have all it wants before the end
            return
        window.skip()
        if size % 2:
            file.read(1)


def _parsed(header: bytes) -> tuple[bytes, int]:
    size = header[48:58].strip()
    if len(header) != _HEADER or header[58:] != _END or not size.isdigit():
        raise ArchiveError("damaged", "has a broken ar header")
    return header[:16].rstrip(b" ").rstrip(b"/"), int(size)
