"""The part of one installation in a call that only reads, in other accounts' directories with their rights."""

from __future__ import annotations

import contextlib

from ..outcome.report import FlavourReport
from .apply.forecast import Forecast
from .apply.workers import Workers
from .operation import Operation
from .plan.findings import Inspected, Inspection
from .plan.knowledge import Knowledge
from .plan.proof import Prover
from .plan.survey import Places, Survey
from .plan.wanted import wanted_bytecode
from .scope.forked import Relay, act_as_others
from .scope.sites import OpenSites
from .scope.target import Assignment


def look(assignment: Assignment, operation: Operation, report: FlavourReport) -> None:
    """Examine everything. The findings go into `report`. Raises PyctriggerError."""
    found, foreign = _inspect(assignment, operation)
    if foreign:
        from .others import trouble_with

        def inspect_as_others(relay: Relay) -> Inspected:
            operation.move_apart(relay)
            return _inspect(assignment, operation, foreign)[0]

        with trouble_with(foreign, found.tally):
            found.add(act_as_others(inspect_as_others, operation.observer))
    if assignment.request.running.dry_run:
        found.tally.findings.clear()
    else:
        found.tally.actions.clear()
    report.tally.add(found.tally)
    report.summary = found.summary()
    report.takings = list(found.takings.values())


def _inspect(assignment: Assignment, operation: Operation, places: Places | None = None) -> tuple[Inspected, Places]:
    """Examine all places of our own, or, in a process for other accounts, theirs."""
    target, request, touched = assignment
    wanted = wanted_bytecode(target, request, operation.settings, target.installation)
    with (
        contextlib.closing(operation.store.manifest(target.installation)) as manifest,
        OpenSites(target, request) as sites,
        Workers(target.interpreter, operation.settings, request.running, wanted, proves=True) as workers,
    ):
        knowledge = Knowledge(manifest, wanted, operation.ownership)
        survey = Survey(sites, touched.units, wanted, knowledge, observer=operation.observer, places=places)
        if request.work.writes:
            sites.require_account_owns()
        prover = Prover(workers.pool_for, wanted, knowledge)
        forecast = Forecast(wanted) if request.running.dry_run else None
        found = Inspection(survey, prover, forecast.reduce if forecast else None).collect()
        if forecast is not None:
            found.tally.add(forecast.settle())
        return found, survey.foreign
