"""The history: what each run was called with and did, one JSON object a line, in two files of bounded size.

A run adds a line when it begins to change something, and one with all that it did when it ends: what was killed in
between is seen to have begun. Runs of several flavours write at once, each line under a lock of the file's own. A line
that was torn, or edited into something else, is left out by who reads it, and costs no other.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..stamps import inode_of
from . import files

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 1
_NAME = "history.jsonl"
#: Bytes. At this size a file becomes the older one, and what was the older one goes.
_LARGEST = 512 << 10
#: Bytes. What a writer of ours puts into one line stays far below.
_LARGEST_LINE = 64 << 10
#: Seconds. A line takes less than a thousandth of one; whoever holds the file for so long has been stopped.
_PATIENCE = 20.0
_POLL = 0.005
#: How a line of ours begins.
_NUMBER = re.compile(rb'^\{"format": 1, "number": ([0-9]{1,15}),', re.MULTILINE)


class PastFlavour(NamedTuple):
    """What a past run did for one flavour."""

    flavour: str
    installation: str
    counts: dict[str, int]
    """Those of the contract that aren't 0."""
    failures: tuple[tuple[str, str, str], ...]
    """Path, kind and message of the first of them."""
    failure_count: int
    exit_code: int
    """0 done; what the contract's table says else."""
    elapsed_seconds: float
    deferred: bool = False
    """Its work was left in the journal."""
    taken_over: int = 0
    """Entries of other runs in the journal whose work it did."""
    prefix: str | None = None
    """The environment that was served."""
    is_denied: bool = False
    """All that failed may only be written by root."""


class PastRun(NamedTuple):
    """One run, as far as it was recorded."""

    number: int
    began: float
    """Seconds since the epoch."""
    ended: float | None
    """None: it didn't come to its end, or hasn't yet."""
    pid: int
    birth: str
    """When its process began, in the system's own words; with the pid it tells the process from later ones."""
    command: str
    event: str
    manager: str | None
    hook: bool
    options: dict[str, Any]
    """Those that weren't left at their defaults."""
    paths: tuple[str, ...] | None
    """The first of them; None: the whole scope."""
    path_count: int
    flavours: tuple[PastFlavour, ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    """Exit code and message of what ended a flavour's work, or all of it."""
    exit_code: int = 0

    @property
    def outcome(self) -> str:
        """In one word: done, failed (some files), error, deferred, interrupted or running."""
        if self.ended is None:
            return "running" if self.birth == birth_of(self.pid) else "interrupted"
        if self.errors:
            return "error"
        if self.exit_code:
            return "failed"
        return "deferred" if any(each.deferred for each in self.flavours) else "done"

    @property
    def changes(self) -> int:
        """How many sources and pycs it changed."""
        kinds = ("compiled", "refreshed", "removed", "removed_directories")
        return sum(each.counts.get(kind, 0) for each in self.flavours for kind in kinds)


class History:
    """The history in one state directory."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _NAME)

    def add(self, run: PastRun) -> int:
        """Add a run, or, under the number that it has already, what else is known of it; its number. Raises OSError."""
        with self._locked() as descriptor:
            size = os.fstat(descriptor).st_size
            number = run.number or self._last_number(descriptor, size) + 1
            line = _line(run._replace(number=number))
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line  # the last writer was killed in the middle
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if size + len(line) > _LARGEST:
                os.rename(self._path, f"{self._path}.1")
            return number

    def runs(self) -> list[PastRun]:
        """All recorded runs, oldest first."""
        found: dict[int, PastRun] = {}
        for path in (f"{self._path}.1", self._path):
            for run in _parse(_bytes_of(path)):
                found[run.number] = run
        return [found[number] for number in sorted(found)]

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """The newer file, for reading and appending, and nobody else's for so long. Raises OSError."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, f"{_NAME} is no regular file")
                if files.try_lock(descriptor) and _is_at(self._path, status):  # or it became the older one meanwhile
                    yield descriptor
                    return
            finally:
                os.close(descriptor)
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, f"{_NAME} is held by another process")
            time.sleep(_POLL)

    def _last_number(self, descriptor: int, size: int) -> int:
        """The highest number in use; those of runs that go on beside each other don't stand in their order."""
        start = max(0, size - 2 * _LARGEST_LINE)
        numbers = _NUMBER.findall(os.pread(descriptor, size - start, start))
        numbers = numbers or _NUMBER.findall(_bytes_of(f"{self._path}.1"))
        return max(map(int, numbers), default=0)


