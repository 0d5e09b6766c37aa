"""One installation's part of a call: look, or announce and take all turns, under one lock."""

from __future__ import annotations

import contextlib
import os

from ..errors import InterpreterChangedError, PyctriggerError, UsageError
from ..outcome.report import FlavourReport
from .agenda import Agenda
from .backlog import Unidentified
from .operation import Operation
from .scope.request import Work
from .scope.sites import OpenSites
from .scope.target import Assignment, check_target
from .workspace import Workspace


def do_installation(assignment: Assignment, operation: Operation, report: FlavourReport) -> None:
    """Do an assignment and all pending work. The results go into `report`.

    Raises PyctriggerError.
    """
    target, request, _ = assignment
    report.tally.notices += check_target(target, request)
    if not request.work.writes or request.running.dry_run:
        from .looking import look

        look(assignment, operation, report)
        return
    workspace = Workspace(operation, assignment, report)
    _note_in_state(assignment, operation)
    try:
        with OpenSites(target, request) as sites:
            if (request.running.hook or request.running.defer) and not _announce(assignment, workspace, sites):
                return
            agenda = Agenda(assignment, workspace)
            for turn in agenda.turns(sites):
                from .flow import carry_out  # most transactions touch nothing of most flavours

                changed: InterpreterChangedError | None = None
                while True:
                    try:
                        if changed is not None:
                            turn = agenda.renewed(turn, changed)  # noqa: PLW2901 - the same one, once more
                        tally, foreign = carry_out(turn.assignment, workspace, turn.sites, early=turn.early)
                        turn.end_early()
                        if foreign:
                            from .others import carry_out_as_others

                            tally.add(carry_out_as_others(turn.assignment, workspace, foreign))
                        break
                    except PyctriggerError as error:
                        if changed is not None or not isinstance(error, InterpreterChangedError):
                            agenda.fail(turn, error)
                            raise
                        changed = error
                agenda.close(turn, tally)
    finally:
        report.taken_over = workspace.backlog.taken_over
        report.is_safe = workspace.backlog.holds_own or not assignment.touches
        workspace.leave()


def _note_in_state(assignment: Assignment, operation: Operation) -> None:
    """Move work that was kept elsewhere to the journal, and record what the state belongs to."""
    (target, request, _), store = assignment, operation.store
    try:
        if request.work in (Work.RUN, Work.REPAIR):
            Unidentified(store).adopt(target)
            store.announce_examination(target.installation, request.replayable())
    except OSError as error:
        store.give_up(error)
    if target.environment is not None and target.root is None:
        with contextlib.suppress(OSError):  # whoever writes more there says so
            store.note_environment(target.installation, target.environment, target.interpreter.executable)


def _announce(assignment: Assignment, workspace: Workspace, sites: OpenSites) -> bool:
    """Make a hook's transaction durable before anything else. Returns False if nothing else is to be done."""
    running, backlog, operation = assignment.request.running, workspace.backlog, workspace.operation
    is_on = operation.settings.hooks_enabled
    ends_here = running.defer or not is_on
    if assignment.touches and _may_announce(assignment, workspace, sites, ends_here=ends_here):
        backlog.announce(assignment.request)
        if running.defer and not backlog.holds_own:
            raise UsageError("nothing can be deferred without state", hint="run it without --defer")
    workspace.report.deferred = backlog.holds_own and ends_here
    if assignment.touches and not (running.defer or is_on):
        kept = "the work stays in the journal"
        lost = "nothing was done, and nothing is kept; once they are enabled: pyctrigger repair"
        operation.observer.notice(
            f"hooks are disabled in the configuration ([hooks] enabled); {kept if backlog.holds_own else lost}"
        )
    return not ends_here


def _may_announce(assignment: Assignment, workspace: Workspace, sites: OpenSites, *, ends_here: bool) -> bool:
    """Whether work may be announced: where nothing can be written, nothing can be done later either."""
    from .plan.survey import are_read_only, find_denials, touched_places

    sites.require_account_owns()
    places = touched_places(sites, assignment.touched.units)
    if are_read_only(places):
        return False
    denied = find_denials(places) if os.geteuid() != 0 else []
    if ends_here:
        workspace.report.tally.failures += denied  # else the work itself says so
    return not denied
