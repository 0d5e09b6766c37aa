"""State of staged roots, kept on the host: one directory for each root, in `roots/` below the state directory.

A root isn't trusted. Nothing inside it is read as state, and only bytecode is written there. Its state is found by its
path, and records device, inode and birth time of the root. If the path leads to another directory by now, the state is
dropped, and the next run examines everything.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..stamps import inode_of
from . import own_files
from .birth import birth_of
from .journal import Journal
from .locations import make_own
from .quota import Quota, measure

Notice = Callable[[str], None]

_FORMAT = 2
_SUBDIRECTORY = "roots"
_NOTE = "root.json"
#: The note's mtime is when the root was last worked on; this file's mtime is when the root was first missing.
_MISSING = "missing"
#: In an installation's directory: when the state was dropped for which it has examined everything.
EXAMINED = "looked-at-everything"
#: Bytes. Limits for the state of one root, and of all of them together.
LARGEST = 128 << 20
LARGEST_TOGETHER = 1 << 30
#: Bytes. The size of a root's state after it was dropped.
_SIZE_WHEN_EMPTY = 16 << 10
#: Seconds for which the state of a root is kept after the root is gone.
KEPT_AFTER = 30 * 86400.0
#: Seconds to wait for another run that claims the same root, which takes a moment.
_PATIENCE = 10.0
_POLL = 0.02
_UNREADABLE = re.compile(r"[^A-Za-z0-9.+_-]+")
_LONGEST_NAME = 100


class _Note(NamedTuple):
    """What a root's state is about."""

    path: str
    identity: tuple[int, int, int]
    """Device, inode and birth time."""
    dropped: float | None
    """When its state was last dropped, in seconds since the epoch."""
    is_clear: bool
    """Whether that has come to its end."""


class RootState:
    """The state of one root."""

    def __init__(self, place: str, path: str, identity: tuple[int, int, int]) -> None:
        self.path = path
        self.identity = identity
        #: The directory that holds this state.
        self.directory = os.path.join(place, directory_name(path))
        #: Whether the state is about this very root.
        self.is_known = False
        #: When it was last dropped: each interpreter has to examine everything once since then.
        self.dropped: float | None = None
        self.quota = Quota(LARGEST)

    def look(self) -> None:
        """Read the state without changing anything."""
        if not os.path.isdir(self.directory):
            return
        note = self._read_own_note()
        self.is_known = note is not None and note.identity == self.identity and note.is_clear
        self.dropped = note.dropped if note is not None and self.is_known else time.time()

    def was_examined(self, installation: str) -> bool:
        """Whether an interpreter has examined everything since the state was dropped."""
        return bool(own_files.read(os.path.join(self.directory, installation, EXAMINED)) == self.dropped)

    def claim(self, notice: Notice, has_state_inside: Callable[[], bool]) -> None:
        """Bind the state to this root. `has_state_inside` says whether an earlier release has kept state in the root.

        Raises OSError and RefusedError.
        """
        place = os.path.dirname(self.directory)
        make_own(os.path.dirname(place))
        make_own(place)
        with self._hold_lock():
            note = self._read_own_note()
            if note is None and os.listdir(self.directory):
                self._drop_state()
                notice(f"{self.path}: its state can't be read; everything is examined once")
            elif note is None:
                drop_gone_roots(os.path.dirname(place), notice)
                if has_state_inside():
                    self.dropped = time.time()
                    notice(
                        f"{self.path}: the state inside is from an earlier release and isn't read; everything is"
                        " examined once"
                    )
                self._write_note()
            elif note.identity != self.identity:
                self._drop_state()
                notice(
                    f"{self.path} isn't the same directory as before; its state is dropped, and everything is examined"
                    " once"
                )
            elif not note.is_clear:
                self._drop_state()
            else:
                self.dropped = note.dropped
                size = measure(self.directory)
                self.quota.left = LARGEST - size
                if size > LARGEST:
                    self._drop_state()
                    notice(f"{self.path}: {self.full}")
                os.utime(os.path.join(self.directory, _NOTE))
        self.is_known = True
        _enforce_common_limit(place, notice, keep=self.directory)

    def forget(self) -> None:
        """Drop the state; a full examination is due then. Raises OSError."""
        with self._hold_lock():
            self._drop_state()

    @property
    def full(self) -> str:
        """The message for a state that is too large."""
        return (
            f"its state would take more than {LARGEST >> 20} MiB; it is dropped, and the next run examines everything"
        )

    def _drop_state(self) -> None:
        """Drop the state. That is recorded first, so that the next run continues if this one is killed halfway."""
        self.dropped = time.time()
        self._write_note(is_clear=False)
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif entry.name != _NOTE:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry.path)
        self._write_note()
        self.quota = Quota(LARGEST)

    def _write_note(self, *, is_clear: bool = True) -> None:
        note = _Note(os.fsencode(self.path).hex(), self.identity, self.dropped, is_clear)
        own_files.write_durably(os.path.join(self.directory, _NOTE), {"format": _FORMAT, **note._asdict()})

    def _read_own_note(self) -> _Note | None:
        note = _read_note(self.directory)
        return note if note is not None and note.path == self.path else None

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        """Keep other runs from claiming or dropping it meanwhile. Raises OSError and RefusedError."""
        deadline = time.monotonic() + _PATIENCE
        descriptor = None
        while descriptor is None:
            make_own(self.directory)
            with contextlib.suppress(FileNotFoundError):  # dropped while it was made
                descriptor = own_files.hold_directory(self.directory)
            if descriptor is None:
                if time.monotonic() > deadline:
                    raise BlockingIOError(0, "another run has locked it")
                time.sleep(_POLL)
        try:
            yield
        finally:
            os.close(descriptor)


