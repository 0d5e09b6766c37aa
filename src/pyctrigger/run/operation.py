"""One call of pyctrigger: what its request means on this system, and what all of its installations share."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

from ..errors import InterpreterError, NoEnvironmentError, NoLibraryError, OutsideScopeError, PyctriggerError
from ..outcome.observer import Observer
from ..outcome.report import Report
from ..typed import TYPE_CHECKING
from .backlog import IN_JOURNAL, KEPT, Unidentified, drop_gone
from .scope.interpreters import find_interpreters, sharing
from .scope.request import Request, Work
from .scope.stored import load_settings, open_known
from .scope.target import Assignment, Target, display_names, find_target, keep_shared, widening

if TYPE_CHECKING:
    from ..packages.ownership import Ownership
    from ..store.remote.asking import RemoteStore
    from .recording import Recording


class Operation:
    """A call. Its settings are known from the start; `prepare` finds everything else.

    Raises UsageError and ConfigurationError.
    """

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

    @cached_property
    def ownership(self) -> Ownership:
        """What packages own, on this system or in the root."""
        from ..packages.ownership import Ownership  # a hook that touches nothing needs none

        root, files = self.request.scope.root, None
        if root is not None:
            from .scope.root_files import files_of  # not for this system's own hooks

            files = files_of(root)
        return Ownership(files, self.observer.notice)

    @cached_property
    def remote(self) -> RemoteStore | None:
        """The store of another machine, if one is configured: what is waited for it is counted for the whole call."""
        settings = self.settings
        if not settings.has_remote_store:
            return None
        from ..store.remote.asking import RemoteSettings, RemoteStore  # few have one

        configured = RemoteSettings(
            settings.store_url, settings.store_trusted_keys, settings.store_password_file, settings.store_timeout
        )
        try:
            return RemoteStore(configured)
        except OSError as error:
            self.observer.notice(f"the store can't be asked: {error.strerror}")
            return None

    @property
    def shared_descriptors(self) -> list[int]:
        """What a process that continues this call has to keep open."""
        return [] if self.remote is None else self.remote.descriptors

    def close(self) -> None:
        """End what served all of its installations, and report what is to be said of it."""
        remote = vars(self).pop("remote", None)
        if remote is not None:
            self.report.notices += remote.notices()
            remote.close()

    def say_kept(self) -> None:
        """Say of a configuration that can't be used that the hook's work is in the journal, if it is."""
        if self._trouble is not None and any(run.deferred for run in self.report.runs):
            self._trouble.add_hint(KEPT)
            self._trouble.is_work_kept = True

    @property
    def targets(self) -> list[Target]:
        """The targets of all assignments."""
        return [assignment.target for assignment in self.assignments]

    def prepare(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Find all targets, and what they share. `meanwhile` is called while an interpreter says what it is.

        Raises UsageError and RefusedError.
        """
        request, report, scope = self.request, self.report, self.request.scope
        self.store, self.probed = open_known(request, self.observer)
        self.probed.meanwhile = meanwhile
        self._began = time.time()
        report.errors += [self._trouble] if self._trouble is not None else []
        drop_gone(request, self.store, self.probed, self.settings, self.observer)
        for each in divided(request, self.observer.notice, report.errors):
            errors = self._find_assignments(each)
            report.errors += errors
            self.unserved += [(each, error) for error in errors]
        self._join_errors()
        if scope.prefixes_below and not (self.assignments or report.errors):
            message = f"--prefix-below {', '.join(scope.prefixes_below)}: no environment of {', '.join(scope.pythons)}"
            report.errors.append(NoEnvironmentError(message, hint="leave out --python to use those that exist"))
        names_them = request.work.writes or request.work is Work.VERIFY  # the others' answers do so
        # An environment's line names it.
        found = [target.interpreter for target in self.targets if target.prefix is None]
        if names_them and not (scope.pythons or scope.cache_tag or self._trouble) and found:
            self.observer.found([f"{each.flavour} ({each.executable})" for each in found])

    def move_apart(self, observer: Observer) -> None:
        """Continue in a forked process. `observer` passes everything on to the parent."""
        self.observer = observer
        self.store.send_notices_to(observer.notice)
        self.ownership = self.ownership.anew(observer.notice)

    # -- its targets ---------------------------------------------------------------------------------------------

    def _find_assignments(self, request: Request) -> list[PyctriggerError]:
        """Find the targets of a request about at most one environment. Returns errors of those that can't be used."""
        scope = request.scope
        assignments: list[Assignment] = []
        errors: list[PyctriggerError] = []
        for number, found in enumerate(find_interpreters(request, self.settings, self.probed)):
            try:
                if isinstance(found, InterpreterError) and scope.pythons:
                    self._keep_unserved(scope.pythons[number], request, found)
                if isinstance(found, PyctriggerError):
                    raise found
                target = find_target(found, request, self.settings)
                if (request.work is Work.PURGE and scope.pythons) or target.interpreter.is_gone:
                    target = self._spare_shared(target, request)
                elif request.work is Work.PURGE:
                    # Of several interpreters with one cache tag the first has it removed.
                    tag = target.interpreter.cache_tag
                    twins = [each.target for each in assignments if each.target.interpreter.cache_tag == tag]
                    target, _ = keep_shared(target, twins, scope.root)
                    if twins and not target.sites:
                        continue
                # Under two names, as `3.13` and `python3`, it is served once.
                others = [each.target for each in assignments]
                if all((target.installation, target.sites) != (each.installation, each.sites) for each in others):
                    assignments.append(Assignment.of(target, request))
            except PyctriggerError as error:
                errors.append(error)
        self.assignments += assignments
        # An environment is of one of the flavours that were named, not of all; and one that was found may be of none.
        is_served = bool(assignments) or bool(scope.prefixes_below)
        return [error for error in errors if not (is_served and isinstance(error, NoEnvironmentError))]

    def _keep_unserved(self, python: str, request: Request, error: InterpreterError) -> None:
        """Keep a hook's work for an interpreter that exists and can't be started now: the next run does it."""
        running = request.running
        is_kept = request.work is Work.RUN and (running.hook or running.defer) and not running.dry_run
        if is_kept and not request.scope.root and Unidentified(self.store).keep(python, request, self.settings):
            error.hint = KEPT
            error.is_work_kept = True
            if "/" in python:  # other runs don't search there
                from shlex import quote

                error.hint = f"{IN_JOURNAL}, and the next run with --python {quote(python)} does it"

    def _spare_shared(self, target: Target, request: Request) -> Target:
        """Leave out directories whose pycs another flavour with the same cache tag uses: a purge spares them."""
        scope = request.scope
        if scope.site_dirs or scope.prefixes:
            return target  # they are no other interpreter's own
        twins = sharing(target.interpreter, self.probed, scope.root)
        others = [find_target(each, request, self.settings) for each in twins]
        spared, shared = keep_shared(target, others, scope.root)
        self.report.notices += [
            f"{path} is left as it is: another interpreter with this cache tag uses its bytecode" for path in shared
        ]
        return spared

    def _join_errors(self) -> None:
        """Report once that several flavours have no standard library."""
        report = self.report
        without_library = [error for error in report.errors if isinstance(error, NoLibraryError)]
        if len(without_library) > 1:
            one = NoLibraryError.of_all(without_library)
            report.errors = [one, *(error for error in report.errors if error not in without_library)]
            self.unserved = [(each, one if error in without_library else error) for each, error in self.unserved]

    def check_paths(self) -> bool:
        """Report paths that are in no scope: an error, unless it is a hook, which leaves them out.

        Returns whether the work can begin.
        """
        request, outside = self.request, set[str]()
        inside: set[str] = set()
        for _, own, touched in self.assignments:
            outside.update(touched.outside)
            inside.update(set(own.transaction.paths or ()).difference(touched.outside))
        outside -= inside
        if not outside:
            return True
        concerned = [
            each.target for each in self.assignments if not outside.isdisjoint(each.request.transaction.paths or ())
        ]
        sites = list(dict.fromkeys(site.path for target in concerned for site in target.sites))
        hint = widening(request, outside, concerned)
        error = OutsideScopeError(sorted(outside), ", ".join(display_names(concerned)), sites, hint=hint)
        if request.running.hook:
            self.observer.notice(str(error))
            return True
        self.report.errors.append(error)
        return False

    # -- its record in the history -------------------------------------------------------------------------------

    @property
    def _is_recorded(self) -> bool:
        running = self.request.running
        return self.request.work.writes and not (running.dry_run or running.stateless)

    def begin_record(self) -> None:
        """Record that something is about to change. An idle hook never calls this."""
        if self._recording is None and self._is_recorded:
            self._recording = self._record()
            self._recording.begin()

    def end_record(self) -> None:
        """Record the end of the call."""
        is_idle = self._recording is None and self.request.running.hook and not _has_news(self.report)
        if self._is_recorded and not is_idle:
            (self._recording or self._record()).end(self.report)

    def _record(self) -> Recording:
        from .recording import Recording

        return Recording(self.request, self.store, self._began, self.observer.notice)


def divided(request: Request, notice: Callable[[str], None], errors: list[PyctriggerError]) -> list[Request]:
    """Returns the request, or one for each environment that it means. `errors` gets what can't be found."""
    scope = request.scope
    names_one = len(scope.prefixes) < 2 and not scope.prefixes_below
    if names_one and (request.running.hook or scope.site_dirs or scope.prefixes or not request.transaction.paths):
        return [request]
    from .scope.environments import divide  # not for a hook of the system's

    return divide(request, notice, errors)


def _has_news(report: Report) -> bool:
    """Whether a hook's call has changed, deferred or failed anything."""
    return bool(report.errors) or any(
        run.deferred or run.tally.counts.changes or run.tally.failures or run.tally.unexamined for run in report.runs
    )
