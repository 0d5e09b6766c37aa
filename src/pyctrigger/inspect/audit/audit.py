"""The one entry point: paths in, one report out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ...errors import PyctriggerError, UsageError
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...run.scope.config import load
from ...run.scope.interpreters import find_interpreters
from ...run.scope.request import Request, Running, Scope, Work
from ...state.probed import ProbedInterpreters
from ...workers.capacity import worker_count
from .collection import Collection
from .crew import Crew
from .judgement import TargetFacts
from .limits import ArchiveLimits
from .report import ArchiveReport, AuditReport


class AuditRequest(NamedTuple):
    """One call of `pyctrigger audit`."""

    paths: tuple[str, ...]
    python: str | None = None
    """The interpreter to compare with, as after `--python`; None: none."""
    config: str | None = None
    """Where the configuration lies that says which executable a version is; None: in its usual places."""
    jobs: int = 0
    limits: ArchiveLimits = ArchiveLimits()
    keep: bool = True
    """Whether the report keeps what was found in each archive; else only its sums."""


def audit(request: AuditRequest, observer: Observer, show: Callable[[ArchiveReport], None]) -> AuditReport:
    """Examine every archive, and pass each to `show` at once, in the order of the report.

    Raises UsageError, InterpreterError, RefusedError, ShortageError.
    """
    since = time.monotonic()
    interpreter = _find(request.python, request.config) if request.python is not None else None
    report = AuditReport(interpreter, keep=request.keep)
    collection = Collection(request.paths)
    try:
        candidates = collection.candidates
        target = _judge(interpreter) if interpreter else None
        crew = Crew(min(worker_count(request.jobs), max(1, len(candidates))), request.limits, target)
        answers = crew.read(candidate.open for candidate in candidates)
        for number, (candidate, answer) in enumerate(zip(candidates, answers), 1):
            archive = ArchiveReport(candidate.path, answer)
            report.add(archive)
            show(archive)
            observer.progress(number, len(candidates))
    finally:
        observer.finished()
        collection.close()
    report.elapsed_seconds = time.monotonic() - since
    return report


def _find(text: str, config: str | None) -> Interpreter:
    """The interpreter that every other command means by this, asked anew: this one keeps no state.

    Raises ConfigurationError, UsageError, InterpreterError, RefusedError.
    """
    request = Request(Work.VERIFY, Scope(pythons=(text,)), running=Running(config=config, stateless=True))
    (found,) = find_interpreters(request, load(config), ProbedInterpreters(None))
    if isinstance(found, PyctriggerError):
        raise found
    return found


def _judge(interpreter: Interpreter) -> TargetFacts:
    return TargetFacts(
        interpreter.magic_number,
        interpreter.cache_tag,
        interpreter.implementation,
        interpreter.version[:2],
        interpreter.library,
    )


def require_paths(paths: tuple[str, ...]) -> None:
    """Raises UsageError for an empty path: it names nothing, and would be read as the current directory."""
    if not all(paths):
        raise UsageError("an empty path was given", hint="name archives, or directories of them")
