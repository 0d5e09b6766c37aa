"""The members of a tar, through the standard library's `tarfile`, in one pass forward; and those of a `.deb`."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from .budget import ArchiveError, Budget
from .contents import DIRECTORY, FILE, HARD_LINK, LINK, OTHER, Member
from .streams import Forward, Readable, Window, decompressed

_BLOCK = 512
_KINDS = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE), FILE),
    tarfile.DIRTYPE: DIRECTORY,
    tarfile.SYMTYPE: LINK,
    tarfile.LNKTYPE: HARD_LINK,
}
# A .deb is an ar archive with a tar in it (deb(5)). The framing is 60 bytes a member, without long names, and read
# here: without it a Debian system would need an extra for its own packages.
DEB_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_AR_END = b"`\n"
_DEB_FIRST = b"debian-binary"


def is_tar(head: bytes) -> bool:
    """Whether a file starts with a header of tar's, one whose checksum is right, or with an empty one's end mark."""
    if head and not any(head):
        return True
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def tar_members(stream: Forward, budget: Budget, *, is_plain: bool) -> Iterator[Member]:
    """Yields each member. Raises ArchiveError; what `tarfile` and decompressors raise is translated by the caller.

    `is_plain`: no decompressor says at the end whether all of the file was there, so the end mark has to.
    """
    with stream.one_header():  # it reads the first one now
        tar = tarfile.TarFile(fileobj=cast("Any", stream), mode="r", encoding="utf-8", errors="surrogateescape")
    while True:
        with stream.one_header():
            info = tar.next()
        if info is None:
            break
        tar.members = []  # type: ignore[attr-defined]  # it would keep every one of them
        budget.entry(info.name)
        yield _member(tar, info)
    _require_end(stream, is_plain=is_plain)
    if not is_plain:
        stream.drain()


def tar_members_of(source: Readable, size: int, budget: Budget) -> Iterator[Member]:
    """Yields the members of a tar that is part of another file, compressed or not."""
    opened, compression = decompressed(source, size)
    return tar_members(Forward(opened, budget), budget, is_plain=not compression)


def deb_members(file: BinaryIO, budget: Budget) -> Iterator[Member]:
    """Yields each member of a Debian package's `data.tar`. Raises ArchiveError."""
    file.seek(len(DEB_MAGIC))
    first = True
    while True:
        header = file.read(_AR_HEADER)
        if not header:
            raise ArchiveError("damaged", "has no data.tar")
        size = header[48:58].strip()
        if len(header) != _AR_HEADER or header[58:] != _AR_END or not size.isdigit():
            raise ArchiveError("damaged", "has a broken ar header")
        name = header[:16].rstrip(b" ").rstrip(b"/")
        if first and name != _DEB_FIRST:
            raise ArchiveError("unsupported", "is an ar archive, but no Debian package")
        first = False
        budget.entry(name.decode("latin-1"))
        window = Window(file, int(size))
        if name.startswith(b"data.tar"):
            yield from tar_members_of(window, window.left, budget)
            window.skip()  # a decompressor may have all it wants before the end
            return
        window.skip()
        if int(size) % 2:
            file.read(1)


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = OTHER if info.issparse() else _KINDS.get(info.type, OTHER)

    def content() -> Readable:
        file = tar.extractfile(info)
        assert file is not None
        return file

    return Member(info.name, kind, info.size, int(info.mtime), target=info.linkname, open=content)


def _require_end(stream: Forward, *, is_plain: bool) -> None:
    """`tarfile` takes a broken header, and the lack of one, for the end: only a block of zeros is one."""
    if stream.last and stream.last != bytes(_BLOCK):
        raise ArchiveError("damaged", f"has a broken header at byte {stream.tell() - len(stream.last)} of its tar")
    if not stream.last and is_plain:
        raise ArchiveError("damaged", "ends without tar's end mark: it may be truncated")
