"""One call of pyctrigger: what its request means on this system, and what all of its installations share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import NoEnvironmentError, NoLibraryError, PyctriggerError
from ..outcome.observer import Observer
from ..outcome.report import Report
from ..packages.ownership import Ownership
from ..state.probed import ProbedInterpreters
from ..state.store import Store
from .backlog import drop_gone
from .plan.knowledge import ownership_in
from .scope.request import Request, Work
from .scope.stored import load_settings, open_known
from .scope.target import Assignment, Target
from .targets import divided, find_assignments

if TYPE_CHECKING:
    from .recording import Recording


class Operation:
    """Its settings are known from the start; all else is found by `prepare`.

    Raises UsageError and ConfigurationError.
    """

    store: Store
    probed: ProbedInterpreters
    ownership: Ownership

    def __init__(self, request: Request, observer: Observer) -> None:
        request.check()
        self.settings, self._trouble = load_settings(request)
        if self._trouble is not None:
            request = request._replace(running=request.running._replace(defer=True))
        self.request = request
        self.observer = observer
        self.report = Report(request.work.value, dry_run=request.running.dry_run)
        #: One for each target: of several environments each has its own paths.
        self.assignments: list[Assignment] = []
        #: The requests of which an interpreter can't be used, about one environment or about none, and why.
        self.unserved: list[tuple[Request, PyctriggerError]] = []
        self._recording: Recording | None = None

    @property
    def targets(self) -> list[Target]:
        """Those of all assignments."""
        return [assignment.target for assignment in self.assignments]

    def prepare(self) -> None:
        """Find all targets, and all that serves them. Raises UsageError and RefusedError."""
        request, report, scope = self.request, self.report, self.request.scope
        self.store, self.probed = open_known(request, self.observer)
        self._began = time.time()
        self.ownership = ownership_in(scope.root, self.observer.notice)
        report.errors += [self._trouble] if self._trouble is not None else []
        drop_gone(request, self.store, self.probed, self.settings, self.observer)
        for each in divided(request, self.observer.notice, report.errors):
            told = len(report.errors)
            self.assignments += find_assignments(each, self.settings, self.store, self.probed, report)
            self.unserved += [(each, error) for error in report.errors[told:]]
        self._join_errors()
        if scope.prefixes_below and not (self.assignments or report.errors):
            message = f"--prefix-below {', '.join(scope.prefixes_below)}: no environment of {', '.join(scope.pythons)}"
            report.errors.append(NoEnvironmentError(message, hint="leave out --python to serve those that are there"))
        is_told = request.work.writes or request.work is Work.VERIFY  # the others' answers name them
        # An environment's line names it.
        found = [target.interpreter for target in self.targets if target.prefix is None]
        if is_told and not (scope.pythons or scope.cache_tag or self._trouble) and found:
            self.observer.found([f"{each.flavour} ({each.executable})" for each in found])

    def _join_errors(self) -> None:
        """Say once where several flavours have no standard library."""
        report = self.report
        without_library = [error for error in report.errors if isinstance(error, NoLibraryError)]
        if len(without_library) > 1:
            one = NoLibraryError.of_all(without_library)
            report.errors = [one, *(error for error in report.errors if error not in without_library)]
            self.unserved = [(each, one if error in without_library else error) for each, error in self.unserved]

    # -- its record in the history -------------------------------------------------------------------------------

    @property
    def _is_recorded(self) -> bool:
        running = self.request.running
        return self.request.work.writes and not (running.dry_run or running.stateless)

    def begin_record(self) -> None:
        """Something is going to be changed. An idle hook comes not here, and costs nothing."""
        if self._recording is None and self._is_recorded:
            self._recording = self._record()
            self._recording.begin()

    def end_record(self) -> None:
        """All is done, or has failed."""
        is_idle = self._recording is None and self.request.running.hook and not _has_news(self.report)
        if self._is_recorded and not is_idle:
            (self._recording or self._record()).end(self.report)

    def _record(self) -> Recording:
        from .recording import Recording

        return Recording(self.request, self.store, self._began, self.observer.notice)


def _has_news(report: Report) -> bool:
    """Whether a hook's call did, left or met with anything."""
    return bool(report.errors) or any(
        run.deferred or run.tally.counts.changes or run.tally.failures or run.tally.unexamined for run in report.runs
    )
