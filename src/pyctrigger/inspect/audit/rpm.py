"""The members of an `.rpm`: lead, two headers, and a compressed cpio (rpm's manual, "Package format").

Read here: of the libraries for it, `rpmfile` holds a zstd payload in memory as a whole and tells no times, and rpm's
own bindings check signatures against the system's keys and belong to one interpreter only.
"""

from __future__ import annotations

import stat
import struct
from typing import TYPE_CHECKING, BinaryIO

from .limits import ArchiveError
from .member import DIRECTORY, FILE, HARD_LINK, LINK, OTHER, Member
from .rpm_header import LARGEST_HEADER, Entry, FileList
from .streams import Forward, Window, decompressed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .limits import Budget
    from .streams import Readable

MAGIC = b"\xed\xab\xee\xdb"
_LEAD = 96
_HEADER_MAGIC = b"\x8e\xad\xe8\x01"
_NEWC, _NEWC_WITH_SUM, _STRIPPED = b"070701", b"070702", b"07070X"
_NEWC_REST = 104
_TRAILER = "TRAILER!!!"


def rpm_members(file: BinaryIO, size: int, budget: Budget) -> Iterator[Member]:
    """Each member of the payload; `file` stands at the start. Raises ArchiveError."""
    file.seek(_LEAD)
    signature = _header(file)
    file.seek(-len(signature) % 8, 1)
    files = FileList(_header(file))
    source, _ = decompressed(file, size - file.tell())
    stream = Forward(source, budget)
    pending: dict[tuple[int, int, int], list[str]] = {}
    while True:
        entry = _entry(stream, files, budget)
        if entry is None:
            break
        budget.entry(entry.name)
        yield from _members(stream, entry, pending, budget)
        stream.seek(stream.tell() + -stream.tell() % 4)
    stream.drain()


def _header(file: BinaryIO) -> bytes:
    intro = file.read(16)
    if len(intro) != 16 or intro[:4] != _HEADER_MAGIC:
        raise ArchiveError("damaged", "has a broken header")
    entries, length = struct.unpack(">II", intro[8:])
    size = entries * 16 + length
    if size > LARGEST_HEADER:
        raise ArchiveError("limit", f"has a header of {size} bytes")
    rest = file.read(size)
    if len(rest) != size:
        raise ArchiveError("damaged", "ends in its header")
    return intro + rest


def _entry(stream: Forward, files: FileList, budget: Budget) -> Entry | None:
    """The next entry of the cpio; None at its trailer. Raises ArchiveError."""
    magic = stream.read(6)
    if magic == _STRIPPED:
        # rpm 6, and packages with a file of 4 GiB: the entry is a number in the header's list of files (rpm-payload).
        number = _hex(stream.read(8))
        stream.read(2)
        return files.entry(number)
    if magic not in (_NEWC, _NEWC_WITH_SUM):
        kind = "unsupported" if not stream.tell() > len(magic) else "damaged"
        raise ArchiveError(kind, "holds no cpio that can be read" if kind == "unsupported" else "has a broken cpio")
    fields = stream.read(_NEWC_REST)
    numbers = [_hex(fields[at : at + 8]) for at in range(0, _NEWC_REST, 8)]
    inode, mode, _, _, links, mtime, size, major, minor, _, _, length, _ = numbers
    if not 0 < length <= budget.limits.name:
        raise ArchiveError("limit", f"has a member whose name is {length} bytes long")
    name = stream.read(length)[:-1].decode("utf-8", "surrogateescape")
    if name == _TRAILER:
        return None
    stream.seek(stream.tell() + -stream.tell() % 4)
    return Entry(name, mode, mtime, size, links, (major, minor, inode))


def _hex(text: bytes) -> int:
    try:
        return int(text.decode("ascii"), 16) if len(text) == 8 else _broken()
    except ValueError:
        return _broken()


def _broken() -> int:
    raise ArchiveError("damaged", "has a broken cpio")


def _members(
    stream: Forward, entry: Entry, pending: dict[tuple[int, int, int], list[str]], budget: Budget
) -> Iterator[Member]:
    """The entry, and the names that waited for its content: of hard links only the last has it."""
    window = Window(stream, entry.size)
    if stat.S_ISLNK(entry.mode):
        target = _target(window, budget)
        yield Member(entry.name, LINK, mtime=entry.mtime, target=target)
    elif stat.S_ISREG(entry.mode):
        if entry.links > 1 and not entry.size:
            pending.setdefault(entry.identity, []).append(entry.name)
            return

        def content() -> Readable:
            return window

        yield Member(entry.name, FILE, entry.size, entry.mtime, open=content)
        for name in pending.pop(entry.identity, []) if entry.links > 1 else []:
            yield Member(name, HARD_LINK, mtime=entry.mtime, target=entry.name)
    else:
        yield Member(entry.name, DIRECTORY if stat.S_ISDIR(entry.mode) else OTHER, mtime=entry.mtime)
    window.skip()


def _target(window: Window, budget: Budget) -> str:
    if window.left > budget.limits.name:
        raise ArchiveError("limit", f"has a link whose target is {window.left} bytes long")
    data = b""
    while True:
        piece = window.read(budget.limits.name)
        if not piece:
            return data.decode("utf-8", "surrogateescape")
        data += piece
