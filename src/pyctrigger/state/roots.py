"""State of staged roots: kept on the host, in `roots/` below the state directory, one directory for each root.

A root belongs to a stranger. What lies inside it is never read as state, and nothing is written there but bytecode. A
root's directory is found by its path, and holds what it was: its device, inode and birth time. Where another directory
has come to stand there, all that was known is dropped, and everything is looked at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import files
from .birth import birth_of
from .journal import Journal
from .locations import make_own
from .quota import Quota, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Notice = Callable[[str], None]

_FORMAT = 1
_PLACE = "roots"
_NOTE = "root.json"
#: The note's modification time is when the root was last served; this file's when it was first found missing.
_MISSING = "missing"
#: In an installation's directory: the name of the debt that it has paid.
PAID = "looked-at-everything"
#: Bytes that the state of one root may take, and that of all of them.
LARGEST = 128 << 20
LARGEST_TOGETHER = 1 << 30
#: Seconds that the state of a root is kept after it has gone.
KEPT_AFTER = 30 * 86400.0
#: Seconds of waiting for another run that claims the same root; that takes a moment.
_PATIENCE = 10.0
_POLL = 0.02
_UNREADABLE = re.compile(r"[^A-Za-z0-9.+_-]+")
_LONGEST_NAME = 100


class Debt(NamedTuple):
    """Work on everything, which each interpreter is to do once since what was known was forgotten."""

    name: str
    since: float
    """Seconds since the epoch."""


class RootState:
    """What is kept about one root."""

    def __init__(self, place: str, path: str, identity: tuple[int, int, int]) -> None:
        self.path = path
        self.identity = identity
        #: Where it lies.
        self.directory = os.path.join(place, directory_name(path))
        #: Whether anything in it is about this very root.
        self.is_known = False
        self.debt: Debt | None = None
        self.quota = Quota(LARGEST)

    def look(self) -> None:
        """Read what is known, and change nothing."""
        if not os.path.isdir(self.directory):
            return
        note = self._read()
        self.is_known = note is not None and note.identity == self.identity and note.is_clear
        self.debt = note.debt if note is not None and self.is_known else Debt("", time.time())

    def claim(self, notice: Notice, has_state_inside: Callable[[], bool]) -> None:
        """Make it this root's. `has_state_inside`: whether an earlier release has kept state in the root itself.

        Raises OSError and RefusedError.
        """
        place = os.path.dirname(self.directory)
        make_own(os.path.dirname(place))
        make_own(place)
        with self._held():
            note = self._read()
            if note is None and os.listdir(self.directory):
                self._forget()
                notice(f"{self.path}: what was known of it can't be read: everything is looked at once")
            elif note is None:
                drop_gone(place, notice, keep=self.directory)
                if has_state_inside():
                    self.debt = _new_debt()
                    notice(
                        f"{self.path}: the state inside is an earlier release's and isn't read: everything is looked"
                        " at once"
                    )
                self._write()
            elif note.identity != self.identity:
                self._forget()
                notice(
                    f"{self.path} isn't the directory that it was: what was known of it is forgotten, and everything"
                    " is looked at once"
                )
            elif not note.is_clear:
                self._forget()
            else:
                self.debt = note.debt
                self._bound(notice)
                os.utime(os.path.join(self.directory, _NOTE))
        self.is_known = True
        _bound_together(place, notice, keep=self.directory)

    def forget(self) -> None:
        """Drop all that is known, and owe a look at everything. Raises OSError."""
        with self._held():
            self._forget()

    def _bound(self, notice: Notice) -> None:
        size = measure(self.directory)
        self.quota.left = LARGEST - size
        if size > LARGEST:
            self._forget()
            notice(f"{self.path}: {self.full}")

    @property
    def full(self) -> str:
        """What is said when there is no more room."""
        return (
            f"its state would take more than {LARGEST >> 20} MiB: it is forgotten, and the next run looks at everything"
        )

    def _forget(self) -> None:
        """First say so: whoever is killed in the middle leaves the rest to the next run."""
        self.debt = _new_debt()
        self._write(is_clear=False)
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name == _NOTE:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(entry.path)
        self._write()
        self.quota = Quota(LARGEST)

    def _write(self, *, is_clear: bool = True) -> None:
        note = {
            "format": _FORMAT,
            "path": os.fsencode(self.path).hex(),
            "identity": self.identity,
            "debt": self.debt,
            "is_clear": is_clear,
        }
        files.write_durably(os.path.join(self.directory, _NOTE), note)

    def _read(self) -> _Note | None:
        note = _read_note(self.directory)
        return note if note is not None and note.path == self.path else None

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """Nobody else claims, forgets or drops it meanwhile. Raises OSError and RefusedError."""
        deadline = time.monotonic() + _PATIENCE
        while (descriptor := _hold(self.directory)) is None:
            if time.monotonic() > deadline:
                raise BlockingIOError(0, "another run holds it")
            time.sleep(_POLL)
        try:
            yield
        finally:
            os.close(descriptor)


class _Note(NamedTuple):
    path: str
    identity: tuple[int, int, int]
    debt: Debt | None
    is_clear: bool


def state_of_root(base: str, root: str) -> RootState:
    """The state of the root that stands at a path now, below a state directory. Raises OSError."""
    path = os.path.realpath(root)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino, birth_of(descriptor, status))
    finally:
        os.close(descriptor)
    return RootState(os.path.join(base, _PLACE), path, identity)


def directory_name(path: str) -> str:
    """What the directory of a root is called: after its path, for people, and by a digest of it."""
    import hashlib  # 5 ms, only with --root

    readable = _UNREADABLE.sub("-", path.strip("/"))[-_LONGEST_NAME:].strip("-.") or "slash"
    return f"{readable}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"


def drop_gone(place: str, notice: Notice, *, keep: str | None = None) -> None:
    """Drop the state of roots that have been gone for a month; `place` holds that of all roots."""
    for directory in _all(place):
        if directory == keep or (descriptor := _try_hold(directory)) is None:
            continue
        try:
            note = _read_note(directory)
            if note is not None and _has_gone_for_long(directory, note.path):
                shutil.rmtree(directory, ignore_errors=True)
                notice(f"the state of {note.path} was dropped: it went {KEPT_AFTER / 86400:.0f} days ago")
        finally:
            os.close(descriptor)


def drop_gone_roots(base: str, notice: Notice) -> None:
    """The same below a state directory."""
    drop_gone(os.path.join(base, _PLACE), notice)


def with_pending_work(base: str) -> Iterator[str]:
    """The roots that stand where they did, and have work in their journals, or owe a look at everything."""
    for directory in _all(os.path.join(base, _PLACE)):
        note = _read_note(directory)
        if note is None or not os.path.isdir(note.path):
            continue
        installations = [os.path.join(directory, name) for name in os.listdir(directory)]
        paid = note.debt is None or any(
            files.read(os.path.join(each, PAID)) == note.debt.name for each in installations
        )
        if not paid or any(any(Journal(each).entries()) for each in installations):
            yield note.path


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


def _bound_together(place: str, notice: Notice, keep: str) -> None:
    """Forget the roots that were served longest ago, until what is left has room."""
    directories = list(_all(place))
    if len(directories) <= LARGEST_TOGETHER // LARGEST:
        return
    by_age = sorted(directories, key=_last_served)
    sizes = {directory: measure(directory) for directory in by_age}
    excess = sum(sizes.values()) - LARGEST_TOGETHER
    for directory in by_age:
        if excess <= 0:
            return
        if directory == keep or (descriptor := _try_hold(directory)) is None:
            continue
        try:
            note = _read_note(directory)
            if note is None:
                shutil.rmtree(directory, ignore_errors=True)
            elif sizes[directory] > _SMALL:
                _forget_other(place, note)
                together = LARGEST_TOGETHER >> 20
                notice(f"{note.path}: its state was forgotten, that of all roots takes more than {together} MiB")
            excess -= sizes[directory]
        finally:
            os.close(descriptor)


#: Bytes. What a root has that owes everything and knows nothing.
_SMALL = 16 << 10


def _forget_other(place: str, note: _Note) -> None:
    other = RootState(place, note.path, note.identity)
    with contextlib.suppress(OSError):
        other._forget()


def _all(place: str) -> Iterator[str]:
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
    said: Any = files.read(os.path.join(directory, _NOTE))
    try:
        if said["format"] != _FORMAT:
            return None
        device, inode, birth = map(int, said["identity"])
        debt = said["debt"]
        return _Note(
            os.fsdecode(bytes.fromhex(said["path"])),
            (device, inode, birth),
            None if debt is None else Debt(str(debt[0]), float(debt[1])),
            bool(said["is_clear"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None


def _new_debt() -> Debt:
    return Debt(os.urandom(8).hex(), time.time())


def _hold(directory: str) -> int | None:
    """A root's directory, made if need be, with a lock that ends with the descriptor; None if another run has it."""
    make_own(directory)
    with contextlib.suppress(FileNotFoundError):  # dropped while it was made
        return files.hold_directory(directory)
    return None


def _try_hold(directory: str) -> int | None:
    try:
        return files.hold_directory(directory)
    except OSError:
        return None
