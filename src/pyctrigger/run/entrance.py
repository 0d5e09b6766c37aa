"""Taking the lock of an installation, or going without where this system has none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..state.locations import lock_directory

if TYPE_CHECKING:
    from ..state.lock import InstallationLock
    from .scope.request import Request
    from .scope.service import Service

#: Seconds that a hook waits for the lock before it leaves its work in the journal.
HOOK_LOCK_TIMEOUT = 30.0


class Entrance:
    """The lock of one request's run."""

    def __init__(self, request: Request, service: Service) -> None:
        self._request = request
        self._settings = service.settings
        self._observer = service.observer
        self._store = service.store
        self._lock: InstallationLock | None = None
        #: This system has no locks: the work is done as with `--stateless`.
        self.is_lockless = False

    @property
    def is_passed(self) -> bool:
        """Whether we have the lock."""
        return self._lock is not None and self._lock.held

    @property
    def descriptor(self) -> int | None:
        """Of the lock, while we have it."""
        return self._lock.descriptor if self._lock is not None else None

    def pass_through(self, installation: str) -> bool:
        """Take the lock of an installation; whether somebody else had it meanwhile.

        Raises LockTimeoutError, and UsageError where none can be made.
        """
        from ..state.lock import InstallationLock, NoLocksError

        directory = lock_directory(self._store.base)
        try:
            if directory is None:
                raise NoLocksError(errno.ENOENT, "this account has no directory of its own")
            if self._lock is None:
                self._lock = InstallationLock(directory, installation)
            return self._lock.acquire(self._patience(), self._observer.notice)
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
        if self._request.running.lock_timeout is not None:
            return self._request.running.lock_timeout
        if self._request.running.hook:
            return min(HOOK_LOCK_TIMEOUT, self._settings.lock_timeout)
        return self._settings.lock_timeout


def _is_root_of_a_namespace() -> bool:
    """Whether root's fixed places are another root's."""
    from ..namespaces import is_restricted

    return os.geteuid() == 0 and is_restricted()
