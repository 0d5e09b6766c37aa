"""The members of a tar, through the standard library's `tarfile`, in one pass forward."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any, cast

from .limits import ArchiveError
from .member import DIRECTORY, FILE, HARD_LINK, LINK, OTHER, Member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget
    from .streams import Forward, Readable

_BLOCK = 512


def is_tar(head: bytes) -> bool:
    """Whether a file starts with a header of tar's: one whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def tar_members(stream: Forward, budget: Budget, *, is_plain: bool) -> Iterator[Member]:
    """Each member in turn. Raises ArchiveError; what `tarfile` and decompressors raise is the caller's to translate.

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


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = OTHER
    if info.isdir():
        kind = DIRECTORY
    elif info.issym():
        kind = LINK
    elif info.islnk():
        kind = HARD_LINK
    elif info.isreg() and not info.issparse():
        kind = FILE

    def content() -> Readable:
        file = tar.extractfile(info)
        assert file is not None
        return file

    return Member(
        info.name, kind, info.size, int(info.mtime), target=info.linkname, open=content if kind == FILE else None
    )


def _require_end(stream: Forward, *, is_plain: bool) -> None:
    """`tarfile` takes a broken header, and the lack of one, for the end: only a block of zeros is one."""
    if stream.last and stream.last != bytes(_BLOCK):
        raise ArchiveError("damaged", f"has a broken header at byte {stream.tell() - len(stream.last)} of its tar")
    if not stream.last and is_plain:
        raise ArchiveError("damaged", "ends without tar's end mark: some of it may be missing")
