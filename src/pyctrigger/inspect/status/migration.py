"""What moving to another interpreter makes stale: these sources, that interpreter, and the time it will take."""

from __future__ import annotations

import contextlib

from ...errors import PyctriggerError
from ...outcome.observer import Observer
from ...outcome.outcome import Failure
from ...run.operation import Operation
from ...run.plan.knowledge import Knowledge
from ...run.plan.survey import Survey
from ...run.plan.wanted import wanted_bytecode
from ...run.scope.forked import look_as_others
from ...run.scope.interpreters import find_interpreters
from ...run.scope.request import Request, Work
from ...run.scope.sites import OpenSites
from ...run.scope.target import Assignment, Target
from ...run.trigger import prepare
from .needs import MigrationReport, SiteNeeds


def compare_with(request: Request, against: str, observer: Observer) -> MigrationReport:
    """Look at the sources of every flavour that is meant, with the eyes of another interpreter.

    Raises UsageError, InterpreterError, RefusedError for that interpreter, and what `prepare` raises.
    """
    return look_as_others(lambda listener: _compare(request, against, listener), observer)


def _compare(request: Request, against: str, observer: Observer) -> MigrationReport:
    from ...workers.capacity import worker_count

    operation = prepare(request, observer)
    scope = request.scope._replace(pythons=(against,), prefixes=(), prefixes_below=(), root=None, trust_root=False)
    try:
        (goal,) = find_interpreters(request._replace(scope=scope), operation.settings, operation.probed)
        if isinstance(goal, PyctriggerError):
            raise goal
    except PyctriggerError as error:
        error.message = error.message.replace("--python ", "--against ")
        error.hint = error.hint and error.hint.replace("--python ", "--against ")
        raise
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
        flavour, tag = target.interpreter.flavour, target.interpreter.cache_tag
        paths = [layout.sources.path for _, layout in sites.layouts]
        needs = {path: SiteNeeds(flavour, path, times, tag, wanted.levels) for path in paths}
        for layout, step in survey.steps():
            for stale in step.stale:
                needs[layout.sources.path].add(layout.describe_pyc(step.relative), stale)
            if step.unexamined is not None:
                report.unexamined.append(Failure(layout.describe_source(step.relative), "io", step.unexamined))
        for site, totals in survey.totals.items():
            needs[site].sources = totals.sources
            report.sites.append(needs[site])
