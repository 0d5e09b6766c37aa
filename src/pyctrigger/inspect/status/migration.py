"""What moving to another interpreter makes stale: these sources, that interpreter, and the time it will take."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from ...errors import PyctriggerError
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...outcome.outcome import Failure, path_fields
from ...outcome.report import Report, interpreter_fields
from ...outcome.states import word_for
from ...pyc.header import Verdict
from ...run.operation import Operation
from ...run.plan.knowledge import Knowledge
from ...run.plan.steps import Stale, Step
from ...run.plan.survey import Survey
from ...run.plan.wanted import Wanted, wanted_bytecode
from ...run.scope.forked import look_as_others
from ...run.scope.interpreters import find_interpreters
from ...run.scope.request import Request, Work
from ...run.scope.sites import OpenSites
from ...run.scope.target import Assignment, Target
from ...run.trigger import prepare
from ...state.records.manifest import Manifest
from ...tree.layout import Layout
from .estimate import Estimate


class SiteNeeds(NamedTuple):
    """What one site directory would need."""

    flavour: str
    """The one whose directory it is today."""
    path: str
    sources: int
    reasons: dict[str, int]
    """How many sources need bytecode, by the reason."""
    estimate: Estimate

    @property
    def needed(self) -> int:
        """How many sources need bytecode in all."""
        return sum(self.reasons.values())

    def as_dict(self) -> dict[str, Any]:
        """The directory's part of the JSON object."""
        return {
            "flavour": self.flavour,
            **path_fields("site_directory", self.path),
            "sources": self.sources,
            "needed": self.needed,
            "reasons": self.reasons,
            "timed": self.estimate.timed,
            "compile_seconds": None if self.estimate.seconds is None else round(self.estimate.seconds, 6),
        }


class MigrationReport(Report):
    """The answer to `status --against`."""

    def __init__(self, goal: Interpreter, workers: int) -> None:
        super().__init__("status")
        self.goal = goal
        self.workers = workers
        self.sites: list[SiteNeeds] = []
        self.origins: list[Interpreter] = []
        self.unexamined: list[Failure] = []

    @property
    def has_answer(self) -> bool:
        return bool(self.sites) or not self.errors

    @property
    def exit_code(self) -> int:
        return max(super().exit_code, 3 if self.unexamined else 0)

    @property
    def estimate(self) -> Estimate:
        """All directories' together."""
        total = Estimate(None, "", ())
        for site in self.sites:
            total.merge(site.estimate)
        return total

    def as_dict(self) -> dict[str, Any]:
        estimate = self.estimate
        seconds = estimate.seconds
        return {
            **super().as_dict(),
            "against": {
                "flavour": self.goal.flavour,
                "interpreter": interpreter_fields(self.goal),
                "from": [{"flavour": each.flavour, "interpreter": interpreter_fields(each)} for each in self.origins],
                "sources": sum(site.sources for site in self.sites),
                "needed": sum(site.needed for site in self.sites),
                "timed": estimate.timed,
                "compile_seconds": None if seconds is None else round(seconds, 6),
                "workers": self.workers,
                "estimated_seconds": None if seconds is None else round(seconds / self.workers, 6),
                "site_directories": [site.as_dict() for site in self.sites],
                "unexamined": [{**path_fields("path", each.path), "message": each.message} for each in self.unexamined],
            },
        }


def compare_with(request: Request, against: str, observer: Observer) -> MigrationReport:
    """Look at the sources of every flavour that is meant, with the eyes of another interpreter.

    Raises UsageError, InterpreterError, RefusedError for that interpreter, and what `prepare` raises.
    """
    return look_as_others(lambda listener: _compare(request, against, listener), observer)


def _compare(request: Request, against: str, observer: Observer) -> MigrationReport:
    from ...workers.capacity import worker_count

    operation = prepare(request, observer)
    goal = _interpreter(request, against, operation)
    jobs = operation.settings.jobs if request.running.jobs is None else request.running.jobs
    report = MigrationReport(goal, worker_count(jobs))
    report.errors += operation.report.errors
    for assignment in operation.assignments:
        report.origins.append(assignment.target.interpreter)
        try:
            _look(assignment, operation, report)
        except PyctriggerError as error:
            report.errors.append(error)
    return report


def _interpreter(request: Request, against: str, operation: Operation) -> Interpreter:
    scope = request.scope._replace(pythons=(against,), prefixes=(), prefixes_below=(), root=None, trust_root=False)
    wanted = request._replace(scope=scope)
    (found,) = find_interpreters(wanted, operation.settings, operation.probed)
    if isinstance(found, PyctriggerError):
        raise found
    return found


def _look(assignment: Assignment, operation: Operation, report: MigrationReport) -> None:
    target, request, touched = assignment
    goal = Target(report.goal, target.sites, target.root)
    wanted = wanted_bytecode(goal, request, operation.settings, "")
    wanted = wanted._replace(work=Work.VERIFY, create_missing=True, limits={})
    with contextlib.ExitStack() as stack:
        times, known = (
            stack.enter_context(contextlib.closing(operation.store.manifest(each.installation)))
            for each in (target, goal)
        )
        knowledge = Knowledge(known, wanted, operation.ownership, compares_records=False)
        sites = stack.enter_context(OpenSites(target, request))
        survey = Survey(sites, touched.units, wanted, knowledge)
        report.unexamined += survey.unexamined
        _read(survey, target, times, wanted, report)


def _read(survey: Survey, target: Target, times: Manifest, wanted: Wanted, report: MigrationReport) -> None:
    tag, flavour = target.interpreter.cache_tag, target.interpreter.flavour
    reasons: dict[str, dict[str, int]] = {}
    estimates: dict[str, Estimate] = {}
    for layout, step in survey.steps():
        site = layout.sources.path
        for stale in step.stale:
            estimate = estimates.setdefault(site, Estimate(times, tag, wanted.levels))
            _count(layout, step, stale, reasons.setdefault(site, {}), estimate)
        if step.unexamined is not None:
            report.unexamined.append(Failure(layout.describe_source(step.relative), "io", step.unexamined))
    for site, totals in survey.totals.items():
        estimate = estimates.get(site) or Estimate(times, tag, wanted.levels)
        report.sites.append(SiteNeeds(flavour, site, totals.sources, reasons.get(site, {}), estimate))


def _count(layout: Layout, step: Step, stale: Stale, reasons: dict[str, int], estimate: Estimate) -> None:
    verdicts = [state.verdict for state in stale.levels if state.verdict is not Verdict.UNPROVEN]
    if verdicts:
        reason = "magic" if verdicts[0] is Verdict.FOREIGN_MAGIC else word_for(verdicts[0])
        reasons[reason] = reasons.get(reason, 0) + 1
        estimate.add(layout.describe_pyc(step.relative), stale.name, stale.status.st_size)
