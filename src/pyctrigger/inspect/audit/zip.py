"""The members of a zip (wheels, eggs, sdists), and the tars that a `.conda` keeps in one."""

from __future__ import annotations

import calendar
import re
import stat
import struct
import zipfile
from typing import TYPE_CHECKING, BinaryIO

from .limits import ArchiveError
from .member import DIRECTORY, FILE, LINK, OTHER, Member
from .streams import Forward, decompressed
from .tar import tar_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget

#: `conda-package-handling`: the package in one tar, what is known about it in another, both stored without compression.
_CONDA_PAYLOAD = re.compile(r"(?:pkg|info)-[^/]+\.tar(?:\.[a-z0-9]+)?\Z")
_EXTENDED_TIMESTAMP = 0x5455
_ENCRYPTED = 0x1
_UNIX = 3


class Zip:
    """An opened zip. Only what is asked for is decompressed, so members that overlap or claim a size do no harm."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._zip = zipfile.ZipFile(file)
        self._budget = budget
        self._infos = self._zip.infolist()
        names = {info.filename for info in self._infos}
        self.is_conda = "metadata.json" in names and any(_CONDA_PAYLOAD.match(name) for name in names)
        self.kind = "conda" if self.is_conda else _kind_by(names)

    def members(self) -> Iterator[Member]:
        """Each member in turn; of a `.conda` those of its tars."""
        for info in self._infos:
            self._budget.entry(info.filename)
            if self.is_conda and _CONDA_PAYLOAD.match(info.filename):
                yield from self._nested(info)
            else:
                yield from self._one(info)

    def _nested(self, info: zipfile.ZipInfo) -> Iterator[Member]:
        with self._zip.open(info) as outer:
            source, compression = decompressed(outer, info.file_size)
            stream = Forward(source, self._budget)
            yield from tar_members(stream, self._budget, is_plain=not compression)

    def _one(self, info: zipfile.ZipInfo) -> Iterator[Member]:
        opened: list[Forward] = []

        def content() -> Forward:
            if info.flag_bits & _ENCRYPTED:
                raise ArchiveError("unsupported", "is encrypted")
            opened.append(Forward(self._zip.open(info), self._budget))
            return opened[-1]

        kind = _kind(info)
        target = ""
        if kind == LINK:
            target = content().read(self._budget.limits.name).decode("utf-8", "surrogateescape")
        mtime, is_exact = _mtime(info)
        yield Member(info.filename, kind, info.file_size, mtime, is_exact, target, content if kind == FILE else None)
        for stream in opened:
            stream.drain()  # to where zipfile compares the checksum


def is_sdist_mark(name: str) -> bool:
    """Whether a member is what every sdist has: `NAME-VERSION/PKG-INFO` (PyPA, "Source distribution format")."""
    return name.endswith("/PKG-INFO") and name.count("/") == 1 and name != "EGG-INFO/PKG-INFO"


def _kind_by(names: set[str]) -> str:
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
    """The extended timestamp where there is one (Info-ZIP's field 0x5455), else the DOS time as if it were UTC."""
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
