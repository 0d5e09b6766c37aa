"""What the work on one installation shares, from the journal to the lock, and where its results go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..outcome.observer import Observer
from ..outcome.outcome import Tally
from ..outcome.report import FlavourReport
from ..state.records.manifest import Manifest
from ..state.records.parts import Parts
from .backlog import Backlog
from .entrance import Entrance
from .operation import Operation
from .plan.results import Results
from .scope.request import Request, Work
from .scope.target import Assignment

if TYPE_CHECKING:
    from .scope.forked import Relay


class Workspace:
    """The work on one installation."""

    def __init__(self, operation: Operation, own: Assignment, report: FlavourReport) -> None:
        target, self.request, _ = own
        self.installation = target.installation
        self.settings = operation.settings
        self.store = operation.store
        self.probed = operation.probed
        self.observer: Observer = operation.observer
        self.ownership = operation.ownership
        self.report = report
        self.backlog = Backlog(operation.store, self.installation, operation.observer)
        self.entrance = Entrance(
            self.installation, self.request.running, operation.settings, operation.store, operation.observer
        )
        #: What a hook's glance has found besides.
        self.found: Request | None = None
        self._operation = operation
        self._known_parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """What hooks compare at a glance."""
        if self._known_parts is None:
            self._known_parts = self.store.parts(self.installation)
        return self._known_parts

    def forget_parts(self) -> None:
        """Somebody else has written them."""
        self._known_parts = None

    def enter(self) -> bool:
        """Before the first change: the journal, the lock, the history. Whether what was read may be out of date.

        Raises LockTimeoutError, and UsageError where there can be no lock.
        """
        if self.entrance.is_lockless or self.entrance.is_passed:
            return False
        if self.request.work in (Work.RUN, Work.REPAIR) and not self.request.running.hook:  # a hook did so at once
            self.backlog.announce(self.request)
        is_outdated = self.entrance.pass_through()
        if self.found is not None:
            self.backlog.announce_besides(self.found)
        self._operation.begin_record()
        return is_outdated

    def keep(self, results: Results, manifest: Manifest) -> None:
        """Say what was left, save what was done, and hand over what became of the files."""
        results.tell_places()
        self.save(results, manifest)
        self._take(results.tally)
        if results.tally.counts.compiled and self.store.base is not None and manifest.lacks_sqlite:
            self.observer.notice(
                "this Python has no module sqlite3: every run looks at everything anew, and no history is kept"
            )

    def save(self, results: Results, manifest: Manifest) -> None:
        """What was written is on the disk before the manifest says so, and that before the journal forgets it."""
        try:
            if results.sync():
                self.parts.load()
                manifest.save()
                self.parts.save()
        except OSError as error:
            self.store.give_up(error)
            self.store.tell()

    def _take(self, tally: Tally) -> None:
        self.report.tally.add(tally)


class WorkspaceApart(Workspace):
    """The same in a process that was forked: the parent has the lock, the journal, the history and the report."""

    def __init__(self, workspace: Workspace, relay: Relay) -> None:
        vars(self).update(vars(workspace))
        self.store.tell_to(relay.notice)
        self.observer = relay
        self.ownership = workspace.ownership.anew(relay.notice)
        self.forget_parts()
        self._relay = relay
        self._has_entered = False

    def enter(self) -> bool:
        if self._has_entered:
            return False
        self._has_entered = True
        return self._relay.enter()

    def _take(self, tally: Tally) -> None:
        self._relay.send("take", tally)
