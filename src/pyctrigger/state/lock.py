"""The one lock of an installation: who holds it writes its bytecode, the others wait and know for whom.

Facts: flock(2) ends with its holder, however that ends. The holder's note is a file of its own, since filelock up to
3.19 (the last for Python 3.9) truncates the lock file in every waiter. A soft lock is no lock here: it outlives its
holder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LockTimeoutError
from .locations import make_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds of waiting before the wait is announced.
_ANNOUNCE_AFTER = 2.0
_POLL = 0.05


class NoLocksError(OSError):
    """This system, or this file system, has no flock(2): nobody can have a lock here."""


class Holder(NamedTuple):
    """Who holds a lock."""

    pid: int
    command: str
    since: float
    """Seconds since the epoch."""

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} ({self.command}) since {since}"


class InstallationLock:
    """The lock of one installation, below `directory`. Raises RefusedError and OSError where it can't be had."""

    def __init__(self, directory: str, installation: str) -> None:
        make_own(directory)
        self._note = os.path.join(directory, installation + ".owner")
        self._lock = _hard_lock(os.path.join(directory, installation + ".lock"))
        self._lacks_fchmod = False

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return bool(self._lock.is_locked)

    @property
    def descriptor(self) -> int | None:
        """Of the lock file; None while we don't hold it. Who has a copy of it has the lock, too."""
        context = getattr(self._lock, "_context", None)
        found = context.lock_file_fd if context is not None else getattr(self._lock, "_lock_file_fd", None)
        return found if isinstance(found, int) else None

    def acquire(self, timeout: float, announce: Callable[[str], None]) -> bool:
        """Take the lock within `timeout` seconds; whether somebody else had it meanwhile.

        A wait of more than two seconds is announced, with the holder. Raises LockTimeoutError.
        """
        waited = False
        self._find_refusals()
        deadline = time.monotonic() + timeout
        for patience in (0.0, min(_ANNOUNCE_AFTER, timeout), None):
            left = max(0.0, deadline - time.monotonic())
            if self._try(left if patience is None else patience):
                self._leave_note()
                return waited
            waited = True
            if patience:
                announce(f"waiting for the lock, held by {self.holder() or 'a process that left no note'}")
        holder = self.holder()
        raise LockTimeoutError(timeout, str(holder) if holder else None)

    def _try(self, seconds: float) -> bool:
        try:
            with _forgiving_fchmod() if self._lacks_fchmod else contextlib.nullcontext():
                self._lock.acquire(timeout=seconds, poll_interval=_POLL)
        except TimeoutError as error:
            if error.errno is not None:  # a network file system's, not the lock's
                raise
            return False
        return True

    def _find_refusals(self) -> None:
        """Raise NoLocksError where filelock would take a refusal for somebody else's lock, and wait for its end."""
        import fcntl

        descriptor = os.open(self._lock.lock_file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
        """Give it back."""
        if self.held:
            with contextlib.suppress(OSError):
                os.unlink(self._note)
            self._lock.release()

    def holder(self) -> Holder | None:
        """Who says to hold it; None without a readable note."""
        return read_holder(self._note)

    def _leave_note(self) -> None:
        command = " ".join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:4]])
        holder = Holder(os.getpid(), command[:120], time.time())
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            temporary = f"{self._note}.tmp"  # one name for all: who holds the lock is alone, and uses up what is left
            with open(temporary, "w", encoding="utf-8", errors="replace") as file:
                json.dump(holder._asdict(), file)
            os.replace(temporary, self._note)


def read_holder(note: str) -> Holder | None:
    """Read a holder's note."""
    try:
        with open(note, encoding="utf-8", errors="replace") as file:
            said = json.loads(file.read(4096))
        return Holder(int(said["pid"]), str(said["command"]), float(said["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def current_holder(directory: str | None, installation: str) -> Holder | None:
    """Who holds the lock of an installation at this moment, without waiting; None if nobody does."""
    import fcntl

    if directory is None:
        return None
    try:
        descriptor = os.open(os.path.join(directory, installation + ".lock"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        note = read_holder(os.path.join(directory, installation + ".owner"))
        return note or Holder(0, "unknown", 0.0)
    except OSError:
        return None  # no flock(2) here, and so no holder
    finally:
        os.close(descriptor)
    return None


@contextlib.contextmanager
def _forgiving_fchmod() -> Iterator[None]:
    """Make each refusal of fchmod(2) a PermissionError, the only one that filelock goes on after.

    Up to 4.3 at least it ends with any other, like the ENOSYS of a sandbox's filter. open(2) gave the file its mode.
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
        options["fallback_to_soft"] = False  # newer filelocks would fall back where flock(2) is missing
    return kind(path, **options)


#: Where filelock defines `UnixFileLock`: its releases up to 4.2, and those from 4.3 on.
_HOMES = ("filelock._unix", "filelock._native._unix")


@functools.cache
def _unix_file_lock() -> Any:
    """Import UnixFileLock with what it needs, and nothing else of filelock.

    Its other locks need asyncio, ssl, socket or sqlite3, and many releases import all of that at once: more than the
    rest of a hook. The modules imported here stay ours: whoever else imports filelock gets the whole.
    """
    import threading

    if "filelock" not in sys.modules and threading.active_count() == 1:  # another thread might meet the half
        try:
            return _import_alone()
        except (ImportError, AttributeError):
            pass  # of a release with another layout the whole will do; test_lock.py shows that it costs more
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "filelock"]:
                del sys.modules[name]
    import filelock

    return filelock.UnixFileLock


def _import_alone() -> Any:
    """UnixFileLock from its module, below a package whose own code doesn't run. Raises ImportError, AttributeError."""
    import importlib

    package = ModuleType("filelock")
    # As importlib.util.find_spec does, which costs a hook its import.
    found = (finder.find_spec("filelock", None) for finder in sys.meta_path)
    package.__spec__ = next((spec for spec in found if spec is not None), None)
    package.__path__ = list(package.__spec__.submodule_search_locations or ()) if package.__spec__ else []
    sys.modules["filelock"] = package
    for home in _HOMES:
        try:
            return importlib.import_module(home).UnixFileLock
        except ModuleNotFoundError as error:
            if error.name is None or not f"{home}.".startswith(f"{error.name}."):
                raise
    raise ModuleNotFoundError(f"no UnixFileLock in {', '.join(_HOMES)}")
