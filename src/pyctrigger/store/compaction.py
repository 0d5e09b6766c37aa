"""Keeps a local store small: removes what was used least recently, merges small segments, sweeps up after killed runs.

One process does it at a time, under a lock; nobody waits for it. A segment that has a writer is left alone. Otherwise
what is to stay is copied into a new segment before the old one is removed, so a reader finds everything in the one or
the other, and after a kill at worst in both.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .container import Flaw, unpack
from .segments import (
    DATA,
    MAX_DATA,
    MAX_RECORDS,
    Segment,
    SegmentWriter,
    is_live,
    list_segments,
    remove,
    sweep_unfinished,
)

_LOCK = "lock"
#: Of the limit. What is over it is brought down to this, so that not every run has something to remove.
_FILL = 0.8
#: Segments of one magnitude that are merged. So there are at most so many of each, and each byte is copied four times.
_MANY = 8
#: Bytes of segments of one magnitude, and how many times larger those of the next are.
_SMALLEST, _STEP = 1 << 20, 8
#: What may be wasted in a segment before that is copied.
_WASTE = 0.25
#: Bytes of index and use for each container.
_AROUND = 44
#: Bytes that each container may take more once its segment was copied: the hour of its use, and its part of the fanout.
_GROWTH = 6
#: Seconds between two tries to get the lock.
_POLL = 0.01


class StoreLimits(NamedTuple):
    """What a store may have."""

    size: int
    """Bytes, over all of its files."""
    patience: float = 0.0
    """Seconds to wait for another process that makes room."""
    thorough: bool = False
    """Whether to check all that is there, and leave no waste."""


class Compacted(NamedTuple):
    """What a store has, and what became of the rest."""

    size: int
    """Bytes."""
    has_room: bool
    removed: int = 0
    """Containers that were too old."""
    damaged: int = 0
    """Containers that could not be believed."""
    is_done: bool = True
    """Whether it was looked through; else another process was doing that."""


class _Place(NamedTuple):
    """A segment without a writer."""

    segment: Segment
    size: int
    """Bytes of its data."""


@contextmanager
def lock(directory: int, patience: float = 0.0) -> Iterator[bool]:
    """Holds the lock of a store. Gives whether it could be had. Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(_LOCK, flags, 0o600, dir_fd=directory)
    try:
        deadline = time.monotonic() + patience
        while not (has_lock := _try(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL)
        yield has_lock
    finally:
        os.close(descriptor)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def compact(directory: int, limits: StoreLimits, mode: int) -> Compacted:
    """Bring a store below its limit, if another process isn't doing so. Raises OSError."""
    size = measure(directory)
    with lock(directory, limits.patience) as is_locked:
        if not is_locked:
            return Compacted(size, size <= limits.size, is_done=False)
        work = _Compaction(directory, limits, mode)
        try:
            work.run(size)
        finally:
            work.close()
    size = measure(directory)
    return Compacted(size, size <= limits.size, work.removed, work.damaged)


def measure(directory: int) -> int:
    """Returns the bytes of all files of a store. Raises OSError."""
    total = 0
    for name, suffix in list_segments(directory):
        with contextlib.suppress(FileNotFoundError):
            total += os.stat(name + suffix, dir_fd=directory, follow_symlinks=False).st_size
    return total


class _Compaction:
    """One pass over a store, under its lock."""

    def __init__(self, directory: int, limits: StoreLimits, mode: int) -> None:
        self._directory = directory
        self._limits = limits
        self._mode = mode
        self._places: list[_Place] = []
        self._writer: SegmentWriter | None = None
        #: Of what it has: when it was used.
        self._hours: dict[bytes, int] = {}
        #: Segments that are not copied, and those that are, but not removed yet.
        self._others: list[Segment] = []
        self._copied: list[str] = []
        self._written: list[Segment] = []
        self.removed = 0
        self.damaged = 0

    def close(self) -> None:
        for segment in (*(place.segment for place in self._places), *self._written):
            segment.close()
        if self._writer is not None:
            self._writer.close()

    def run(self, size: int) -> None:
        """Sweep, and copy what should be copied. Raises OSError."""
        live = self._sweep_and_open()
        size += _GROWTH * sum(place.segment.count for place in self._places)
        allowed = self._allow(live) if size > self._limits.size else None
        chosen = self._choose(allowed)
        self._others = [place.segment for age, place in enumerate(self._places) if age not in chosen]
        if allowed is not None:
            # What leaves nothing goes first, so that there is room to copy.
            chosen.sort(key=lambda age: self._stays_of(age, allowed) > 0)
        for age in chosen:
            if allowed is not None and not self._stays_of(age, allowed):
                self.removed += self._places[age].segment.count
                remove(self._places[age].segment.name, self._directory)
                continue
            self._copy(age, allowed)
            self._copied.append(self._places[age].segment.name)
        self._finish()

    @staticmethod
    def _stays_of(age: int, allowed: dict[tuple[int, int], int]) -> int:
        """Returns how many bytes of a segment may stay."""
        return sum(size for (_, its_age), size in allowed.items() if its_age == age)

    def _sweep_and_open(self) -> int:
        """Remove what killed writers have left, and open all other segments. Returns the bytes of those in use."""
        sweep_unfinished(self._directory)
        files = defaultdict(set)
        for name, suffix in list_segments(self._directory):
            files[name].add(suffix)
        live = 0
        for name, suffixes in files.items():
            if DATA in suffixes and is_live(name, self._directory):
                live += self._size_of(name)
                continue
            try:
                segment = Segment(name, self._directory)
            except (OSError, ValueError):
                remove(name, self._directory)  # it has no index, or none that can be read
                continue
            self._places.append(_Place(segment, self._size_of(name)))
        self._places.sort(key=lambda place: place.segment.status.st_mtime_ns)
        return live

    def _size_of(self, name: str) -> int:
        try:
            return os.stat(name + DATA, dir_fd=self._directory, follow_symlinks=False).st_size
        except OSError:
            return 0

    def _allow(self, live: int) -> dict[tuple[int, int], int]:
        """Returns how many bytes may stay of those that were last used in the same hour, by hour and segment."""
        sizes: dict[tuple[int, int], int] = defaultdict(int)
        for age, place in enumerate(self._places):
            for record, hour in zip(place.segment.records(), place.segment.hours()):
                sizes[hour, age] += record.size + _AROUND
        left = max(0, int(_FILL * self._limits.size) - live)
        allowed = {}
        for bucket in sorted(sizes, reverse=True):
            allowed[bucket] = min(left, sizes[bucket])
            left -= allowed[bucket]
        return allowed

    def _choose(self, allowed: dict[tuple[int, int], int] | None) -> list[int]:
        """Returns the segments to copy what should stay of: those with waste, or many of one magnitude."""
        if self._limits.thorough:
            return list(range(len(self._places)))
        chosen: set[int] = set()
        magnitudes = defaultdict(set)
        for age, (segment, size) in enumerate(self._places):
            whole = segment.size + _AROUND * segment.count
            if segment.size < (1 - _WASTE) * size or (allowed is not None and self._stays_of(age, allowed) < whole):
                chosen.add(age)
            if size < MAX_DATA // 2 and segment.count < MAX_RECORDS // 2:  # what is full stays as it is
                magnitudes[_magnitude(size)].add(age)
        for ages in magnitudes.values():
            if len(ages) >= _MANY:
                chosen |= ages
        return sorted(chosen)

    def _copy(self, age: int, allowed: dict[tuple[int, int], int] | None) -> None:
        """Copy what should stay of a segment, in the order of its file. Raises OSError."""
        segment = self._places[age].segment
        hours = segment.hours()
        numbered = sorted(enumerate(segment.records()), key=lambda each: each[1].offset)
        for number, record in numbered:
            hour = hours[number]
            if allowed is not None:
                if allowed[hour, age] < record.size + _AROUND:
                    self.removed += 1
                    continue
                allowed[hour, age] -= record.size + _AROUND
            if any(other.find(record.key) for other in self._others):
                continue
            if record.key in self._hours:
                self._hours[record.key] = max(hour, self._hours[record.key])
                continue
            try:
                container = segment.read(record.offset, record.size)
            except OSError:
                container = b""
            if isinstance(unpack(container, record.key), Flaw):
                self.damaged += 1
                continue
            if self._writer is None or self._writer.is_full:
                self._finish()
                self._writer = SegmentWriter(self._directory, self._mode)
            self._writer.add(record.key, container)
            self._hours[record.key] = hour

    def _finish(self) -> None:
        """Publish the segment that is written, with the hours of use, and remove what it was copied from.

        Raises OSError.
        """
        if self._writer is not None:
            if self._writer.count:
                self._writer.publish()
                written = Segment(self._writer.name, self._directory)
                self._others.append(written)
                self._written.append(written)
                hours = array("I", [self._hours[record.key] for record in written.records()])
                written.write_hours(hours, self._mode)
            self._writer.close()
            self._writer, self._hours = None, {}
        for name in self._copied:
            remove(name, self._directory)
        self._copied.clear()


def _magnitude(size: int) -> int:
    """Returns how many steps a segment is above the smallest."""
    magnitude = 0
    while size >= _SMALLEST * _STEP ** (magnitude + 1):
        magnitude += 1
    return magnitude
