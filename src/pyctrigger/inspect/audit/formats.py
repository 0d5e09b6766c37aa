"""Which format an archive has, told by its bytes and never by its name, and its members in that format."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from . import rpm, tar
from .contents import Member, normal
from .limits import ArchiveError, Budget
from .streams import Forward, compression_of, decompressed
from .zip import is_sdist_mark, open_zip

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD = 512


class Archive:
    """An opened archive."""

    def __init__(self, kind: str, members: Iterator[Member]) -> None:
        #: wheel, egg, sdist, zip, conda, deb, rpm, tar.
        self.format = kind
        self._members = members

    def members(self) -> Iterator[Member]:
        """Each member in turn."""
        return self._members


class _Tar(Archive):
    """A tar, of which its members say for which package manager it is: pkg, arch, apk, sdist, conda."""

    def __init__(self, stream: Forward, budget: Budget, compression: str) -> None:
        super().__init__("tar", tar.tar_members(stream, budget, is_plain=not compression))
        self._compression = compression

    def members(self) -> Iterator[Member]:
        for member in self._members:
            self._see(normal(member.name))
            yield member

    def _see(self, name: str) -> None:
        """One of the members, the first ones first: the files about a package stand before those of it."""
        if name in (".BUILDINFO", ".MTREE"):
            self.format = "arch"
        elif name == "info/index.json" and self._compression == "bzip2":
            self.format = "conda"
        elif self.format != "tar":
            return
        elif name == ".PKGINFO":
            self.format = "apk" if self._compression == "gzip" else "arch"
        elif name in ("+COMPACT_MANIFEST", "+MANIFEST"):
            self.format = "pkg"
        elif is_sdist_mark(name):
            self.format = "sdist"


def open_archive(file: BinaryIO, size: int, budget: Budget) -> Archive:
    """Find out what it is. `file` can seek, and has `size` bytes. Raises ArchiveError, and what its library raises."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise ArchiveError("damaged", "is empty")
    if head.startswith(rpm.MAGIC):
        return Archive("rpm", rpm.rpm_members(file, size, budget))
    if head.startswith(tar.DEB_MAGIC):
        return Archive("deb", tar.deb_members(file, budget))
    compression = compression_of(head)
    if compression:
        source, _ = decompressed(file, size)
        if not tar.is_tar(Forward(source, budget).read(_HEAD)):
            raise ArchiveError("unsupported", "is compressed, but contains no tar archive")
        file.seek(0)
        source, _ = decompressed(file, size)
        return _Tar(Forward(source, budget), budget, compression)
    if tar.is_tar(head):
        return _Tar(Forward(file, budget, plain=file), budget, "")
    if head.startswith(_ZIP) or zipfile.is_zipfile(file):
        return Archive(*open_zip(file, budget))
    raise ArchiveError("unsupported", "isn't an archive of a known kind")