def elapsed(since: float, now: float) -> float:
    """Seconds between two moments of a clock that may have been set back in between: never less than none."""
    return max(0.0, now - since)


def birth_of(pid: int) -> str:
    """When a process began, in clock ticks since the boot and with the boot's id; "" for one that isn't there.

    Without a Linux /proc it is only known whether there is one.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = file.read(4096).rpartition(b")")[2].split()[19].decode("ascii")
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{ticks}@{file.read(64).strip()}"
    except (OSError, IndexError, UnicodeDecodeError):
        pass
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "alive"
    except (OSError, OverflowError):
        return ""
    return "alive"


def _line(run: PastRun) -> bytes:
    fields = {"format": _FORMAT, **run._asdict(), "flavours": [each._asdict() for each in run.flavours]}
    return json.dumps(fields).encode("ascii") + b"\n"


def _is_at(path: str, status: os.stat_result) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    return inode_of(there) == inode_of(status)


def _bytes_of(path: str) -> bytes:
    """What stands in a file; nothing where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return os.pread(descriptor, _LARGEST + 2 * _LARGEST_LINE, 0)
    except OSError:
        pass  # a directory of this name, or a bad disk: what can't be read isn't known
    finally:
        os.close(descriptor)
    return b""


def _parse(data: bytes) -> Iterator[PastRun]:
    for line in data.split(b"\n"):
        if line:
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
                yield _load(json.loads(line))


def _load(said: Any) -> PastRun:
    if said["format"] != _FORMAT:
        raise ValueError("another format")
    paths = said["paths"]
    return PastRun(
        number=_natural(said["number"]),
        began=_time(said["began"]),
        ended=None if said["ended"] is None else _time(said["ended"]),
        pid=_natural(said["pid"]),
        birth=_text(said["birth"]),
        command=_text(said["command"]),
        event=_text(said["event"]),
        manager=None if said["manager"] is None else _text(said["manager"]),
        hook=bool(said["hook"]),
        options={_text(name): value for name, value in said["options"].items()},
        paths=None if paths is None else tuple(_text(path) for path in paths),
        path_count=_natural(said["path_count"]),
        flavours=tuple(_load_flavour(each) for each in said["flavours"]),
        errors=tuple((_natural(code), _text(message)) for code, message in said["errors"]),
        exit_code=_natural(said["exit_code"]),
    )


def _load_flavour(said: Any) -> PastFlavour:
    return PastFlavour(
        flavour=_text(said["flavour"]),
        installation=_text(said["installation"]),
        counts={_text(name): _natural(count) for name, count in said["counts"].items()},
        failures=tuple((_text(path), _text(kind), _text(message)) for path, kind, message in said["failures"]),
        failure_count=_natural(said["failure_count"]),
        exit_code=_natural(said["exit_code"]),
        elapsed_seconds=_time(said["elapsed_seconds"]),
        deferred=bool(said["deferred"]),
        taken_over=_natural(said["taken_over"]),
        prefix=None if said.get("prefix") is None else _text(said["prefix"]),
        is_denied=said.get("is_denied") is True,
    )


def _text(value: Any) -> str:
    """Text that a path can be made of. Raises ValueError."""
    if not isinstance(value, str):
        raise TypeError("no text")
    os.fsencode(value)  # half of a surrogate pair stands for no byte
    return value


def _natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("no natural number")
    return value


def _time(value: Any) -> float:
    """Seconds that a clock can show. Raises ValueError."""
    if type(value) not in (int, float) or not 0 <= value < 1 << 36:
        raise ValueError("no time")
    return float(value)
