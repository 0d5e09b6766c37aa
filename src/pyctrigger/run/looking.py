"""One installation's part of a call that only looks: in its own places, and in those of others as they."""

from __future__ import annotations

import contextlib

from ..outcome.observer import Observer
from ..outcome.report import FlavourReport, Taking
from ..packages.ownership import Ownership
from .apply.forecast import Forecast
from .apply.workers import Workers
from .operation import Operation
from .plan.findings import Inspected, Inspection, Takings
from .plan.knowledge import knowledge_of
from .plan.survey import Places, Survey
from .plan.wanted import wanted_bytecode
from .scope.forked import Apart, Line, Relay
from .scope.request import Work
from .scope.sites import OpenSites
from .scope.target import Assignment


def look(assignment: Assignment, operation: Operation, report: FlavourReport) -> None:
    """Look at everything; what is found goes into `report`. Raises PyctriggerError."""
    inspection, takings, foreign = _inspect(assignment, operation, operation.observer, operation.ownership)
    if foreign:
        from .others import trouble_with

        def inspect_as_others(line: Line, relay: Relay) -> tuple[Inspected, list[Taking]]:
            operation.store.tell_to(relay.notice)
            ownership = operation.ownership.anew(relay.notice)
            inspection, takings, _ = _inspect(assignment, operation, relay, ownership, foreign)
            return inspection.found, takings

        with trouble_with(foreign, inspection.tally):
            found, more = Apart(operation.observer).perform(inspect_as_others)
            inspection.add(found)
            takings += more
    tally = inspection.tally
    if assignment.request.running.dry_run:
        tally.findings.clear()
    else:
        tally.actions.clear()
    report.tally.add(tally)
    report.summary = inspection.summary()
    report.takings = takings


def _inspect(
    assignment: Assignment, operation: Operation, observer: Observer, ownership: Ownership, places: Places | None = None
) -> tuple[Inspection, list[Taking], Places]:
    """Look at what this process can look at: all but the places of others, or, in one for them, those."""
    target, request, touched = assignment
    wanted = wanted_bytecode(target, request, operation.settings, target.installation)
    with (
        contextlib.closing(operation.store.manifest(target.installation)) as manifest,
        OpenSites(target, request) as sites,
        Workers(target.interpreter, operation.settings, request.running, wanted) as workers,
        workers.prover(manifest) as prover,
    ):
        knowledge = knowledge_of(target, request, operation.settings, ownership, manifest)
        survey = Survey(sites, touched.units, wanted, knowledge, observer=observer, places=places)
        if request.work.writes:
            sites.require_account_owns()
        takings = Takings(manifest) if request.work is Work.PURGE else None
        forecast = Forecast(wanted) if request.running.dry_run else None
        inspection = Inspection(prover.prove, reduce=forecast.reduce if forecast else None, takings=takings)
        inspection.read(survey.steps())
        inspection.count(survey.total)
        inspection.tell_untried()
        if forecast is not None:
            inspection.tally.add(forecast.settle())
        inspection.tally.unexamined += survey.unexamined
        inspection.tally.failures += survey.refused
        return inspection, takings.by_site() if takings else [], survey.foreign
