"""One installation's part of a request that only looks: in its own places, and in those of others as they."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .apply.pools import Pools
from .plan.findings import Inspection
from .plan.knowledge import knowledge_of
from .plan.survey import Survey
from .plan.takings import Takings
from .plan.wanted import wanted_bytecode
from .scope.request import Work

if TYPE_CHECKING:
    from ..outcome.report import FlavourReport, Taking
    from .plan.findings import Inspected
    from .plan.foreign import Places
    from .scope.forked import Relay
    from .scope.request import Request
    from .scope.service import Service
    from .scope.target import Target


class Look:
    """Looks at one target. What it finds goes into `report`."""

    def __init__(self, target: Target, request: Request, service: Service, report: FlavourReport) -> None:
        self._target = target
        self._request = request
        self._service = service
        self._report = report

    def perform(self) -> None:
        """Look at everything. Raises PyctriggerError."""
        inspection, takings, foreign = self._inspect()
        if foreign:
            from .plan.foreign import trouble_with
            from .scope.forked import Apart

            apart = Apart(self._service.observer)
            with trouble_with(foreign, inspection.tally):
                found, more = apart.perform(lambda line, relay: self._inspect_as_others(relay, foreign))
                inspection.add(found)
                takings += more
        tally = inspection.tally
        if self._request.running.dry_run:
            tally.findings.clear()
        else:
            tally.actions.clear()
        self._report.tally.add(tally)
        self._report.summary = inspection.summary()
        self._report.takings = takings

    def _inspect_as_others(self, relay: Relay, places: Places) -> tuple[Inspected, list[Taking]]:
        self._service = self._service.apart(relay)
        inspection, takings, _ = self._inspect(places)
        return inspection.found, takings

    def _inspect(self, places: Places | None = None) -> tuple[Inspection, list[Taking], Places]:
        """Look at what this process can look at: all but the places of others, or, in one for them, those."""
        service, request = self._service, self._request
        manifest = service.store.manifest(self._target.installation)
        wanted = wanted_bytecode(self._target, request, service.settings, self._target.installation)
        knowledge = knowledge_of(self._target, request, service, manifest)
        with (
            contextlib.closing(manifest),
            Survey(self._target, request, wanted, knowledge, observer=service.observer, places=places) as survey,
            Pools(service.settings, request, wanted).prover(self._target.interpreter, manifest) as prover,
        ):
            takings = Takings(manifest) if request.work is Work.PURGE else None
            inspection = Inspection(prover.prove, would_act=request.running.dry_run, takings=takings)
            inspection.read(survey.steps())
            inspection.tell_untried()
            inspection.tally.unexamined += survey.unexamined
            inspection.tally.failures += survey.refused
            return inspection, takings.by_site() if takings else [], survey.foreign
