"""The list of files in an rpm's header, for payloads whose entries are numbers in it.

Source: rpm's manual, "Header format" and "Tags" (rpmtag.h): an index of 16 bytes an entry (tag, type, offset, count),
then the store that the offsets point into; all numbers are big-endian.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .limits import ArchiveError

#: Bytes; rpm's own limit for a header's data is 256 MiB, and what a list of a million files takes is a tenth of that.
LARGEST_HEADER = 64 << 20
_INTRO = 16
_SIZES, _MODES, _MTIMES, _INODES = 1028, 1030, 1034, 1096
_DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES = 1116, 1117, 1118
_LONG_SIZES = 5008
_NUMBERS = {3: "H", 4: "I", 5: "Q"}
_TEXTS = (6, 8)


class Entry(NamedTuple):
    """What a package says of one of its files, in its list or in its payload; in the order of a cpio entry's fields."""

    name: str
    mode: int
    mtime: int
    size: int
    links: int
    identity: tuple[int, int, int]


class FileList:
    """The files of a package by number. Nothing is parsed before one is asked for."""

    def __init__(self, header: bytes) -> None:
        self._header = header
        self._files: list[Entry] | None = None

    def entry(self, number: int) -> Entry:
        """The file of this number. Raises ArchiveError."""
        if self._files is None:
            try:
                self._files = self._parse()
            except (struct.error, IndexError, KeyError, ValueError) as error:
                raise ArchiveError("damaged", "has a broken list of files") from error
        if number >= len(self._files):
            raise ArchiveError("damaged", "has a member that isn't in its list of files")
        return self._files[number]

    def _parse(self) -> list[Entry]:
        (count,) = struct.unpack_from(">I", self._header, 8)
        index = {}
        for at in range(_INTRO, _INTRO + 16 * count, 16):
            tag, *place = struct.unpack_from(">IIII", self._header, at)
            index[tag] = tuple(place)
        store = memoryview(self._header)[_INTRO + 16 * count :]
        names, directories = _texts(store, index[_BASE_NAMES]), _texts(store, index[_DIRECTORY_NAMES])
        sizes = _numbers(store, index[_LONG_SIZES] if _LONG_SIZES in index else index[_SIZES])
        inodes = _numbers(store, index[_INODES])
        last = {inode: number for number, inode in enumerate(inodes)}
        modes, mtimes = _numbers(store, index[_MODES]), _numbers(store, index[_MTIMES])
        places = _numbers(store, index[_DIRECTORY_INDEXES])
        shared = _shared(inodes)
        return [
            Entry(
                directories[places[at]] + name,
                modes[at],
                mtimes[at],
                # of hard links only the last one's content is in the payload
                0 if inodes[at] in shared and last[inodes[at]] != at else sizes[at],
                2 if inodes[at] in shared else 1,
                (0, 0, inodes[at]),
            )
            for at, name in enumerate(names)
        ]


def _shared(inodes: list[int]) -> set[int]:
    """Those of files with more than one name."""
    seen: set[int] = set()
    twice: set[int] = set()
    for inode in inodes:
        (twice if inode in seen else seen).add(inode)
    return twice


def _numbers(store: memoryview, place: tuple[int, ...]) -> list[int]:
    kind, offset, count = place
    return list(struct.unpack_from(f">{count}{_NUMBERS[kind]}", store, offset))


def _texts(store: memoryview, place: tuple[int, ...]) -> list[str]:
    kind, offset, count = place
    if kind not in _TEXTS:
        raise ValueError("not a list of texts")
    texts = bytes(store[offset:]).split(b"\0", count)[:count]
    if len(texts) != count:
        raise ValueError("a list of texts is cut short")
    return [text.decode("utf-8", "surrogateescape") for text in texts]
