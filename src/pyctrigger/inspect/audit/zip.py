"""The members of a zip (wheels, eggs, sdists), and the tars that a `.conda` keeps in one.

Only what is asked for is decompressed, so members that overlap or claim a size do no harm.
"""

from __future__ import annotations

import calendar
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from .contents import DIRECTORY, FILE, LINK, OTHER, Member
from .limits import ArchiveError, Budget
from .streams import Forward
from .tar import tar_members_of

#: `conda-package-handling`: the package in one tar, what is known about it in another, both stored without compression.
_CONDA_PAYLOAD = re.compile(r"(?:pkg|info)-[^/]+\.tar(?:\.[a-z0-9]+)?\Z")
_EXTENDED_TIMESTAMP = 0x5455
_ENCRYPTED = 0x1
_UNIX = 3


def open_zip(file: BinaryIO, budget: Budget) -> tuple[str, Iterator[Member]]:
    """Which kind it is, and each member in turn; of a `.conda` those of its tars."""
    opened = zipfile.ZipFile(file)
    kind = _kind_by({info.filename for info in opened.infolist()})
    return kind, _members(opened, budget, is_conda=kind == "conda")


def _members(opened: zipfile.ZipFile, budget: Budget, *, is_conda: bool) -> Iterator[Member]:
    for info in opened.infolist():
        budget.entry(info.filename)
        if is_conda and _CONDA_PAYLOAD.match(info.filename):
            with opened.open(info) as outer:
                yield from tar_members_of(outer, info.file_size, budget)
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
