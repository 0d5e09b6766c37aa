"""The lock of an installation: its holder writes bytecode, the others wait, and can name the holder.

A free lock is taken by one flock(2); only waiting for one that is held is left to filelock, whose import takes longer
than the rest of a hook. Both lock the same file in the same way. Facts: flock(2) is released when its holder ends,
however that ends. The holder's note is a separate file, since filelock up to 3.19 (the last for Python 3.9) truncates
the lock file in every waiter. filelock's soft lock is never used: it outlives its holder.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

from ..errors import LockTimeoutError
from ..typed import Any, NamedTuple
from .locations import lock_file, make_own

#: Seconds of waiting before the wait is announced.
_ANNOUNCE_AFTER = 2.0
_POLL = 0.05


class NoLocksError(OSError):
    """The system or file system doesn't support flock(2)."""


class Holder(NamedTuple):
    """The process that holds a lock."""

    pid: int
    command: str
    since: float
    """Seconds since the epoch."""

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} ({self.command}) since {since}"


class InstallationLock:
    """The lock of one installation, below `directory`. Raises RefusedError and OSError if there can't be one."""

    def __init__(self, directory: str, installation: str) -> None:
        make_own(directory)
        self._path = lock_file(directory, installation)
        self._note = os.path.join(directory, installation + ".owner")
        #: Of the lock file, while we hold a lock that was free.
        self._taken: int | None = None
        #: filelock's lock, once we have waited for one that was held.
        self._awaited: Any = None

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self.descriptor is not None

    @property
    def descriptor(self) -> int | None:
        """The descriptor of the lock file, or None while we don't hold it. A duplicate of it holds the lock, too."""
        if self._taken is not None:
            return self._taken
        context = getattr(self._awaited, "_context", None)
        found = context.lock_file_fd if context is not None else getattr(self._awaited, "_lock_file_fd", None)
        return found if isinstance(found, int) else None

    def acquire(self, timeout: float, announce: Callable[[str], None], seen: int | None = None) -> bool:
        """Take the lock within `timeout` seconds.

        Returns whether another process has held it since its last use was `seen`.

        A wait of more than two seconds is announced, with the holder. Raises LockTimeoutError, and NoLocksError.
        """
        made = self._take()
        has_waited = not self.held
        if has_waited and timeout:
            self._wait(timeout, announce)
        if not self.held:
            holder = _holder_in(self._note)
            raise LockTimeoutError(timeout, str(holder) if holder else None)
        is_unseen = self._mark_use() not in (seen, made)
        self._leave_note()
        return has_waited or is_unseen

    def _take(self) -> int | None:
        """Take the lock if it is free. Returns the time of the last use that a new lock file has, or None."""
        import fcntl

        flags, made = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, None
        try:
            descriptor = os.open(self._path, flags | os.O_EXCL, 0o600)
            made = os.fstat(descriptor).st_atime_ns
        except FileExistsError:
            descriptor = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise NoLocksError(error.errno, error.strerror) from error
        else:
            self._taken = descriptor
            _held_here.add(self)
        return made

    def _wait(self, timeout: float, announce: Callable[[str], None]) -> None:
        """Wait until its holder gives it back, and take it then."""
        end = time.monotonic() + timeout
        self._awaited = _file_lock(self._path)
        if not _is_acquired(self._awaited, min(_ANNOUNCE_AFTER, timeout)):
            announce(f"waiting for the lock, held by {_holder_in(self._note) or 'an unknown process'}")
            _is_acquired(self._awaited, max(0.0, end - time.monotonic()))

    def release(self) -> None:
        """Release the lock, also for those that have a duplicate of its descriptor."""
        import fcntl

        if not self.held:
            return
        self._mark_use()
        with contextlib.suppress(OSError):
            os.unlink(self._note)
        if self._taken is None:
            self._awaited.release()
        else:
            fcntl.flock(self._taken, fcntl.LOCK_UN)
            self._close()

    def _close(self) -> None:
        if self._taken is not None:
            os.close(self._taken)
            self._taken = None
        _held_here.discard(self)

    def _mark_use(self) -> int | None:
        """Note that somebody has used the lock, when it is taken and when it is given back; when the last use was.

        The time of the last access says so: nobody reads the file, and older filelocks change the other times.
        """
        if self.descriptor is None:
            return None
        before = os.fstat(self.descriptor)
        with contextlib.suppress(OSError):
            os.utime(self.descriptor, ns=(time.time_ns(), before.st_mtime_ns))
        return before.st_atime_ns

    def _leave_note(self) -> None:
        command = " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:4]])
        holder = Holder(os.getpid(), command[:120], time.time())
        with contextlib.suppress(OSError):  # a full disk: the lock is held anyway
            temporary = f"{self._note}.tmp"  # always the same name: only the holder writes it, and it replaces residue
            with open(temporary, "w", encoding="ascii") as file:  # JSON escapes all other characters
                json.dump(holder._asdict(), file)
            os.replace(temporary, self._note)


#: The locks that we have taken.
_held_here: set[InstallationLock] = set()


def _let_go() -> None:
    for lock in [*_held_here]:
        lock._close()


# A process that is forked meanwhile must not hold them on once we have ended: whoever is to gets a duplicate. filelock
# does so for its own in later releases.
os.register_at_fork(after_in_child=_let_go)


def _holder_in(note: str) -> Holder | None:
    """Returns the holder that a note names, or None without a readable one."""
    try:
        with open(note, "rb") as file:
            said = json.loads(file.read(4096))
        return Holder(int(said["pid"]), str(said["command"]), float(said["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def current_holder(directory: str | None, installation: str) -> Holder | None:
    """Returns the current holder of an installation's lock, without waiting, or None."""
    import fcntl

    if directory is None:
        return None
    try:
        descriptor = os.open(lock_file(directory, installation), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        note = _holder_in(os.path.join(directory, installation + ".owner"))
        return note or Holder(0, "unknown", 0.0)
    except OSError:
        return None  # flock(2) isn't supported, so there is no holder
    finally:
        os.close(descriptor)
    return None


def _file_lock(path: str) -> Any:
    import filelock

    options: dict[str, Any] = {"mode": 0o600, "thread_local": False}
    if "fallback_to_soft" in filelock.UnixFileLock.__init__.__code__.co_varnames:
        options["fallback_to_soft"] = False  # newer releases fall back to a soft lock where flock(2) is missing
    return filelock.UnixFileLock(path, **options)


def _is_acquired(lock: Any, seconds: float) -> bool:
    """Take filelock's lock. Returns whether that could be done in so many seconds."""
    try:
        with _tolerated_fchmod():
            lock.acquire(timeout=seconds, poll_interval=_POLL)
    except TimeoutError as error:
        if error.errno is not None:  # ETIMEDOUT of a network file system, not filelock's time-out
            raise
        return False
    return True


@contextlib.contextmanager
def _tolerated_fchmod() -> Iterator[None]:
    """Turn every error of fchmod(2) into a PermissionError, the only one that filelock ignores.

    Up to 4.3 at least, any other one, like the ENOSYS of a sandbox's filter, ends it. The mode is right since open(2).
    """

    def fchmod(fd: int, mode: int) -> None:
        try:
            kernels(fd, mode)
        except OSError as error:
            raise PermissionError(error.errno, error.strerror) from error

    kernels, os.fchmod = os.fchmod, fchmod
    try:
        yield
    finally:
        os.fchmod = kernels
