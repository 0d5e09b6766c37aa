"""Taking the lock of an installation, or going without where this system has none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..outcome.observer import Observer
from ..state.locations import lock_directory, lock_file
from ..state.store import Store
from .scope.config import Settings
from .scope.request import Running

if TYPE_CHECKING:
    from ..state.lock import InstallationLock

#: Seconds that a hook waits for the lock before it leaves its work in the journal.
HOOK_LOCK_TIMEOUT = 30.0


class Entrance:
    """The lock of one installation, for one call."""

    def __init__(
        self, installation: str, running: Running, settings: Settings, store: Store, observer: Observer
    ) -> None:
        self._installation = installation
        self._running = running
        self._settings = settings
        self._observer = observer
        self._store = store
        self._lock: InstallationLock | None = None
        self._last_use: int | None = None
        #: The work is done without a lock: as it was asked, or since this system has none.
        self.is_lockless = running.stateless

    @property
    def is_passed(self) -> bool:
        """Whether we have the lock."""
        return self._lock is not None and self._lock.held

    @property
    def descriptor(self) -> int | None:
        """Of the lock, while we have it."""
        return self._lock.descriptor if self._lock is not None else None

    def look(self) -> None:
        """Before anything is read that somebody else may change: see when the lock was last used."""
        directory = None if self.is_lockless or self.is_passed else lock_directory(self._store.base)
        if directory is None:
            return
        try:
            self._last_use = os.stat(lock_file(directory, self._installation)).st_atime_ns
        except OSError:
            self._last_use = None

    def pass_through(self) -> bool:
        """Take the lock; whether what was read since the last look may be out of date.

        Raises LockTimeoutError, and UsageError where none can be made.
        """
        if self.is_lockless or self.is_passed:
            return False
        from ..state.lock import InstallationLock, NoLocksError

        directory = lock_directory(self._store.base)
        try:
            if directory is None:
                raise NoLocksError(errno.ENOENT, "this account has no directory of its own")
            if self._lock is None:
                self._lock = InstallationLock(directory, self._installation)
            return self._lock.acquire(self._patience(), self._observer.notice, self._last_use)
        except NoLocksError as error:
            return self._go_lockless(error)
        except OSError as error:
            if _is_root_of_a_namespace():
                return self._go_lockless(error)
            raise UsageError(
                f"no lock can be made in {directory}: {error.strerror}", hint="use --stateless to go without"
            ) from error

    def leave(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()

    def _go_lockless(self, error: OSError) -> bool:
        """Go on without a lock; what was read before is read again, since what is written gets other names."""
        if self._store.base is not None:  # or that is said already
            self._observer.notice(f"no lock can be had ({error.strerror}): it goes on as with --stateless")
        self.is_lockless = True
        return True

    def _patience(self) -> float:
        if self._running.lock_timeout is not None:
            return self._running.lock_timeout
        if self._running.hook:
            return min(HOOK_LOCK_TIMEOUT, self._settings.lock_timeout)
        return self._settings.lock_timeout


def _is_root_of_a_namespace() -> bool:
    """Whether root's fixed places are another root's."""
    from ..namespaces import is_restricted

    return os.geteuid() == 0 and is_restricted()
