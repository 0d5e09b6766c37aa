"""A quick look at the state alone, for a monitor: is work waiting, did something fail, has a magic number changed?

No tree is looked at, no worker is started, nothing is written. An interpreter is run only where what is known of it no
longer holds.
"""

from __future__ import annotations

import enum
import os
import shlex
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import PyctriggerError, UsageError
from ...interpreter.interpreter import Interpreter
from ...outcome.outcome import path_fields
from ...outcome.report import Report, error_fields, printable
from ...run.backlog import Unidentified
from ...run.operation import divided
from ...run.scope.config import Settings
from ...run.scope.interpreters import find_interpreters
from ...run.scope.places import real_prefix
from ...run.scope.request import Request
from ...run.scope.stored import open_state
from ...run.scope.target import Target
from ...stamps import inode_of
from ...state.history import History, PastFlavour, PastRun, elapsed
from ...state.journal import Entry
from ...state.locations import lock_directory
from ...state.lock import Holder, current_holder
from ...state.probed import ProbedInterpreters
from ...state.store import Store
from ..past import require_readable


class Alarm(enum.IntEnum):
    """What a monitor makes of it: the exit codes of a Nagios plugin (Monitoring Plugins Development Guidelines)."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Thresholds(NamedTuple):
    """From when on something matters, in seconds."""

    warning: float = 3600.0
    """Age of the oldest pending work."""
    critical: float = 86400.0
    failure: float = 86400.0
    """Age up to which a flavour's last run, if it failed, is told."""


class Health(NamedTuple):
    """What the state says of one flavour."""

    flavour: str
    installation: str
    interpreter: Interpreter | None
    """None: it is there, and can't be used; without `installation` it could never be asked what it is."""
    error: PyctriggerError | None = None
    pending: int = 0
    parked: int = 0
    oldest: float | None = None
    """When the oldest work was announced that is neither done nor parked; seconds since the epoch, as all times."""
    last_run: float | None = None
    last_failure: float | None = None
    last_failed: bool = False
    """Whether the last recorded run for this flavour is that failure."""
    failed_run: int | None = None
    """The number in the history of the last run that failed."""
    failures: int = 0
    """How many files failed in the last recorded run."""
    previous_magic_number: bytes | None = None
    holder: Holder | None = None
    prefix: str | None = None
    """The environment that it is about."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.flavour if self.prefix is None else f"{self.prefix} ({self.flavour})"

    def as_dict(self) -> dict[str, Any]:
        """The flavour's part of the JSON object."""
        interpreter = self.interpreter
        return {
            "flavour": self.flavour,
            "installation": self.installation,
            **({"prefix": None} if self.prefix is None else path_fields("prefix", self.prefix)),
            **({} if interpreter is None else path_fields("executable", interpreter.executable)),
            "magic_number": None if interpreter is None else interpreter.magic_number.hex(),
            "previous_magic_number": self.previous_magic_number.hex() if self.previous_magic_number else None,
            "error": None if self.error is None else error_fields(self.error),
            "pending": self.pending,
            "parked": self.parked,
            "oldest_pending": self.oldest,
            "last_run": self.last_run,
            "last_failure": self.last_failure,
            "last_run_failed": self.last_failed,
            "failures": self.failures,
            "lock": None if self.holder is None else self.holder._asdict(),
        }


class CheckReport(Report):
    """The answer to a monitor's question."""

    def __init__(self, thresholds: Thresholds, *, nagios: bool) -> None:
        super().__init__("status")
        self.thresholds = thresholds
        self.nagios = nagios
        self.now = time.time()
        #: What makes other commands be about the same state.
        self.options: list[str] = []
        self.flavours: list[Health] = []
        self.state = Alarm.OK
        #: What is wrong, worst first, each with its state.
        self.problems: list[tuple[Alarm, str]] = []

    @property
    def has_answer(self) -> bool:
        return not self.errors

    @property
    def exit_code(self) -> int:
        return int(self.state) if self.nagios else max((error.exit_code for error in self.errors), default=0)

    def tell(self, state: Alarm, text: str) -> None:
        """Add a problem. Unknown is worse than a warning, and no match for what is known to be critical."""
        self.problems.append((state, text))
        self.problems.sort(key=lambda problem: _GRAVITY[problem[0]], reverse=True)
        self.state = self.problems[0][0]

    def as_dict(self) -> dict[str, Any]:
        return {
            **super().as_dict(),
            "check": {
                "state": self.state.name,
                "problems": [{"state": state.name, "message": printable(text)} for state, text in self.problems],
                "thresholds": self.thresholds._asdict(),
                "flavours": [each.as_dict() for each in self.flavours],
            },
        }


