"""The local store: a directory of segments that many runs read and fill at the same time.

Each writer appends to a segment of its own and publishes it every now and then by an index that is written whole, so
nobody waits for anybody, and a run that is killed loses what it hadn't published. Readers look again from time to time
for what others have published. What a directory holds is bounded when a writer ends (`compaction.py`).

Only we or root may be able to write there, or what is found could be anybody's code: owner and mode of the directory
and of each file are looked at through their descriptors, and no link is followed. A source that not everybody may read
is kept only where nobody else can enter (`is_private`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, Union

from ..errors import RefusedError
from ..tree.opened import writers_beside_root
from .compaction import Compacted, StoreLimits, compact, lock, measure
from .container import LARGEST_PAYLOAD, NO_ORIGIN, SMALLEST_CONTAINER, UNUSABLE, Flaw, StoredCode, pack, unpack
from .segments import INDEX, Segment, SegmentWriter, list_segments, open_own, write_whole

#: Seconds between two looks at what others have published, and between two publications of our own.
_LOOK_AGAIN, _PUBLISH_AGAIN = 0.1, 0.1
#: How many times as long as the processor time of either we wait until the next time: 2 % of a run. Where many share a
#: processor the clock would say more, and they would compile what others have published.
#: While nobody else fills the store, four times as long.
_PAUSE, _LONG_PAUSE = 50, 200
#: Seconds after which another run that has published nothing is taken to have ended; and until we know of others.
_COMPANY, _UNKNOWN = 2.0, 0.3
#: Seconds. What was changed so lately may change again without another time of modification.
_UNSETTLED = 0.1
#: Seconds to wait for the lock where something small has to be written.
_LOCK_PATIENCE = 0.5
#: The same where a run ends: its lanes, which all do at about the same time, keep their counts one after the other.
_END_PATIENCE = 0.2
#: Segments that are looked through; more than compaction leaves.
_MAX_SEGMENTS = 256
#: The file with what all runs have asked, its names, and the most bytes that are read of it.
_COUNTS, _MAX_COUNTS = "counts.json", 4096
_COUNTED = ("hits", "absent", "kept", *(flaw.value for flaw in Flaw), *UNUSABLE)
#: The file with the store's name for this installation, and its bytes.
_ORIGIN, _ORIGIN_SIZE = "origin", 16
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Found = Union[StoredCode, Flaw, None]


class StoreUse(NamedTuple):
    """What a store was asked in a run."""

    hits: int
    absent: int
    flaws: Counter[Flaw]
    unusable: Counter[str]
    """Codes that were right, by why they were of no use."""
    kept: int
    notice: str | None
    """Why nothing more was kept, if so."""


class StoreContents(NamedTuple):
    """What a store has, and was asked in all runs that could write to it."""

    codes: int
    size: int
    """Bytes of all its files."""
    counts: Counter[str]
    """How often code was found (`hits`), not there (`absent`), kept, and, by reason, not to be believed or used."""


class LocalStore:
    """An open store. Closing it publishes what was put, and makes room. Not for several processes: fork, then open."""

    def __init__(self, directory: int, *, writes: bool, max_size: int, name: str = "", run: str = "") -> None:
        self._directory = directory
        #: What the names of all segments begin with that this run writes, in whatever lane.
        self._run = run or os.urandom(4).hex()
        #: What it is called: its path.
        self.name = name
        status = os.fstat(directory)
        #: Whether only its owner can enter it.
        self.is_private = not stat.S_IMODE(status.st_mode) & 0o077
        self._writes = writes and status.st_uid == os.geteuid()
        self._max_size = max_size
        self._mode = 0o600 if self.is_private else 0o644
        self._segments: list[Segment] = []
        self._seen: int | None = None
        self._next_look = 0.0
        #: Until when other runs are taken to fill the store, too.
        self._company_until = time.monotonic() + _UNKNOWN
        self._writer: SegmentWriter | None = None
        self._next_publication = 0.0
        self._hits = self._absent = self._kept = 0
        self._flaws: Counter[Flaw] = Counter()
        self._unusable: Counter[str] = Counter()
        self._notice: str | None = None

    @property
    def is_writable(self) -> bool:
        """Whether it takes code."""
        return self._writes

    @property
    def has_company(self) -> bool:
        """Whether other runs may be filling it now."""
        return time.monotonic() < self._company_until

    @cached_property
    def origin(self) -> bytes:
        """What the store calls this installation: drawn when it is first written."""
        try:
            for _ in range(2):
                with contextlib.suppress(FileNotFoundError):
                    descriptor = open_own(_ORIGIN, self._directory)
                    try:
                        found = os.pread(descriptor, _ORIGIN_SIZE, 0)
                    finally:
                        os.close(descriptor)
                    if len(found) == _ORIGIN_SIZE:
                        return found
                with lock(self._directory, _LOCK_PATIENCE) as is_locked:
                    if is_locked and not self._has_origin():
                        write_whole(_ORIGIN, self._directory, self._mode, os.urandom(_ORIGIN_SIZE))
        except OSError:
            pass
        return NO_ORIGIN

    def _has_origin(self) -> bool:
        """Whether another process was faster."""
        try:
            return os.stat(_ORIGIN, dir_fd=self._directory, follow_symlinks=False).st_size == _ORIGIN_SIZE
        except FileNotFoundError:
            return False

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading -------------------------------------------------------------------------------------------------

    def get(self, keys: Sequence[bytes], largest: int = LARGEST_PAYLOAD) -> list[Found]:
        """Returns what is kept for each key: code, why what was found can't be believed, or None. Raises nothing.

        `largest` bytes are the most that the code may have.
        """
        found = [self._find(key, largest) for key in keys]
        if None in found and self._look_again():
            found = [each or self._find(key, largest) for key, each in zip(keys, found)]
        if self._writer is not None and self._writer.has_unpublished:  # nothing more may come for a while
            try:
                self._publish_if_due(self._writer)
            except OSError as error:
                self._stop_writing(_reason(error))
        for each in found:
            if each is None:
                self._absent += 1
            elif isinstance(each, Flaw):
                self._flaws[each] += 1
            else:
                self._hits += 1
        return found

    def discard(self, count: int, reason: str) -> None:
        """Count so many codes that were given, and can't be used, as misses."""
        self._hits -= count
        self._unusable[reason] += count

    def keys(self) -> Iterator[bytes]:
        """Yields the key of all that has been published, once each. Raises OSError."""
        self._open_segments()
        segments = list(self._segments)
        for number, segment in enumerate(segments):
            for record in segment.records():
                if not any(earlier.find(record.key) for earlier in segments[:number]):
                    yield record.key

    def _find(self, key: bytes, largest: int) -> Found:
        flaw = None
        if self._writer is not None and key in self._writer:
            with contextlib.suppress(OSError):
                own = unpack(self._writer.read(key) or b"", key, largest)
                if isinstance(own, StoredCode):
                    return own
        for segment in self._segments:
            try:
                place = segment.find(key)
                if place is None:
                    continue
                number, offset, size = place
                if size > SMALLEST_CONTAINER + largest:
                    flaw = Flaw.OVERSIZED
                    continue
                found = unpack(segment.read(offset, size), key, largest)
            except FileNotFoundError:  # another run has copied what it had, and removed it
                self._seen, self._next_look = None, 0.0
                continue
            except OSError:
                flaw = Flaw.TRUNCATED
                continue
            if isinstance(found, StoredCode):
                segment.mark(number)
                return found
            flaw = found
        return flaw

    def _look_again(self) -> bool:
        """See what others have published since. Returns whether there may be something."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + _LOOK_AGAIN
        begun = time.process_time()
        try:
            changed = os.fstat(self._directory).st_mtime_ns
            if changed == self._seen:
                return False
            self._seen = changed if time.time_ns() - changed > _UNSETTLED * 1e9 else None
            self._open_segments()
        except OSError:
            return False
        self._next_look = now + max(_LOOK_AGAIN, self._pause_after(time.process_time() - begun))
        return True

    def _open_segments(self) -> None:
        known = {(each.name, each.status.st_ino, each.status.st_mtime_ns): each for each in self._segments}
        segments: list[Segment] = []
        own = self._writer.name if self._writer is not None else None
        recent = time.time() - _COMPANY
        for name, suffix in list_segments(self._directory):
            if suffix != INDEX or name == own or len(segments) >= _MAX_SEGMENTS:
                continue
            with contextlib.suppress(OSError, ValueError):
                status = os.stat(name + INDEX, dir_fd=self._directory, follow_symlinks=False)
                segment = known.pop((name, status.st_ino, status.st_mtime_ns), None)
                segments.append(segment or Segment(name, self._directory))
                if status.st_mtime > recent and not name.startswith(self._run):
                    self._company_until = time.monotonic() + _COMPANY
        for gone in known.values():
            gone.close()
        segments.sort(key=lambda segment: -segment.count)
        self._segments = segments

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, codes: Iterable[StoredCode]) -> None:
        """Keep code. Raises nothing: without room or rights it isn't kept, and `use` says so."""
        if not self._writes:
            return
        try:
            for code in codes:
                if self._writer is None:
                    self._begin_segment()
                if self._writer is None:
                    return
                if code.key not in self._writer:
                    self._writer.add(code.key, pack(code))
                    self._kept += 1
                    if self._writer.is_full:
                        self._publish(self._writer)
            if self._writer is not None:
                self._publish_if_due(self._writer)
        except OSError as error:
            self._stop_writing(_reason(error))

    def _begin_segment(self) -> None:
        """Begin a segment, if there is room. Raises OSError."""
        limits = StoreLimits(self._max_size)
        if measure(self._directory) > limits.size and not compact(self._directory, limits, self._mode).has_room:
            self._stop_writing("it is full, and other runs are using all of it")
            return
        self._writer = SegmentWriter(self._directory, self._mode, self._run)
        self._next_publication = time.monotonic() + _PUBLISH_AGAIN

    def _publish_if_due(self, writer: SegmentWriter) -> None:
        if time.monotonic() >= self._next_publication:
            self._publish(writer)

    def _pause_after(self, seconds: float) -> float:
        return seconds * (_PAUSE if self.has_company else _LONG_PAUSE)

    def _publish(self, writer: SegmentWriter) -> None:
        begun = time.process_time()
        if writer.has_unpublished:
            writer.publish()
        took = time.process_time() - begun
        self._next_publication = time.monotonic() + max(_PUBLISH_AGAIN, self._pause_after(took))
        # Not more than a few segments of this size are written at once, so what is over the limit is bounded.
        if writer.is_full or writer.size > self._max_size // 8:
            writer.close()
            self._writer = None

    def _stop_writing(self, reason: str) -> None:
        self._writes = False
        self._notice = f"the store keeps nothing more: {reason}" if reason else None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def take_notices(self) -> list[str]:
        """Returns why nothing more is kept, if that is to be said."""
        return [] if self._notice is None else [self._notice]

    @property
    def use(self) -> StoreUse:
        """What it was asked so far."""
        return StoreUse(
            self._hits, self._absent, Counter(self._flaws), Counter(self._unusable), self._kept, self._notice
        )

    def describe(self) -> StoreContents:
        """Returns what is there, and what it was asked in all runs. Raises OSError."""
        self._open_segments()
        codes = sum(segment.count for segment in self._segments)
        return StoreContents(codes, measure(self._directory), self._read_counts())

    def gc(self, patience: float) -> Compacted:
        """Check all that is there, drop what can't be believed or is too much, and leave no waste. Raises OSError.

        Waits so many seconds for another process that makes room.
        """
        return compact(self._directory, StoreLimits(self._max_size, patience, thorough=True), self._mode)

    def close(self) -> None:
        """Publish what was put, keep what was used, make room, and close all files. Raises nothing."""
        with contextlib.suppress(OSError):
            if self._writer is not None and self._writer.has_unpublished:
                self._writer.publish()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        with contextlib.suppress(OSError):
            if self._writes and (self._hits or self._absent or self._kept or self._flaws or self._unusable):
                with lock(self._directory, _END_PATIENCE) as is_locked:
                    if is_locked:
                        self._keep_hours()
                        self._keep_counts()
            if self._writes and self._kept:
                compact(self._directory, StoreLimits(self._max_size), self._mode)
        for segment in self._segments:
            segment.close()
        self._segments = []
        os.close(self._directory)

    def _keep_hours(self) -> None:
        """Keep which records were used, unless that was known for this hour. Raises OSError."""
        hour = int(time.time()) // 3600
        for segment in self._segments:
            if not segment.used:
                continue
            hours = segment.hours()
            marked = [number for number, mark in enumerate(segment.used) if mark and hours[number] < hour]
            if marked and _is_current(segment, self._directory):
                for number in marked:
                    hours[number] = hour
                segment.write_hours(hours, self._mode)

    def _keep_counts(self) -> None:
        """Add what this run has asked to what all have. Raises OSError."""
        counts = self._read_counts()
        counts.update({"hits": self._hits, "absent": self._absent, "kept": self._kept})
        counts.update({flaw.value: count for flaw, count in self._flaws.items()})
        counts.update(self._unusable)
        write_whole(_COUNTS, self._directory, self._mode, json.dumps(counts, sort_keys=True).encode())

    def _read_counts(self) -> Counter[str]:
        try:
            descriptor = open_own(_COUNTS, self._directory)
        except OSError:
            return Counter()
        try:
            found = json.loads(os.pread(descriptor, _MAX_COUNTS, 0))
            return Counter({name: found[name] for name in _COUNTED if type(found.get(name)) is int})
        except (OSError, ValueError, AttributeError, RecursionError):
            return Counter()
        finally:
            os.close(descriptor)


