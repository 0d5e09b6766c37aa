"""Which format an archive has, told by its bytes and never by its name, and its members in that format."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from . import deb, rpm
from .limits import ArchiveError
from .streams import Forward, compression_of, decompressed
from .tar import is_tar, tar_members
from .zip import Zip, is_sdist_mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget
    from .member import Member

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD = 512


class Archive(NamedTuple):
    """An opened archive."""

    format: str
    """wheel, egg, sdist, zip, conda, deb, rpm, tar, or a tar that its members name: pkg, arch, apk, sdist, conda."""
    members: Iterator[Member]


def open_archive(file: BinaryIO, size: int, budget: Budget) -> Archive:
    """Find out what it is. `file` can seek, and has `size` bytes. Raises ArchiveError, and what its library raises."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise ArchiveError("damaged", "is empty")
    if head.startswith(rpm.MAGIC):
        return Archive("rpm", rpm.rpm_members(file, size, budget))
    if head.startswith(deb.MAGIC):
        file.seek(len(deb.MAGIC))
        return Archive("deb", deb.deb_members(file, budget))
    if compression_of(head):
        return _compressed(file, size, budget)
    if is_tar(head) or not any(head):
        return Archive("tar", tar_members(Forward(file, budget, plain=file), budget, is_plain=True))
    if head.startswith(_ZIP) or zipfile.is_zipfile(file):
        return _zip(file, budget)
    raise ArchiveError("unsupported", "is no archive of a known kind")


def _zip(file: BinaryIO, budget: Budget) -> Archive:
    opened = Zip(file, budget)
    return Archive(opened.kind, opened.members())


def _compressed(file: BinaryIO, size: int, budget: Budget) -> Archive:
    source, _ = decompressed(file, size)
    head = Forward(source, budget).read(_HEAD)
    if not (is_tar(head) or (head and not any(head))):
        raise ArchiveError("unsupported", "is compressed, but holds no tar")
    file.seek(0)
    source, _ = decompressed(file, size)
    return Archive("tar", tar_members(Forward(source, budget), budget, is_plain=False))


class TarKind:
    """What the members of a tar say about the package manager it was made for."""

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self.kind = "tar"

    def see(self, name: str) -> None:
        """One of the members, the first ones first: the files about a package stand before those of it."""
        if name in (".BUILDINFO", ".MTREE"):
            self.kind = "arch"
        elif name == ".PKGINFO" and self.kind == "tar":
            self.kind = "apk" if self._compression == "gzip" else "arch"
        elif name in ("+COMPACT_MANIFEST", "+MANIFEST") and self.kind == "tar":
            self.kind = "pkg"
        elif self.kind == "tar" and is_sdist_mark(name):
            self.kind = "sdist"
        elif name == "info/index.json" and self._compression == "bzip2":
            self.kind = "conda"


def tar_kind(file: BinaryIO) -> TarKind:
    """For the members of this file; leaves it at its start."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    return TarKind(compression_of(head))
