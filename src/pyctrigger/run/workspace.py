"""What the work on one installation shares, from the journal to the lock, and where its results go."""

from __future__ import annotations

import os
from functools import cached_property

from ..errors import UsageError
from ..outcome.report import FlavourReport
from ..state.locations import lock_directory, lock_file
from ..typed import TYPE_CHECKING
from .backlog import Backlog
from .operation import Operation
from .scope.request import Request, Work
from .scope.target import Assignment

if TYPE_CHECKING:
    from ..state.lock import InstallationLock
    from ..state.records.manifest import Manifest
    from ..state.records.parts import Parts
    from .plan.results import Results
    from .scope.forked import Relay

#: Seconds that a hook waits for the lock before it leaves its work in the journal.
HOOK_LOCK_TIMEOUT = 30.0


class Workspace:
    """The work on one installation."""

    def __init__(self, operation: Operation, own: Assignment, report: FlavourReport) -> None:
        self.operation = operation
        self.request = own.request
        self.installation = own.target.installation
        self.report = report
        self.backlog = Backlog(operation.store, self.installation, operation.observer)
        #: What a hook's glance has found besides.
        self.found: Request | None = None
        #: The work is done without a lock: as it was asked, or since this system has none.
        self.is_lockless = own.request.running.stateless
        self._is_entered = False
        self._lock: InstallationLock | None = None
        self._last_use: int | None = None
        self._relay: Relay | None = None

    @cached_property
    def parts(self) -> Parts:
        """The notes for a hook's glance."""
        return self.operation.store.parts(self.installation)

    def forget_parts(self) -> None:
        """Have the notes read again: another process may have written them."""
        vars(self).pop("parts", None)

    def move_apart(self, relay: Relay) -> None:
        """Continue in a forked process. The parent has the lock, the journal, the history and the report."""
        self.operation.move_apart(relay)
        self.forget_parts()
        self._relay = relay

    # -- the lock ------------------------------------------------------------------------------------------------

    @property
    def lock_descriptors(self) -> list[int]:
        """The descriptor of the lock file, while we hold it: a process that we fork keeps it as well."""
        held = [] if self._relay is None else self._relay.kept
        own = None if self._lock is None else self._lock.descriptor
        return held if own is None else [*held, own]

    def note_last_use(self) -> None:
        """Record when the lock was last used, before anything is read that its holder may change."""
        directory = None if self.is_lockless or self._is_entered else lock_directory(self.operation.store.base)
        if directory is None:
            return
        try:
            self._last_use = os.stat(lock_file(directory, self.installation)).st_atime_ns
        except OSError:
            self._last_use = None

    def enter(self) -> bool:
        """Announce the work, take the lock and begin the history's record, before the first change.

        Returns whether what was read since the last use of the lock was noted may be out of date. Raises
        LockTimeoutError, and UsageError where there can be no lock.
        """
        if self.is_lockless or self._is_entered:
            return False
        if self._relay is not None:
            self._is_entered = True
            return self._relay.enter()
        if self.request.work in (Work.RUN, Work.REPAIR) and not self.request.running.hook:  # a hook did so at once
            self.backlog.announce(self.request)
        is_outdated = self._take_lock()
        # Not before: what a hook that waits in vain has found, the next hook's glance finds again.
        if self.found is not None:
            self.backlog.make_durable(self.found)
        self.operation.begin_record()
        return is_outdated

    def _take_lock(self) -> bool:
        """Take the lock, or continue without if this system has none: files get other temporary names then."""
        from ..state.lock import InstallationLock, NoLocksError

        base, observer = self.operation.store.base, self.operation.observer
        directory = lock_directory(base)
        try:
            if directory is None:
                raise NoLocksError
            self._lock = InstallationLock(directory, self.installation)
            is_outdated = self._lock.acquire(self._patience(), observer.notice, self._last_use)
            self._is_entered = True
        except OSError as error:
            if not (isinstance(error, NoLocksError) or _is_root_of_a_namespace()):
                raise UsageError(
                    f"can't make a lock in {directory}: {error.strerror}", hint="use --stateless to run without one"
                ) from error
            if base is not None:  # or it is said already that this account has no directory of its own
                observer.notice(f"no lock is available ({error.strerror}): continuing as with --stateless")
            self.is_lockless = is_outdated = True
        return is_outdated

    def leave(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()

    def _patience(self) -> float:
        running, configured = self.request.running, self.operation.settings.lock_timeout
        if running.lock_timeout is not None:
            return running.lock_timeout
        return min(HOOK_LOCK_TIMEOUT, configured) if running.hook else configured

    # -- results -------------------------------------------------------------------------------------------------

    def keep(self, results: Results, manifest: Manifest) -> None:
        """Save what was done, and add the tally to the report."""
        results.tell_places()
        results.tally.sort()
        self.save(results, manifest)
        if self._relay is not None:
            self._relay.send("take", results.tally)
        else:
            self.report.tally.add(results.tally)
        from ..state.sqlite import has_sqlite  # a hook that touches nothing keeps nothing

        if results.tally.counts.compiled and self.operation.store.base is not None and not has_sqlite():
            self.operation.observer.notice(
                "this Python has no module sqlite3: every run examines everything, and no history is kept"
            )

    def save(self, results: Results, manifest: Manifest) -> None:
        """Save records, after what they describe is on the disk, and before the journal drops the work."""
        try:
            if results.sync():
                self.parts.load()
                manifest.save()
                self.parts.save()
        except OSError as error:
            self.operation.store.give_up(error)
            self.operation.store.give_notice()


def _is_root_of_a_namespace() -> bool:
    """Whether this root's fixed places belong to another root."""
    from ..namespaces import is_restricted

    return os.geteuid() == 0 and is_restricted()