def _reason(error: OSError) -> str:
    """Returns why nothing more is kept; "" where nobody expects it: a jail may have a store that others fill."""
    return "" if error.errno == errno.EROFS else error.strerror or str(error)


def _is_current(segment: Segment, directory: int) -> bool:
    """Whether a segment's index is still the one that we have read."""
    try:
        status = os.stat(segment.name + INDEX, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(status, segment.status)


def open_local(
    path: str, *, create: bool = False, writes: bool = True, max_size: int = 1 << 30, run: str = ""
) -> LocalStore:
    """Open the store in a directory, for reading only unless it is our own. With `create` it is made, for us alone.

    All lanes of a `run` give the same digits for it: what they keep isn't another run's.
    Raises OSError, and RefusedError if somebody else than we or root can write in it.
    """
    from ..interpreter.trust import require_own  # root asks it of all directories above

    if not os.path.lexists(path):
        if not create:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        require_own(os.path.dirname(os.path.abspath(path)), "store")
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    require_own(path, "store")
    directory = os.open(path, _DIRECTORY)
    try:
        status = os.fstat(directory)
        if status.st_uid not in (0, os.geteuid()):
            raise RefusedError(
                f"store {path} belongs to account {status.st_uid}", hint="name one of your own, or chown it"
            )
        others = writers_beside_root(directory, status)
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or others:
            raise RefusedError(f"store {path} can be written by others", hint=f"chmod go-w {path}")
        return LocalStore(directory, writes=writes, max_size=max_size, name=path, run=run)
    except BaseException:
        os.close(directory)
        raise
