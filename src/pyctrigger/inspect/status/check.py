"""A quick look at the state alone, for a monitor: is work waiting, did something fail, has a magic number changed?

No tree is looked at, no worker is started, nothing is written. An interpreter is run only where what is known of it no
longer holds.
"""

from __future__ import annotations

import enum
import os
import shlex
import time
from typing import Any, NamedTuple

from ...errors import PyctriggerError, UsageError
from ...interpreter.interpreter import Interpreter
from ...outcome.outcome import path_fields
from ...outcome.report import Report, error_fields, printable
from ...run.backlog import Unidentified
from ...run.scope.request import Request
from ...run.scope.stored import open_state
from ...state.history import History, PastRun, elapsed
from ...state.locations import is_root
from ...state.lock import Holder
from ..past import require_readable
from .status import Standing, standing_of
from .watched import find_watched


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
    """Age up to which it is reported that a flavour's last run failed."""


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
        """Returns the flavour's part of the JSON object."""
        fields, interpreter = self._asdict(), self.interpreter
        for name in ("interpreter", "failed_run", "holder", "oldest", "last_failed"):
            del fields[name]
        return {
            **fields,
            **path_fields("prefix", self.prefix),
            **({} if interpreter is None else path_fields("executable", interpreter.executable)),
            "magic_number": interpreter and interpreter.magic_number.hex(),
            "previous_magic_number": self.previous_magic_number and self.previous_magic_number.hex(),
            "error": self.error and error_fields(self.error),
            "oldest_pending": self.oldest,
            "last_run_failed": self.last_failed,
            "lock": self.holder and self.holder._asdict(),
        }

    def failed_within(self, seconds: float, now: float) -> float | None:
        """Returns how long ago the last run failed, or None if it didn't, or that is longer ago."""
        ago = seconds if self.last_failure is None else elapsed(self.last_failure, now)
        return ago if self.last_failed and ago < seconds else None


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

    def add_problem(self, state: Alarm, text: str) -> None:
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
        request.check()
        if request.transaction.paths is not None:
            raise UsageError("status --check examines no files", hint="leave out the paths")
        if thresholds.warning > thresholds.critical:
            raise UsageError("--warning is larger than --critical", hint="swap them")
        _gather_health(report, request)
    except PyctriggerError as error:
        if not nagios:
            raise
        for part in error.parts():
            report.add_problem(Alarm.UNKNOWN, str(part))
    return report


def _gather_health(report: CheckReport, request: Request) -> None:
    scope = request.scope
    require_readable(request.running.state_dir)
    settings, store, probed = open_state(request)
    report.options += [] if scope.root is None else ["--root", scope.root]
    report.options += [] if request.running.state_dir is None else ["--state-dir", request.running.state_dir]
    base = store.base
    if base is None or not os.path.isdir(base):
        hint = "start with pyctrigger run, or name another state directory with --state-dir"
        if not is_root() and request.running.state_dir is None:  # a monitor's account has no runs of its own
            hint = "to check what hooks do, run it as root; or name a state directory with --state-dir"
        raise UsageError("no run has left any state here", hint=hint)
    runs, seen = History(base).runs(), []
    for target, error in find_watched(request, settings, probed, store):
        seen.append(target.interpreter)
        health = Health(target.interpreter.flavour, target.installation, None if error else target.interpreter, error)
        health = health._replace(prefix=target.prefix, **_past_of(target.installation, runs))
        report.flavours.append(_with_standing(health, standing_of(target, store)))
    if not (scope.pythons or scope.prefixes or scope.prefixes_below):
        others = Unidentified(store).others(seen)
        report.flavours += [_with_standing(Health(name, "", None), Standing(entries)) for name, entries in others]
    for health in report.flavours:
        _judge(report, health)
    _judge_errors(report, runs)
    if not report.flavours:
        report.add_problem(Alarm.UNKNOWN, "no run has been recorded here; start with pyctrigger run")


def _with_standing(health: Health, standing: Standing) -> Health:
    return health._replace(
        pending=standing.pending,
        parked=standing.parked,
        oldest=standing.oldest,
        previous_magic_number=standing.previous_magic_number,
        holder=standing.holder,
    )


def _past_of(installation: str, runs: list[PastRun]) -> dict[str, Any]:
    """Returns the fields of Health that are about past runs."""
    own = [(run, each) for run in runs for each in run.flavours if each.installation == installation]
    # What may only be written by root says nothing of what this account keeps.
    past = [(run, each) for run, each in own if not each.is_denied]
    failed = [(run, each) for run, each in past if each.exit_code]
    return {
        "last_run": own[-1][0].ended if own else None,
        "last_failure": failed[-1][0].ended if failed else None,
        "failed_run": failed[-1][0].number if failed else None,
        "last_failed": bool(failed) and past[-1] == failed[-1],
        "failures": past[-1][1].failure_count if past else 0,
    }


def _judge(report: CheckReport, health: Health) -> None:
    limits, name, add = report.thresholds, health.name, report.add_problem
    if health.error is not None:
        add(Alarm.CRITICAL, f"{name}: {health.error}")
    if health.oldest is not None:
        age = elapsed(health.oldest, report.now)
        state = Alarm.CRITICAL if age >= limits.critical else Alarm.WARNING if age >= limits.warning else Alarm.OK
        if state is not Alarm.OK:
            add(state, f"{name}: work has been pending for {age:.0f} s")
    if health.parked:
        they = "an entry of the journal" if health.parked == 1 else f"{health.parked} entries of the journal"
        add(Alarm.WARNING, f"{name}: {they} failed three times and {'is' if health.parked == 1 else 'are'} parked")
    ago = health.failed_within(limits.failure, report.now)
    if ago is not None:
        shown_by = shlex.join(["pyctrigger", "history", str(health.failed_run), *report.options])
        add(Alarm.WARNING, f"{name}: the last run failed, {ago:.0f} s ago; {shown_by} shows it")
    if health.previous_magic_number is not None:
        add(Alarm.WARNING, f"{name}: its magic number has changed, and not everything was compiled since")


def _is_slip(run: PastRun) -> bool:
    return not run.hook and not run.flavours and {code for code, _ in run.errors} == {UsageError.exit_code}


def _judge_errors(report: CheckReport, runs: list[PastRun]) -> None:
    """A run that could find no interpreter is no flavour's last run. A mistyped command isn't counted as a run."""
    last = next((run for run in reversed(runs) if run.ended is not None and not _is_slip(run)), None)
    if last is None or last.flavours or not last.errors or last.ended is None:
        return
    if elapsed(last.ended, report.now) < report.thresholds.failure:
        report.add_problem(Alarm.WARNING, f"the last run failed: {last.errors[0][1]}")