_GRAVITY = {Alarm.OK: 0, Alarm.WARNING: 1, Alarm.UNKNOWN: 2, Alarm.CRITICAL: 3}


def check(request: Request, thresholds: Thresholds, *, nagios: bool) -> CheckReport:
    """Look at the state. For a Nagios plugin what goes wrong is the state UNKNOWN; else it raises PyctriggerError."""
    report = CheckReport(thresholds, nagios=nagios)
    try:
        _require_sense(request, thresholds)
        _fill(report, request)
    except PyctriggerError as error:
        if not nagios:
            raise
        report.tell(Alarm.UNKNOWN, str(error))
    return report


def _require_sense(request: Request, thresholds: Thresholds) -> None:
    request.check()
    if request.transaction.paths is not None:
        raise UsageError("status --check examines no files", hint="leave out the paths")
    if thresholds.warning > thresholds.critical:
        raise UsageError("--warning is larger than --critical", hint="swap them")


def _fill(report: CheckReport, request: Request) -> None:
    scope = request.scope
    require_readable(request.running.state_dir)
    settings, store, probed = open_state(request)
    report.options += [] if scope.root is None else ["--root", scope.root]
    report.options += [] if request.running.state_dir is None else ["--state-dir", request.running.state_dir]
    base = store.base
    if base is None or not os.path.isdir(base):
        raise UsageError(
            "no run has left any state here",
            hint="start with pyctrigger run, or name another state directory with --state-dir",
        )
    root = None
    if scope.root is not None:
        root = inode_of(os.stat(scope.root))
    runs = History(base).runs()
    seen: dict[str, Interpreter] = {}
    for each in _subjects(request, settings, probed, store):
        environment = None if each.prefix is None else real_prefix(scope.root, each.prefix)
        health = _health(Target(each.interpreter, (), root, each.prefix, environment), store, runs)
        if health.installation in seen:
            continue
        seen[health.installation] = each.interpreter
        report.flavours.append(health._replace(error=each.error, interpreter=None if each.error else each.interpreter))
    if not _names_targets(request):
        for name, entries in Unidentified(store).others(list(seen.values())):
            report.flavours.append(_with_entries(Health(name, "", None), entries))
    for health in report.flavours:
        _judge(report, health)
    _judge_errors(report, runs)
    if not report.flavours:
        report.tell(Alarm.UNKNOWN, "no run has been recorded here; start with pyctrigger run")


def _names_targets(request: Request) -> bool:
    return bool(request.scope.pythons or request.scope.prefixes or request.scope.prefixes_below)


class _Subject(NamedTuple):
    """An interpreter, and what is wrong with it."""

    interpreter: Interpreter
    error: PyctriggerError | None = None
    prefix: str | None = None
    """The environment that it serves."""


def _subjects(request: Request, settings: Settings, probed: ProbedInterpreters, store: Store) -> Iterator[_Subject]:
    """Those that are named, else those that runs have served and that are still there."""
    if _names_targets(request):
        yield from _named(request, settings, probed)
        return
    root = None if request.scope.root is None else os.path.realpath(request.scope.root)
    # Of an environment's interpreter and the one that it borrows from, that one is meant by what both have in common.
    for known in sorted(probed.known(), key=lambda each: each.environment is not None):
        if known.is_gone or known.root not in (None, root):
            continue
        if known.environment and not os.path.isdir(os.path.join(store.base or "", known.installation)):
            continue  # it serves its environment alone
        yield _asked(known, probed)
    executables = {known.executable: known for known in probed.known()}
    for each in store.environments() if root is None else ():
        if each.executable in executables and os.path.lexists(each.prefix):
            yield _asked(executables[each.executable], probed)._replace(prefix=each.prefix)


