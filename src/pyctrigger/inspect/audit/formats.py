"""Recognises the format of an archive, by its bytes and never by its name, and reads its members."""

from __future__ import annotations

import calendar
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from . import rpm_payload, tar
from .budget import ArchiveError, Budget
from .contents import DIRECTORY, FILE, LINK, OTHER, Member, normal
from .streams import Forward, compression_of, decompressed

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEAD = 512
#: `conda-package-handling`: the package in one tar, what is known about it in another, both stored without compression.
_CONDA_PAYLOAD = re.compile(r"(?:pkg|info)-[^/]+\.tar(?:\.[a-z0-9]+)?\Z")
_EXTENDED_TIMESTAMP = 0x5455
_ENCRYPTED = 0x1
_UNIX = 3


class Archive:
    """An opened archive. In a tar only the members say for which package manager it is."""

    def __init__(self, kind: str, members: Iterator[Member], compression: str = "") -> None:
        #: wheel, egg, sdist, zip, conda, deb, rpm, tar, pkg, arch, apk.
        self.format = kind
        self._members = members
        self._is_tar = kind == "tar"
        self._compression = compression

    def members(self) -> Iterator[Member]:
        """Yields each member in turn."""
        for member in self._members:
            if self._is_tar:
                self._recognise(normal(member.name))
            yield member

    def _recognise(self, name: str) -> None:
        """Learn from one of the first members: the files about a package precede its own."""
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


def is_streamed(head: bytes) -> bool:
    """Whether what begins like this is read from its first byte to its last. All else may be a zip."""
    first = (rpm_payload.MAGIC, tar.DEB_MAGIC)
    return head.startswith(first) or bool(compression_of(head)) or tar.is_tar(head[:_HEAD])


def open_archive(file: BinaryIO, size: int, budget: Budget) -> Archive:
    """Recognise and open an archive of `size` bytes. Raises ArchiveError, and what the format's library raises."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise ArchiveError("damaged", "is empty")
    if head.startswith(rpm_payload.MAGIC):
        return Archive("rpm", rpm_payload.rpm_members(file, size, budget))
    if head.startswith(tar.DEB_MAGIC):
        return Archive("deb", tar.deb_members(file, budget))
    compression = compression_of(head)
    if compression:
        source, _ = decompressed(file, size)
        if not tar.is_tar(Forward(source, budget).read(_HEAD)):
            raise ArchiveError("unsupported", "is compressed, but contains no tar archive")
        file.seek(0)
        source, _ = decompressed(file, size)
        return Archive("tar", tar.tar_members(Forward(source, budget), budget, is_plain=False), compression)
    if tar.is_tar(head):
        return Archive("tar", tar.tar_members(Forward(file, budget, plain=file), budget, is_plain=True))
    if head.startswith(_ZIP) or zipfile.is_zipfile(file):
        return Archive(*_open_zip(file, budget))
    raise ArchiveError("unsupported", "isn't an archive of a known kind")


# -- zip: wheels, eggs, sdists, and the tars that a `.conda` keeps in one ---------------------------------------------
# Only what is asked for is decompressed, so members that overlap or claim a size do no harm.


def _open_zip(file: BinaryIO, budget: Budget) -> tuple[str, Iterator[Member]]:
    """Returns the format, and the members; of a `.conda` those of its tars."""
    opened = zipfile.ZipFile(file)
    kind = _kind_by({info.filename for info in opened.infolist()})
    return kind, _members(opened, budget, is_conda=kind == "conda")


def _members(opened: zipfile.ZipFile, budget: Budget, *, is_conda: bool) -> Iterator[Member]:
    for info in opened.infolist():
        budget.entry(info.filename)
        if is_conda and _CONDA_PAYLOAD.match(info.filename):
            with opened.open(info) as outer:
                yield from tar.tar_members_of(outer, info.file_size, budget)
        else:
            yield from _member(opened, info, budget)


def _member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> Iterator[Member]:
    streams: list[Forward] = []

    def content() -> Forward:
        if info.flag_bits & _ENCRYPTED:
            raise ArchiveError("unsupported", "is encrypted")
        streams.append(Forward(opened.open(info), budget))
        return streams[-1]

    kind = _kind(info)
    target = ""
    if kind == LINK:
        target = content().read(budget.limits.name).decode("utf-8", "surrogateescape")
    mtime, is_exact = _mtime(info)
    yield Member(info.filename, kind, info.file_size, mtime, is_exact, target, content)
    for stream in streams:
        stream.drain()  # to where zipfile compares the checksum


def is_sdist_mark(name: str) -> bool:
    """Whether a member is what every sdist has: `NAME-VERSION/PKG-INFO` (PyPA, "Source distribution format")."""
    return name.endswith("/PKG-INFO") and name.count("/") == 1 and name != "EGG-INFO/PKG-INFO"


def _kind_by(names: set[str]) -> str:
    if "metadata.json" in names and any(_CONDA_PAYLOAD.match(name) for name in names):
        return "conda"
    if any(name.endswith(".dist-info/WHEEL") and name.count("/") == 1 for name in names):
        return "wheel"
    if "EGG-INFO/PKG-INFO" in names:
        return "egg"
    return "sdist" if any(is_sdist_mark(name) for name in names) else "zip"


def _kind(info: zipfile.ZipInfo) -> str:
    if info.is_dir():
        return DIRECTORY
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    if stat.S_ISLNK(mode):
        return LINK
    return FILE if stat.S_IFMT(mode) in (0, stat.S_IFREG) else OTHER


def _mtime(info: zipfile.ZipInfo) -> tuple[int, bool]:
    """Returns the extended timestamp if there is one (Info-ZIP's field 0x5455), else the DOS time as if it were UTC."""
    extra = info.extra
    while len(extra) >= 4:
        field, size = struct.unpack_from("<HH", extra)
        if field == _EXTENDED_TIMESTAMP and size >= 5 and len(extra) >= 9 and extra[4] & 1:
            return int(struct.unpack_from("<i", extra, 5)[0]), True
        extra = extra[4 + size :]
    try:
        return calendar.timegm((*info.date_time, 0, 0, 0)), False
    except (ValueError, OverflowError):  # a month 0
        return 0, False