def state_of_root(base: str, root: str) -> RootState:
    """Returns the state of the root that is at a path now, below a state directory. Raises OSError."""
    path = os.path.realpath(root)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        identity = (*inode_of(status), birth_of(descriptor, status))
    finally:
        os.close(descriptor)
    return RootState(os.path.join(base, _SUBDIRECTORY), path, identity)


def directory_name(path: str) -> str:
    """Returns the name of a root's state directory: its path, readable by people, and a digest of it."""
    import hashlib  # 5 ms, only with --root

    readable = _UNREADABLE.sub("-", path)[-_LONGEST_NAME:].strip("-.") or "slash"
    return f"{readable}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def with_pending_work(base: str) -> Iterator[str]:
    """Yields the roots that still exist, and have work in their journals or a full examination due."""
    place = os.path.join(base, _SUBDIRECTORY)
    for directory in _state_directories(place):
        note = _read_note(directory)
        if note is None or not os.path.isdir(note.path):
            continue
        state = RootState(place, note.path, note.identity)
        state.dropped = note.dropped
        names = os.listdir(directory)
        is_due = note.dropped is not None and not any(map(state.was_examined, names))
        if is_due or any(any(Journal(os.path.join(directory, name)).entries()) for name in names):
            yield note.path


def drop_gone_roots(base: str, notice: Notice) -> None:
    """Drop the state of roots that have been gone for a month."""
    for directory, note in _unclaimed(_state_directories(os.path.join(base, _SUBDIRECTORY))):
        if note is not None and _has_gone_for_long(directory, note.path):
            shutil.rmtree(directory, ignore_errors=True)
            notice(f"the state of {note.path} was dropped: it has been gone for {KEPT_AFTER / 86400:.0f} days")


def _has_gone_for_long(directory: str, path: str) -> bool:
    missing = os.path.join(directory, _MISSING)
    if os.path.isdir(path):
        with contextlib.suppress(OSError):
            os.unlink(missing)
        return False
    now = time.time()
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(missing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        since = os.stat(missing).st_mtime
        if since > now:  # the clock was set back
            os.utime(missing)
        return now - since >= KEPT_AFTER
    except OSError:
        return False


def _enforce_common_limit(place: str, notice: Notice, keep: str) -> None:
    """Drop the state of the roots that were least recently used, until the rest is within the limit."""
    directories = list(_state_directories(place))
    if len(directories) <= LARGEST_TOGETHER // LARGEST:
        return
    sizes = {directory: measure(directory) for directory in sorted(directories, key=_last_served)}
    excess = sum(sizes.values()) - LARGEST_TOGETHER
    for directory, note in _unclaimed(each for each in sizes if each != keep):
        if excess <= 0:
            return
        if note is None:
            shutil.rmtree(directory, ignore_errors=True)
        elif sizes[directory] > _SIZE_WHEN_EMPTY:
            with contextlib.suppress(OSError):
                RootState(place, note.path, note.identity)._drop_state()
            together = LARGEST_TOGETHER >> 20
            notice(f"{note.path}: its state was dropped, since all roots' state takes more than {together} MiB")
        else:
            continue
        excess -= sizes[directory]


def _unclaimed(directories: Iterable[str]) -> Iterator[tuple[str, _Note | None]]:
    """Yields those that nobody claims, each locked, with its note."""
    for directory in directories:
        descriptor = None
        with contextlib.suppress(OSError):
            descriptor = own_files.hold_directory(directory)
        if descriptor is not None:
            try:
                yield directory, _read_note(directory)
            finally:
                os.close(descriptor)


def _state_directories(place: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return  # no root was ever served
    for name in names:
        yield os.path.join(place, name)


def _last_served(directory: str) -> float:
    try:
        return os.stat(os.path.join(directory, _NOTE)).st_mtime
    except OSError:
        return 0.0


def _read_note(directory: str) -> _Note | None:
    stored: Any = own_files.read(os.path.join(directory, _NOTE))
    try:
        if stored["format"] != _FORMAT:
            return None
        device, inode, birth = map(int, stored["identity"])
        path = os.fsdecode(bytes.fromhex(stored["path"]))
        dropped = None if stored["dropped"] is None else float(stored["dropped"])
        return _Note(path, (device, inode, birth), dropped, bool(stored["is_clear"]))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None
