"""Segments of a local store: containers, one after the other in a file, and an index that says where each is.

    NAME.data    the containers, appended by one writer, which holds a lock on it as long as it lives
    NAME.index   head fanout records; written whole, and renamed: only what it has is published
        head     "pyctidx1" bits:u32 count:u32 bytes:u64, of all containers that it has
        fanout   (first:u32)*(2**bits + 1): the first record whose key begins with these bits, or more
        records  (key:32s offset:u32 size:u32)*count, by key
    NAME.used    "pyctuse1" count:u32 (hour:u32)*count: when each record was last used, in hours since the epoch

A key is a digest, so keys are spread evenly, and the fanout leads to a handful of records. All numbers in these files
are hints: what is found is checked in full before it is believed, and what isn't there is a miss.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
import time
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from ..bounded import regular_status
from ..buffers import write_pieces
from .container import LARGEST_CONTAINER

DATA, INDEX, USED, TEMPORARY = ".data", ".index", ".used", ".index.tmp"
#: Bytes of a segment's name, which is written in hexadecimal digits.
_NAME_SIZE = 8
FILES = re.compile(r"([0-9a-f]{16})(\.data|\.index|\.used|\.index\.tmp|\.used\.tmp)\Z")
#: Bytes and records of one segment. The last container may go beyond. A writer has all records in memory: 15 MB.
MAX_DATA, MAX_RECORDS = 256 << 20, 1 << 16

_INDEX_MAGIC, _USED_MAGIC = b"pyctidx1", b"pyctuse1"
_HEAD = struct.Struct("<8sIIQ")
_PAIR = struct.Struct("<II")
_RECORD = struct.Struct("<32sII")
_RECORD_SIZE = _RECORD.size
_KEY_SIZE = 32
_MAX_BITS = 20
#: Records that begin with the same bits. A digest that is none could be found in the first of many.
_MAX_BUCKET = 1024
#: Bytes. A smaller index is kept in memory; of a larger one only its fanout is.
_SMALL_INDEX = 1 << 20
#: Bytes that wait to be written.
_MAX_WAITING = 1 << 18
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Location(NamedTuple):
    """Where a container is."""

    key: bytes
    offset: int
    size: int


class Untrusted(OSError):
    """A file that somebody else than we or root can write."""


def open_own(name: str, directory: int) -> int:
    """Open a file of a store for reading. Raises OSError; Untrusted if others could have written it."""
    descriptor = os.open(name, _READ, dir_fd=directory)
    try:
        status = regular_status(descriptor)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Untrusted(f"{name} can be written by others")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Segment:
    """A published segment, for reading. What it has is read when it is first needed."""

    def __init__(self, name: str, directory: int) -> None:
        """Open its index. Raises OSError, and ValueError for one that is no index."""
        self.name = name
        self._directory = directory
        self._data = -1
        #: The index, or its beginning; empty until something is looked for.
        self._kept = b""
        #: Which records were used, each a byte; empty if none was.
        self.used = bytearray()
        self._descriptor = open_own(name + INDEX, directory)
        try:
            self.status = os.fstat(self._descriptor)
            head = os.pread(self._descriptor, _HEAD.size, 0)
            magic, bits, self.count, self.size = _HEAD.unpack(head.ljust(_HEAD.size))
            if magic != _INDEX_MAGIC or bits > _MAX_BITS or self.count > MAX_RECORDS:
                raise ValueError("not an index")
            self._begin, self._shift = _HEAD.size + 4 * ((1 << bits) + 1), 32 - bits
            if self.status.st_size != self._begin + _RECORD_SIZE * self.count:
                raise ValueError("an index of another size")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close its files."""
        for descriptor in (self._descriptor, self._data):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._data = -1

    def _load(self) -> None:
        size = self._begin + _RECORD_SIZE * self.count
        is_small = size <= _SMALL_INDEX
        kept = os.pread(self._descriptor, size if is_small else self._begin, 0)
        if len(kept) < (size if is_small else self._begin):
            raise OSError(errno.EIO, "a truncated index")
        self._kept = kept
        if is_small:
            os.close(self._descriptor)
            self._descriptor = -1

    def find(self, key: bytes) -> tuple[int, int, int] | None:
        """Returns the number, offset and size of the record with this key, or None. Raises OSError."""
        if not self._kept:
            self._load()
        bucket = int.from_bytes(key[:4], "big") >> self._shift
        begin, end = _PAIR.unpack_from(self._kept, _HEAD.size + 4 * bucket)
        if not begin < end <= self.count or end - begin > _MAX_BUCKET:
            return None
        records = self._read_records(begin, end)
        at = records.find(key)
        while at > 0 and at % _RECORD_SIZE:
            at = records.find(key, at + 1)
        if at < 0 or at + _RECORD_SIZE > len(records):
            return None
        offset, size = _PAIR.unpack_from(records, at + _KEY_SIZE)
        return begin + at // _RECORD_SIZE, offset, size

    def _read_records(self, begin: int, end: int) -> bytes:
        first, size = self._begin + _RECORD_SIZE * begin, _RECORD_SIZE * (end - begin)
        if self._descriptor < 0:
            return self._kept[first : first + size]
        return os.pread(self._descriptor, size, first)

    def read(self, offset: int, size: int) -> bytes:
        """Returns the bytes of a container, or fewer. Raises OSError."""
        if self._data < 0:
            self._data = open_own(self.name + DATA, self._directory)
        return os.pread(self._data, size, offset) if size <= LARGEST_CONTAINER else b""

    def mark(self, number: int) -> None:
        """Note that a record was used."""
        if not self.used:
            self.used = bytearray(self.count)
        self.used[number] = 1

    def records(self) -> Iterator[Location]:
        """Yields all records, by key. Raises OSError."""
        if not self._kept:
            self._load()
        content = self._read_records(0, self.count)
        if len(content) != _RECORD_SIZE * self.count:
            raise OSError(errno.EIO, "a truncated index")
        return map(Location._make, _RECORD.iter_unpack(content))

    def hours(self) -> array[int]:
        """Returns when each record was used last, or at the latest; in hours. Raises OSError."""
        now = int(time.time()) // 3600
        written = min(now, max(0, int(self.status.st_mtime) // 3600))
        hours: array[int] = array("I", [written]) * self.count
        with contextlib.suppress(FileNotFoundError, Untrusted):
            descriptor = open_own(self.name + USED, self._directory)
            try:
                head, size = len(_USED_MAGIC) + 4, 4 * self.count
                content = os.pread(descriptor, head + size + 1, 0)
            finally:
                os.close(descriptor)
            if content[:head] == _USED_MAGIC + struct.pack("<I", self.count) and len(content) == head + size:
                found = struct.unpack_from(f"<{self.count}I", content, head)
                hours = array("I", [min(now, hour) for hour in found])
        return hours

    def write_hours(self, hours: array[int], mode: int) -> None:
        """Keep when each record was used last. Raises OSError."""
        head = _USED_MAGIC + struct.pack("<I", self.count)
        write_whole(self.name + USED, self._directory, mode, head, struct.pack(f"<{self.count}I", *hours))


class SegmentWriter:
    """Appends containers to a new segment, and publishes them."""

    def __init__(self, directory: int, mode: int, run: str = "") -> None:
        """Create its file, and lock it. Its name begins with that of the `run`. Raises OSError."""
        self._directory = directory
        self._mode = mode
        self.name, self._descriptor = _create_locked(directory, mode, run)
        self.size = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._places: dict[bytes, tuple[int, int]] = {}
        self._published = 0

    @property
    def count(self) -> int:
        """How many containers it has."""
        return len(self._places)

    @property
    def has_unpublished(self) -> bool:
        """Whether others can't see all of it yet."""
        return len(self._places) > self._published

    @property
    def is_full(self) -> bool:
        """Whether it should get no more containers."""
        return self.size >= MAX_DATA or len(self._places) >= MAX_RECORDS

    def add(self, key: bytes, container: bytes) -> None:
        """Append a container. Raises OSError."""
        size = len(container)
        self._places[key] = (self.size, size)
        self._waiting.append(container)
        self.size += size
        self._waiting_size += size
        if self._waiting_size >= _MAX_WAITING or len(self._waiting) >= 512:
            self._flush()

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def read(self, key: bytes) -> bytes | None:
        """Returns the container that was added with this key, or None. Raises OSError."""
        place = self._places.get(key)
        if place is None:
            return None
        offset, size = place
        if offset + size > self.size - self._waiting_size:
            self._flush()
        return os.pread(self._descriptor, size, offset)

    def publish(self) -> None:
        """Let others see all that was added. Raises OSError."""
        self._flush()
        records = sorted([key + _PAIR.pack(*place) for key, place in self._places.items()])
        bits = min(_MAX_BITS, max(1, len(records).bit_length() - 2))
        fanout = _fanout(records, bits)
        head = _HEAD.pack(_INDEX_MAGIC, bits, len(records), self.size)
        write_whole(self.name + INDEX, self._directory, self._mode, head, fanout.tobytes(), *records)
        self._published = len(records)

    def close(self) -> None:
        """Give the segment up as it is; without anything published it is removed."""
        if not self._published:
            with contextlib.suppress(OSError):
                os.unlink(self.name + DATA, dir_fd=self._directory)
        os.close(self._descriptor)  # which unlocks it

    def _flush(self) -> None:
        data = memoryview(b"".join(self._waiting))
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        finally:
            self._waiting = [bytes(data)] if data else []
            self._waiting_size = len(data)


def _fanout(records: list[bytes], bits: int) -> array[int]:
    """Returns, for each way that a key can begin, the number of the first record that begins so, or after it."""
    counts = [0] * ((1 << bits) + 1)
    shift = 32 - bits
    for record in records:
        counts[(int.from_bytes(record[:4], "big") >> shift) + 1] += 1
    found, total = array("I"), 0
    for count in counts:
        total += count
        found.append(total)
    if struct.pack("=I", 1) != struct.pack("<I", 1):
        found.byteswap()
    return found


def _create_locked(directory: int, mode: int, run: str) -> tuple[str, int]:
    """Create a segment's file, and lock it. Returns its name and descriptor. Raises OSError."""
    while True:
        name = run + os.urandom(_NAME_SIZE - len(run) // 2).hex()
        descriptor = _create(name + DATA, directory, mode)
        with contextlib.suppress(OSError):  # without locks it may be taken for one whose writer was killed
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:  # nobody has swept it before it was locked
            return name, descriptor
        os.close(descriptor)


def _create(name: str, directory: int, mode: int) -> int:
    """Create a file with just this mode, whatever the umask. Returns its descriptor. Raises OSError."""
    descriptor = os.open(name, _CREATE, mode & 0o600, dir_fd=directory)
    with contextlib.suppress(OSError):  # on a file system without modes
        os.fchmod(descriptor, mode)
    return descriptor


def write_whole(name: str, directory: int, mode: int, *pieces: bytes) -> None:
    """Write a file whole, or not at all. Raises OSError."""
    temporary = f"{name}.tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    descriptor = _create(temporary, directory, mode)
    try:
        try:
            data = memoryview(b"".join(pieces))
            while data:
                data = data[write_pieces(descriptor, [data]) :]
        finally:
            os.close(descriptor)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def sweep_unfinished(directory: int) -> None:
    """Remove what was being written for the whole store by processes that were killed: they had its lock.

    Raises OSError.
    """
    for name in os.listdir(directory):
        if name.endswith(".tmp") and not FILES.match(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)


def is_live(name: str, directory: int) -> bool:
    """Whether a segment's writer may still add to it."""
    try:
        descriptor = open_own(name + DATA, directory)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True  # or there are no locks here
    finally:
        os.close(descriptor)
    return False


def remove(name: str, directory: int) -> None:
    """Remove all files of a segment: first the index, without which the others are residue."""
    for suffix in (INDEX, DATA, USED, TEMPORARY, f"{USED}.tmp"):
        with contextlib.suppress(OSError):
            os.unlink(name + suffix, dir_fd=directory)


def list_segments(directory: int) -> Iterator[tuple[str, str]]:
    """Yields name and suffix of each file of a segment. Raises OSError."""
    for file in sorted(os.listdir(directory)):
        match = FILES.match(file)
        if match:
            yield match[1], match[2]
