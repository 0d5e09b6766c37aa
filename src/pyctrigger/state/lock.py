"""The lock of an installation: its holder writes bytecode, the others wait, and can name the holder.

Facts: flock(2) is released when its holder ends, however that ends. The holder's note is a separate file, since
filelock up to 3.19 (the last for Python 3.9) truncates the lock file in every waiter. filelock's soft lock is never
used: it outlives its holder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from ..errors import LockTimeoutError
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
        self._note = os.path.join(directory, installation + ".owner")
        self._lock = _hard_lock(lock_file(directory, installation))
        self._made: int | None = None
        self._lacks_fchmod = False

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return bool(self._lock.is_locked)

    @property
    def descriptor(self) -> int | None:
        """The descriptor of the lock file, or None while we don't hold it. A duplicate of it holds the lock, too."""
        context = getattr(self._lock, "_context", None)
        found = context.lock_file_fd if context is not None else getattr(self._lock, "_lock_file_fd", None)
        return found if isinstance(found, int) else None

    def acquire(self, timeout: float, announce: Callable[[str], None], seen: int | None = None) -> bool:
        """Take the lock within `timeout` seconds.

        Returns whether another process has held it since its last use was `seen`.

        A wait of more than two seconds is announced, with the holder. Raises LockTimeoutError.
        """
        waited = False
        self._find_refusals()
        deadline = time.monotonic() + timeout
        for patience in (0.0, min(_ANNOUNCE_AFTER, timeout), None):
            left = max(0.0, deadline - time.monotonic())
            if self._acquire_within(left if patience is None else patience):
                waited |= self._mark_use() not in (seen, self._made)
                self._leave_note()
                return waited
            waited = True
            if patience:
                announce(f"waiting for the lock, held by {_holder_in(self._note) or 'an unknown process'}")
        holder = _holder_in(self._note)
        raise LockTimeoutError(timeout, str(holder) if holder else None)

    def _acquire_within(self, seconds: float) -> bool:
        try:
            with _tolerated_fchmod() if self._lacks_fchmod else contextlib.nullcontext():
                self._lock.acquire(timeout=seconds, poll_interval=_POLL)
        except TimeoutError as error:
            if error.errno is not None:  # ETIMEDOUT of a network file system, not filelock's time-out
                raise
            return False
        return True

    def _find_refusals(self) -> None:
        """Raise NoLocksError if flock(2) is refused: filelock would take that for another holder, and wait."""
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._lock.lock_file, flags | os.O_EXCL, 0o600)
            self._made = os.fstat(descriptor).st_atime_ns
        except FileExistsError:
            descriptor = os.open(self._lock.lock_file, flags, 0o600)
        try:
            try:
                os.fchmod(descriptor, 0o600)
            except OSError:
                self._lacks_fchmod = True
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            raise NoLocksError(error.errno, error.strerror) from error
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Release the lock."""
        if self.held:
            self._mark_use()
            with contextlib.suppress(OSError):
                os.unlink(self._note)
            self._lock.release()

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


def _hard_lock(path: str) -> Any:
    kind = _unix_file_lock()
    options: dict[str, Any] = {"mode": 0o600, "thread_local": False}
    if "fallback_to_soft" in kind.__init__.__code__.co_varnames:
        options["fallback_to_soft"] = False  # newer releases fall back to a soft lock where flock(2) is missing
    return kind(path, **options)


#: The module that defines `UnixFileLock`: in filelock up to 4.2, and from 4.3 on.
_MODULES = ("filelock._unix", "filelock._native._unix")


@functools.cache
def _unix_file_lock() -> Any:
    """Import UnixFileLock and what it needs, without the rest of filelock.

    Its other locks need asyncio, ssl, socket or sqlite3, and many releases import all of them at once, which takes
    longer than the rest of a hook. The modules imported here stay private: other code that imports filelock gets all of
    it.
    """
    import threading

    if "filelock" not in sys.modules and threading.active_count() == 1:  # another thread could see half of the package
        try:
            return _import_alone()
        except (ImportError, AttributeError):
            pass  # a release with another layout: import all of it, which takes longer (see test_lock.py)
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "filelock"]:
                del sys.modules[name]
    import filelock

    return filelock.UnixFileLock


def _import_alone() -> Any:
    """Import UnixFileLock's module without running the package's __init__. Raises ImportError, AttributeError."""
    import importlib

    package = ModuleType("filelock")
    # As in importlib.util.find_spec, whose import takes a hook too long.
    found = (finder.find_spec("filelock", None) for finder in sys.meta_path)
    package.__spec__ = next((spec for spec in found if spec is not None), None)
    package.__path__ = list(package.__spec__.submodule_search_locations or ()) if package.__spec__ else []
    sys.modules["filelock"] = package
    for home in _MODULES:
        try:
            return importlib.import_module(home).UnixFileLock
        except ModuleNotFoundError as error:
            if error.name is None or not f"{home}.".startswith(f"{error.name}."):
                raise
    raise ModuleNotFoundError(f"no UnixFileLock in {', '.join(_MODULES)}")