def _named(request: Request, settings: Settings, probed: ProbedInterpreters) -> Iterator[_Subject]:
    errors: list[PyctriggerError] = []
    for part in divided(request, lambda _: None, errors):
        for found in find_interpreters(part, settings, probed):
            if isinstance(found, PyctriggerError):
                raise found
            own = found.environment if not (part.scope.site_dirs or part.scope.root) else None
            yield _Subject(found, prefix=part.scope.prefixes[0] if part.scope.prefixes else own)
    for error in errors:
        raise error


def _asked(known: Interpreter, probed: ProbedInterpreters) -> _Subject:
    try:
        return _Subject(probed.ask(known.executable, root=known.root))
    except PyctriggerError as trouble:
        return _Subject(known, trouble)


def _health(target: Target, store: Store, runs: list[PastRun]) -> Health:
    interpreter, installation = target.interpreter, target.installation
    entries = [*Unidentified(store).entries(interpreter, target.environment), *store.pending(installation)]
    # What may only be written by root says nothing of what this account keeps.
    own = [(run, each) for run in runs for each in run.flavours if each.installation == installation]
    past = [(run, each) for run, each in own if not each.is_denied]
    failed = [(run, each) for run, each in past if each.exit_code]
    known = store.magic_number(installation)
    health = Health(
        interpreter.flavour,
        installation,
        interpreter,
        last_run=_when(own),
        last_failure=_when(failed),
        failed_run=failed[-1][0].number if failed else None,
        last_failed=bool(failed) and past[-1] == failed[-1],
        failures=past[-1][1].failure_count if past else 0,
        previous_magic_number=None if known == interpreter.magic_number else known,
        holder=current_holder(lock_directory(store.base), installation),
        prefix=target.prefix,
    )
    return _with_entries(health, entries)


def _with_entries(health: Health, entries: list[Entry]) -> Health:
    waiting = [entry.since for entry in entries if not entry.parked]
    return health._replace(pending=len(waiting), parked=len(entries) - len(waiting), oldest=min(waiting, default=None))


def _when(past: list[tuple[PastRun, PastFlavour]]) -> float | None:
    return past[-1][0].ended if past else None


def _judge(report: CheckReport, health: Health) -> None:
    limits, name = report.thresholds, health.name
    if health.error is not None:
        report.tell(Alarm.CRITICAL, f"{name}: {health.error}")
    if health.oldest is not None:
        age = elapsed(health.oldest, report.now)
        state = Alarm.CRITICAL if age >= limits.critical else Alarm.WARNING if age >= limits.warning else Alarm.OK
        if state is not Alarm.OK:
            report.tell(state, f"{name}: work has been pending for {age:.0f} s")
    if health.parked:
        report.tell(Alarm.WARNING, f"{name}: {health.parked} entries of the journal failed three times and are parked")
    ago = limits.failure if health.last_failure is None else elapsed(health.last_failure, report.now)
    if health.last_failed and ago < limits.failure:
        shown_by = shlex.join(["pyctrigger", "history", str(health.failed_run), *report.options])
        report.tell(Alarm.WARNING, f"{name}: the last run failed, {ago:.0f} s ago; {shown_by} shows it")
    if health.previous_magic_number is not None:
        report.tell(Alarm.WARNING, f"{name}: its magic number has changed, and not everything was compiled since")


def _is_slip(run: PastRun) -> bool:
    return not run.hook and not run.flavours and {code for code, _ in run.errors} == {UsageError.exit_code}


def _judge_errors(report: CheckReport, runs: list[PastRun]) -> None:
    """A run that served no flavour, since it could find none, is nobody's last run. A slip of a person's is no run."""
    last = next((run for run in reversed(runs) if run.ended is not None and not _is_slip(run)), None)
    if last is None or last.flavours or not last.errors or last.ended is None:
        return
    if elapsed(last.ended, report.now) < report.thresholds.failure:
        report.tell(Alarm.WARNING, f"the last run failed: {last.errors[0][1]}")
