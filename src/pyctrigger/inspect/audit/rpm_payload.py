"""The members of an `.rpm`: lead, two headers, and a compressed cpio (rpm's manual, "Package format").

Read here: of the libraries for it, `rpmfile` holds a zstd payload in memory as a whole and tells no times, and rpm's
own bindings check signatures against the system's keys and belong to one interpreter only.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ...packages.rpm_header import PackageHeader
from .budget import ArchiveError, Budget
from .contents import DIRECTORY, FILE, HARD_LINK, LINK, OTHER, Member
from .streams import Forward, Window, decompressed

MAGIC = b"\xed\xab\xee\xdb"
_LEAD = 96
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
#: Bytes; rpm's own limit for a header's data is 256 MiB, and what a list of a million files takes is a tenth of that.
_LARGEST_HEADER = 64 << 20
#: Tags of a header (rpmtag.h).
_SIZES, _MODES, _MTIMES, _INODES, _LONG_SIZES = 1028, 1030, 1034, 1096, 5008
_NEWC, _NEWC_WITH_SUM, _STRIPPED = b"070701", b"070702", b"07070X"
_NEWC_REST = 104
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{8}")
_TRAILER = "TRAILER!!!"


class _Entry(NamedTuple):
    """One file of a package, by its list or its payload; the fields in the order of a cpio entry's."""

    name: str
    mode: int
    mtime: int
    size: int
    links: int
    identity: tuple[int, int, int]


def rpm_members(file: BinaryIO, size: int, budget: Budget) -> Iterator[Member]:
    """Yields each member of the payload. Raises ArchiveError."""
    file.seek(_LEAD)
    signature = _read_header(file)
    file.seek(-len(signature) % 8, os.SEEK_CUR)
    header = _read_header(file)
    source, _ = decompressed(file, size - file.tell())
    return _Payload(Forward(source, budget), header, budget).members()


def _read_header(file: BinaryIO) -> bytes:
    intro = file.read(16)
    if len(intro) != 16 or intro[:4] != _HEADER_MAGIC:
        raise ArchiveError("damaged", "has a broken header")
    entries, length = struct.unpack(">II", intro[8:])
    size = entries * 16 + length
    if size > _LARGEST_HEADER:
        raise ArchiveError("limit", f"has a header of {size} bytes")
    rest = file.read(size)
    if len(rest) != size:
        raise ArchiveError("damaged", "ends in its header")
    return intro[8:] + rest


class _Payload:
    """The cpio of a package."""

    def __init__(self, stream: Forward, header: bytes, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget
        #: Not parsed before an entry is a number in its list of files.
        self._header = header
        self._listed: list[_Entry] | None = None
        #: Names of hard links, by identity: only the last one has their content.
        self._waiting: dict[tuple[int, int, int], list[str]] = {}

    def members(self) -> Iterator[Member]:
        """Yields each member in turn."""
        while (entry := self._next_entry()) is not None:
            self._budget.entry(entry.name)
            yield from self._members_of(entry)
            self._align()
        self._stream.drain()

    def _align(self) -> None:
        self._stream.seek(self._stream.tell() + -self._stream.tell() % 4)

    def _next_entry(self) -> _Entry | None:
        """Returns the next entry, or None at the trailer. Raises ArchiveError."""
        stream = self._stream
        magic = stream.read(6)
        if magic == _STRIPPED:
            # rpm 6, and packages with a file of 4 GiB: the entry is a number in the header's list (rpm-payload).
            number = _number(stream.read(8))
            stream.read(2)
            return self._listed_entry(number)
        if magic not in (_NEWC, _NEWC_WITH_SUM):
            if stream.tell() > len(magic):
                raise ArchiveError("damaged", "has a broken cpio")
            raise ArchiveError("unsupported", "contains no cpio archive that can be read")
        fields = stream.read(_NEWC_REST)
        numbers = [_number(fields[at : at + 8]) for at in range(0, _NEWC_REST, 8)]
        inode, mode, _, _, links, mtime, size, major, minor, _, _, length, _ = numbers
        if not 0 < length <= self._budget.limits.name:
            raise ArchiveError("limit", f"has a member whose name is {length} bytes long")
        name = stream.read(length)[:-1].decode("utf-8", "surrogateescape")
        if name == _TRAILER:
            return None
        self._align()
        return _Entry(name, mode, mtime, size, links, (major, minor, inode))

    def _listed_entry(self, number: int) -> _Entry:
        if self._listed is None:
            try:
                self._listed = _listed_entries(PackageHeader(self._header))
            except (struct.error, LookupError, ValueError) as error:
                raise ArchiveError("damaged", "has a broken list of files") from error
        if number >= len(self._listed):
            raise ArchiveError("damaged", "has a member that isn't in its list of files")
        return self._listed[number]

    def _members_of(self, entry: _Entry) -> Iterator[Member]:
        """Yields the entry, and the hard links that waited for its content."""
        window = Window(self._stream, entry.size)
        if stat.S_ISLNK(entry.mode):
            if entry.size > self._budget.limits.name:
                raise ArchiveError("limit", f"has a link whose target is {entry.size} bytes long")
            target = self._stream.read(entry.size).decode("utf-8", "surrogateescape")
            yield Member(entry.name, LINK, mtime=entry.mtime, target=target)
            return
        if not stat.S_ISREG(entry.mode):
            yield Member(entry.name, DIRECTORY if stat.S_ISDIR(entry.mode) else OTHER, mtime=entry.mtime)
        elif entry.links > 1 and not entry.size:
            self._waiting.setdefault(entry.identity, []).append(entry.name)
        else:
            yield Member(entry.name, FILE, entry.size, entry.mtime, open=lambda: window)
            for name in self._waiting.pop(entry.identity, []) if entry.links > 1 else []:
                yield Member(name, HARD_LINK, mtime=entry.mtime, target=entry.name)
        window.skip()


def _number(text: bytes) -> int:
    if not _HEXADECIMAL.fullmatch(text):
        raise ArchiveError("damaged", "has a broken cpio")
    return int(text, 16)


def _listed_entries(header: PackageHeader) -> list[_Entry]:
    sizes = header.numbers(_LONG_SIZES, "Q") or header.numbers(_SIZES)
    modes, mtimes, inodes = header.numbers(_MODES, "H"), header.numbers(_MTIMES), header.numbers(_INODES)
    names = Counter(inodes)
    last = {inode: number for number, inode in enumerate(inodes)}
    return [
        _Entry(
            path.decode("utf-8", "surrogateescape"),
            modes[at],
            mtimes[at],
            # of hard links only the last one's content is in the payload
            sizes[at] if last[inodes[at]] == at else 0,
            names[inodes[at]],
            (0, 0, inodes[at]),
        )
        for at, path in enumerate(header.files())
    ]
