"""`audit`: the bytecode in packages that aren't installed, archive by archive, and the sums."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ...errors import PyctriggerError, ShortageError, UsageError
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...outcome.report import Report, interpreter_fields
from ...run.scope.config import load
from ...run.scope.interpreters import find_interpreters
from ...run.scope.request import Request, Running, Scope, Work
from ...state.probed import ProbedInterpreters
from ...workers.capacity import worker_count
from .archive_report import COUNTS, ArchiveReport, hints_for
from .budget import ArchiveLimits
from .collection import Collection, is_url
from .crew import Crew
from .judgement import KINDS, TargetFacts


class AuditRequest(NamedTuple):
    """One call of `pyctrigger audit`."""

    paths: tuple[str, ...]
    """Files, directories and URLs; with a scheduler URLs only."""
    python: str | None = None
    """The interpreter to compare with, as after `--python`; None: none."""
    config: str | None = None
    """Where the configuration lies that says which executable a version is; None: in its usual places."""
    jobs: int = 0
    limits: ArchiveLimits = ArchiveLimits()
    keep: bool = True
    """Whether the report keeps what was found in each archive; else only its sums."""
    scheduler: str | None = None
    """The address of a Dask scheduler, whose nodes examine; None: this machine does."""


#: Paths, and the answer for each, in their order.
_Work = tuple[Sequence[str], Iterator[dict[str, Any]]]


class AuditReport(Report):
    """The answer to `audit`."""

    def __init__(self, interpreter: Interpreter | None, *, keep: bool = True) -> None:
        super().__init__("audit")
        self.interpreter = interpreter
        self.archives: list[ArchiveReport] = []
        self.elapsed_seconds = 0.0
        self._keep = keep
        self._defects = 0
        self._archives = {"archives": 0, "with_bytecode": 0, "needs_rebuild": 0, "failed": 0}
        #: Archives, and pycs in them, by the release that wrote them, in the order of their numbers.
        self.magic_numbers: dict[str, dict[str, Any]] = {}
        self.totals = dict.fromkeys(COUNTS, 0)

    def add(self, archive: ArchiveReport) -> None:
        """Add an archive."""
        if self._keep:
            self.archives.append(archive)
        self._archives["archives"] += 1
        self._archives["with_bytecode"] += archive.counts["pycs"] > 0
        self._archives["needs_rebuild"] += archive.needs_rebuild
        self._archives["failed"] += archive.failure is not None
        self._defects += archive.failure is not None and archive.failure["kind"] == "defect"
        for key in COUNTS:
            self.totals[key] += archive.counts[key]
        for each in archive.bytecode:
            names = {key: each[key] for key in ("magic_number", "number", "release")}
            sums = self.magic_numbers.setdefault(each["magic_number"], {**names, "archives": 0, "pycs": 0})
            sums["archives"] += 1
            sums["pycs"] += each["pycs"]

    @property
    def outcome(self) -> str:
        return (
            "error"
            if self._defects
            else "incomplete"
            if self._archives["failed"] and not self.errors
            else super().outcome
        )

    @property
    def exit_code(self) -> int:
        """3 if an archive couldn't be examined, 1 if there are findings, 70 for a defect (the contract's table)."""
        findings = any(self.totals[kind] for kind in KINDS)
        return max(super().exit_code, 70 if self._defects else 3 if self._archives["failed"] else 1 if findings else 0)

    @property
    def hints(self) -> dict[str, str]:
        """For JSON only: in text the command prints them, since csv and jsonl have no place for them."""
        return hints_for(archive.failure for archive in self.archives)

    @property
    def summary(self) -> dict[str, Any]:
        """The sums."""
        magic_numbers = sorted(self.magic_numbers.values(), key=lambda each: int(each["number"]))
        return {**self._archives, "counts": self.totals, "magic_numbers": magic_numbers}

    def as_dict(self) -> dict[str, Any]:
        interpreter = self.interpreter
        return {
            **super().as_dict(),
            "interpreter": interpreter and {**(interpreter_fields(interpreter) or {}), "flavour": interpreter.flavour},
            "summary": self.summary,
            "archives": [archive.as_dict() for archive in self.archives],
            "elapsed_seconds": round(self.elapsed_seconds, 6),
        }


def audit(request: AuditRequest, observer: Observer, show: Callable[[ArchiveReport], None]) -> AuditReport:
    """Examine every archive, and pass each to `show` at once, in the order of the report.

    Raises UsageError, InterpreterError, RefusedError, ShortageError, UnexaminedError.
    """
    since = time.monotonic()
    if request.scheduler is not None:
        require_cluster(request, request.scheduler)
    interpreter = _find(request.python, request.config) if request.python is not None else None
    report = AuditReport(interpreter, keep=request.keep)
    target = interpreter and TargetFacts(
        interpreter.magic_number.hex(),
        interpreter.cache_tag,
        interpreter.implementation,
        interpreter.version[:2],
        interpreter.library,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(observer.finished)
        deal = _read_here if request.scheduler is None else _deal_out
        paths, answers = deal(request, target, stack)
        for number, (path, answer) in enumerate(zip(paths, answers), 1):
            archive = ArchiveReport(path, answer)
            report.add(archive)
            show(archive)
            observer.progress(number, len(paths))
    report.elapsed_seconds = time.monotonic() - since
    return report


def _read_here(request: AuditRequest, target: TargetFacts | None, stack: contextlib.ExitStack) -> _Work:
    collection = stack.enter_context(contextlib.closing(Collection(request.paths)))
    candidates = collection.candidates
    if any(isinstance(opened, str) for opened in candidates.values()):
        require_module("fsspec")
    size = min(worker_count(request.jobs), max(1, len(candidates)))
    crew = stack.enter_context(Crew(size, request.limits, target))
    return list(candidates), crew.read(candidates.values())


def _deal_out(request: AuditRequest, target: TargetFacts | None, stack: contextlib.ExitStack) -> _Work:
    from .cluster.dealer import Dealer

    urls = list(dict.fromkeys(request.paths))
    dealer = Dealer(request.scheduler or "", request.limits, target)
    stack.callback(dealer.end)
    stack.callback(dealer.kill)
    return urls, dealer.deal(urls)


def require_cluster(request: AuditRequest, scheduler: str) -> None:
    """Raises UsageError for an address that isn't safe, and what nodes can't see; and ShortageError without Dask."""
    from .cluster.dealer import require_safe

    require_safe(scheduler)
    if request.jobs:
        raise UsageError("--jobs: each thread of a node reads one archive", hint="leave it out with --scheduler")
    for path in request.paths:
        if not is_url(path):
            hint = "name URLs, such as https://HOST/FILE, or file:///FILE for a file system that all nodes have"
            raise UsageError(f"--scheduler: {path}: isn't a URL, and nodes don't see this machine's files", hint=hint)
    require_module("distributed")


def _find(text: str, config: str | None) -> Interpreter:
    """Returns the interpreter that every other command means by this, probed anew: `audit` keeps no state.

    Raises ConfigurationError, UsageError, InterpreterError, RefusedError.
    """
    request = Request(Work.VERIFY, Scope(pythons=(text,)), running=Running(config=config, stateless=True))
    (found,) = find_interpreters(request, load(config), ProbedInterpreters(None))
    if isinstance(found, PyctriggerError):
        raise found
    return found


def require_module(name: str) -> None:
    """Raises ShortageError if a module isn't there that comes with the extra `cluster`."""
    import importlib.util

    if importlib.util.find_spec(name) is None:
        raise ShortageError(
            f"the module {name} is missing",
            hint="install that as a system package, or with pip install 'pyctrigger[cluster]'",
        )


def require_paths(paths: tuple[str, ...]) -> None:
    """Raises UsageError for an empty path: it names nothing, and would be read as the current directory."""
    if not all(paths):
        raise UsageError("an empty path was given", hint="name archives, or directories of them")
