"""What is to be done for one installation, turn by turn: its own request, and then what others left in the journal."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial

from ..errors import InterpreterChangedError, InterpreterError, LockTimeoutError, PyctriggerError, UsageError
from ..outcome.outcome import Tally
from ..state.journal import Entry, union
from ..typed import TYPE_CHECKING, NamedTuple
from .backlog import KEPT
from .scope.paths import Unit, Units, merge_units, subtract_units
from .scope.request import Request, Work
from .scope.sites import OpenSites
from .scope.target import Assignment, find_target
from .workspace import Workspace

if TYPE_CHECKING:
    from .apply.workers import Workers
    from .plan.wanted import Wanted


class Turn(NamedTuple):
    """One assignment, its site directories, and the journal entries whose work it is."""

    assignment: Assignment
    sites: OpenSites
    entries: list[Entry] | None = None
    """None for the call's own request, and what was joined to it."""
    early: Workers | None = None
    """Workers of which one was started while a glance still went on."""

    def end(self) -> None:
        """End what it has open."""
        self.sites.close()
        self.end_early()

    def end_early(self) -> None:
        """End a worker that nobody needed."""
        if self.early is not None:
            self.early.end()


class Agenda:
    """Yields the turns of an installation, and closes their journal entries."""

    def __init__(self, own: Assignment, workspace: Workspace) -> None:
        self._own = own
        self._target = own.target
        self._workspace = workspace
        self._operation = workspace.operation
        self._backlog = workspace.backlog
        self._does_pending = own.request.work in (Work.RUN, Work.REPAIR)
        self._early: Workers | None = None

    def turns(self, sites: OpenSites) -> Iterator[Turn]:
        """Yields every turn that touches anything. `sites` are the site directories of the call's own request."""
        own = self._own_turn(sites)
        if own.assignment.touches:
            yield own
        else:
            self.close(own, None)
        sites.close()
        while self._does_pending and (entries := self._backlog.next()):
            assignment = self._replayed_work(entries)
            if assignment is None:
                continue
            with OpenSites(assignment.target, assignment.request) as theirs:
                turn = Turn(assignment, theirs, entries)
                if assignment.touches:
                    yield turn
                else:
                    self.close(turn, None)

    def renewed(self, turn: Turn, changed: InterpreterChangedError) -> Turn:
        """Returns the same turn for the interpreter as it is now. Raises InterpreterError and UsageError."""
        (target, request, _), operation, report = turn.assignment, self._operation, self._workspace.report
        operation.probed.forget(target.interpreter)
        interpreter = operation.probed.ask(target.interpreter.executable, root=target.interpreter.root)
        report.tally.notices.append(f"{changed.message}; everything is examined again")
        report.interpreter = interpreter
        self._target = find_target(interpreter, request, operation.settings)
        turn.end()
        renewed = self._widened_by_magic(Assignment.of(self._target, request))
        return turn._replace(assignment=renewed, sites=OpenSites(self._target, renewed.request), early=None)

    def close(self, turn: Turn, tally: Tally | None) -> None:
        """Close the entries of a turn that was carried out. Without a tally there was nothing to do."""
        turn.end()
        request = turn.assignment.request
        if turn.entries is not None:
            self._backlog.close(turn.entries, tally, self._target, request)
            return
        self._backlog.close_joined(tally, self._target, request)
        self._workspace.found = None  # looked at: a later turn that changes something leaves no entry of it behind
        if tally is not None and (denied := [failure.path for failure in tally.failures if failure.needs_root]):
            for entry in self._backlog.parked(request):
                if self._lies_below(denied, entry):  # this account could never do it
                    self._backlog.drop(entry)
        self._learn_magic(request)

    def fail(self, turn: Turn, error: PyctriggerError) -> None:
        """Count a failed attempt for the entries of a turn that ended with an error."""
        turn.end()
        is_locked = isinstance(error, LockTimeoutError)
        if turn.entries is not None:
            for entry in () if is_locked else turn.entries:
                self._backlog.count_failure(entry)
        elif self._backlog.holds_own and (
            is_locked or (self._own.request.running.hook and isinstance(error, InterpreterError))
        ):
            error.hint = KEPT
            error.is_work_kept = True

    # -- the call's own ------------------------------------------------------------------------------------------

    def _own_turn(self, sites: OpenSites) -> Turn:
        own = self._own
        request = self._backlog.join(own.request) if self._does_pending else own.request
        if joins := request.transaction.paths != own.request.transaction.paths:
            own = Assignment.of(own.target, request)
            self._name_outside(own)
        own = self._widened_by_magic(own)
        if not self._glances(own):
            return Turn(own, sites)
        changed = self._changed_besides(own, sites)
        if changed is None:
            self._workspace.found = self._own.request.about(None)
            own = Assignment.of(own.target, own.request.about(None))
            return Turn(own, sites, early=self._early)
        if not joins:
            own = _narrowed(own)
        if found := subtract_units(changed, own.touched.units):
            from .plan.glance import paths_of

            self._workspace.found = self._own.request.about(paths_of(found))
            own = own._replace(touched=own.touched._replace(units=merge_units(own.touched.units, found)))
        return Turn(own, sites, early=self._early)

    def _widened_by_magic(self, assignment: Assignment) -> Assignment:
        """Widen an assignment to the whole scope if its interpreter has another magic number than last time."""
        target, request, _ = assignment
        if request.work is not Work.RUN or request.transaction.paths is None:
            return assignment
        interpreter = target.interpreter
        known = self._operation.store.magic_number(target.installation)
        if known is None or known == interpreter.magic_number:
            return assignment
        self._operation.observer.notice(
            f"the magic number of {interpreter.flavour} has changed from {known.hex()} to "
            f"{interpreter.magic_number.hex()}: everything is compiled again"
        )
        return Assignment.of(target, request.about(None))

    def _glances(self, own: Assignment) -> bool:
        """Whether this is a hook's transaction; an empty list of paths says that there was none at all."""
        request = own.request
        if request.work is not Work.RUN or not request.running.hook or not any(request.transaction.paths or ()):
            return False
        return self._workspace.parts.are_kept  # or it would look at everything each time

    def _changed_besides(self, own: Assignment, sites: OpenSites) -> Units | None:
        """Returns what has changed according to a hook's glance, or None for the whole scope."""
        target, request, _ = own
        from ..tree.identity import ForeignPlaceError
        from .plan.glance import Overview
        from .plan.wanted import wanted_bytecode

        wanted = wanted_bytecode(target, request, self._operation.settings, target.installation)
        overview = Overview(own, wanted, self._workspace.parts)
        try:
            return overview.changed(sites, partial(self._warm_up, own, wanted))
        except ForeignPlaceError:
            from .others import glance_as_others

            return glance_as_others(overview, own)

    def _warm_up(self, own: Assignment, wanted: Wanted, owner: int) -> None:
        """Start a worker for trees of this owner, once: it takes 10 to 20 ms, and is ready when the plan is.

        A store may have all that is needed.
        """
        if self._early is not None:
            return
        from .apply.workers import Workers  # an idle hook needs none

        operation, (target, request, _) = self._operation, own
        self._early = Workers(target.interpreter, operation.settings, request.running, wanted, remote=operation.remote)
        if not self._early.asks_store:
            with contextlib.suppress(InterpreterError):  # said where it is needed
                self._early.warm_up(owner)

    def _learn_magic(self, request: Request) -> None:
        """Record the magic number: a run that met another one than last time has examined everything."""
        if request.work is Work.RUN or (request.work is Work.REPAIR and request.transaction.paths is None):
            try:
                self._operation.store.learn_magic_number(
                    self._target.installation, self._target.interpreter.magic_number
                )
            except OSError as error:
                self._operation.store.give_up(error)

    # -- what others left ----------------------------------------------------------------------------------------

    def _replayed_work(self, entries: list[Entry]) -> Assignment | None:
        """Returns the work of entries, with the options they were written with, or None if nothing is left to do."""
        first, own, operation = entries[0], self._own.request, self._operation
        try:
            request = own.replaying(first.options, paths=union((), entries), event=first.event)
            if request.scope.prefixes and self._target.prefix is None:
                prefixes = ", ".join(request.scope.prefixes)
                raise UsageError(f"{prefixes} has a journal of its own", hint="name it with --prefix")
            request = self._under_own_name(request)
            assignment = Assignment.of(find_target(self._target.interpreter, request, operation.settings), request)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            # Its directories are gone, or it was never ours: there is nothing left to do for it.
            reason = error.message if isinstance(error, UsageError) else "it can't be read"
            operation.observer.notice(
                f"an entry of the journal was dropped, and its work with it: {reason}; to find what is missing: "
                "pyctrigger repair"
            )
            for entry in entries:
                self._backlog.drop(entry)
            return None
        self._name_outside(assignment)
        return assignment

    def _under_own_name(self, request: Request) -> Request:
        """Use this environment's current name: the name in the entry may lead elsewhere by now."""
        named, paths = request.scope.prefixes, request.transaction.paths
        if named and paths is not None and self._target.prefix is not None:
            below, prefix = f"{named[0].rstrip('/')}/", self._target.prefix
            paths = tuple(
                os.path.join(prefix, path[len(below) :]) if f"{path}/".startswith(below) else path for path in paths
            )
        return request.about(paths).within(*self._own.request.scope.prefixes)

    def _name_outside(self, assignment: Assignment) -> None:
        """Report paths outside the scope: the entry was written with another scope, or not by us."""
        outside = set(assignment.touched.outside) - set(self._own.touched.outside)
        if outside:
            named = ", ".join(sorted(outside))
            self._operation.observer.notice(f"an entry of the journal names paths outside the scope: {named}")

    def _lies_below(self, places: list[str], entry: Entry) -> bool:
        """Whether everything that an entry names is in one of these places."""
        units = self._target.touched(self._own.request.about(entry.paths)).units
        named = [os.path.join(site, unit.relative) for site, found in units.items() for unit in found if unit.deep]
        return bool(named) and all(any(f"{path}/".startswith(f"{place}/") for place in places) for path in named)


def _narrowed(own: Assignment) -> Assignment:
    """Returns the same for a manager whose changes a glance sees all, and which names no more than a site directory.

    dpkg renames each file that it unpacks, which changes the file's directory; its triggers say nothing of what is
    below theirs.
    """
    if own.request.transaction.manager != "dpkg":
        return own
    units = {
        site: [Unit("", deep=False)] if Unit("", deep=True) in found else found
        for site, found in own.touched.units.items()
    }
    return own._replace(touched=own.touched._replace(units=units))
