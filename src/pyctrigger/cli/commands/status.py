"""`status`: a table of the current state, a quick check for monitors, and what another interpreter would need."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...inspect.status.migration import MigrationReport, compare_with
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...outcome.report import FlavourReport, Report
from ...run.scope.settings import BOOLEAN, SETTINGS, TEXT, Setting, ValueKind, one_of
from ..output.table import Piece, Table
from ..output.text import age, moment, seconds, shown, size
from . import Call, Verb

#: The width of a terminal, in columns.
_WIDTH = 80
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)\Z", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_REASONS = ("mtime", "size", "digest", "mode", "rights")

#: Options that have no effect on the quick check.
_OF_TREES = ("site_dirs", "stdlib", "pycache_prefix", "exclude", "optimize", "invalidation_mode", "source_date_epoch")

#: The rows of the table: a label, and the value for one flavour.
_ROWS: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("sources", lambda status: str(status["sources"])),
    ("fresh", lambda status: str(status["fresh"])),
    ("stale", lambda status: str(sum(status["stale"][reason] for reason in _REASONS))),
    *((f"  {reason}", lambda status, reason=reason: str(status["stale"][reason])) for reason in _REASONS),
    ("foreign-magic", lambda status: str(status["foreign_magic"])),
    ("missing", lambda status: str(status["missing"])),
    *((state, lambda status, state=state: str(status[state])) for state in ("corrupt", "mismatched", "obstructed")),
    ("orphans", lambda status: str(status["orphans"])),
    ("unreadable", lambda status: str(status["unreadable"])),
    ("residue", lambda status: str(status["residue"])),
    ("unwanted", lambda status: str(status["unwanted"])),
    ("uncompilable", lambda status: str(status["uncompilable"])),
    ("excluded", lambda status: str(status["excluded"])),
    ("refused", lambda status: str(status["refused"])),
    ("source bytes", lambda status: size(status["source_bytes"])),
    ("bytecode bytes", lambda status: size(status["pyc_bytes"])),
    ("together", lambda status: size(status["source_bytes"] + status["pyc_bytes"])),
    ("pending", lambda status: str(status["pending"])),
    ("parked", lambda status: str(status["parked"])),
    ("lock", lambda status: "held" if status["lock"] else "free"),
]


#: Rows that are shown even with a 0.
_ALWAYS = frozenset({"sources", "fresh", "pending"})


def _look(call: Call, observer: Observer) -> Report:
    from ...errors import UsageError

    options = call.options
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("format", "warning", "critical", "failure_age")
        if getattr(options, name) is not None
    ]
    if given and not options.check:
        raise UsageError(f"{given[0]} goes with --check", hint="add --check, or leave it out")
    if options.jobs is not None and options.against is None:
        raise UsageError("--jobs goes with --against", hint="add --against V, or leave it out")
    idle = [each.names[0] for each in SETTINGS if each.name in _OF_TREES and getattr(options, each.name)]
    if options.check and idle:
        raise UsageError("--check only examines the state", hint=f"leave out {idle[0]}")
    if options.check and options.against is not None:
        raise UsageError("--check and --against don't go together", hint="choose one")
    if options.check and options.format == "prometheus" and options.json:
        raise UsageError("--format prometheus and --json contradict each other", hint="leave one of them out")
    if options.against is not None:
        return compare_with(call.read_request(observer), options.against, observer)
    if options.check:
        from ...inspect.status.check import Thresholds, check

        chosen = {"warning": options.warning, "critical": options.critical, "failure": options.failure_age}
        limits = Thresholds()._replace(**{name: value for name, value in chosen.items() if value is not None})
        return check(call.read_request(observer), limits, nagios=options.format != "prometheus")
    from ...inspect.status.status import take_status

    report = take_status(call.read_request(observer), observer)
    report.is_whole = options.verbose > 0
    return report


def _lines(report: Report) -> list[Piece]:
    from ...inspect.status.check import CheckReport

    if isinstance(report, CheckReport):
        from ..output.monitoring import nagios_line, prometheus_lines

        return [nagios_line(report)] if report.nagios else [*prometheus_lines(report)]
    if isinstance(report, MigrationReport):
        return _migration(report)
    runs = [(run, run.status, run.interpreter) for run in report.runs]
    shown_runs = [(run, status, interpreter) for run, status, interpreter in runs if status and interpreter]
    if not shown_runs:
        return []
    rows = [
        (run.flavour, interpreter.release, magic(interpreter), _changed(status), interpreter.executable)
        for run, status, interpreter in shown_runs
    ]
    found = Table(("flavour", "release", "magic number", "changed", "executable"), rows)
    return [
        found,
        "",
        *_tables([(run, status) for run, status, _ in shown_runs], whole=report.is_whole),
        *_notes(shown_runs),
    ]


def _changed(status: dict[str, Any]) -> str:
    """Returns whether the magic number has changed since the last full examination; `-` without one."""
    if status["previous_magic_number"]:
        return f"from {status['previous_magic_number']}"
    return "no" if status["is_served"] else "-"


def magic(interpreter: Interpreter) -> str:
    """Returns a magic number as people write it, and its bytes: `3495 (a70d0d0a)`."""
    return f"{int.from_bytes(interpreter.magic_number[:2], 'little')} ({interpreter.magic_number.hex()})"


def _tables(flavours: Sequence[tuple[FlavourReport, dict[str, Any]]], *, whole: bool) -> Iterator[Piece]:
    """Yields tables with a column for each flavour, as many as fit a line; without rows of zeros unless `whole`."""
    rest = list(flavours)
    while rest:
        for count in range(len(rest), 0, -1):
            headers = ["", *(run.name for run, _ in rest[:count])]
            rows = [[label, *(cell(status) for _, status in rest[:count])] for label, cell in _ROWS]
            rows = [row for row in rows if whole or row[0] in _ALWAYS or any(cell != "0" for cell in row[1:])]
            table = Table(headers, rows, numbers=headers[1:])
            if table.width <= _WIDTH:
                break
        yield table
        yield ""
        rest = rest[count:]


def _notes(runs: Sequence[tuple[FlavourReport, dict[str, Any], Interpreter]]) -> Iterator[str]:
    """Yields further information, one line for each item."""
    for run, status, _ in runs:
        directories = ", ".join(map(shown, status["site_directories"])) or "none"
        yield f"{run.name}: installation {run.installation}, site directories {directories}"
        if status["previous_magic_number"]:
            previous = status["previous_magic_number"]
            yield f"{run.name}: the magic number was {previous}: the next run compiles everything again"
        if status["oldest_pending_seconds"] is not None:
            yield f"{run.name}: the oldest work in the journal is {age(status['oldest_pending_seconds'])} old"
        if status["parked"]:
            yield f"{run.name}: parked work has failed three times; pyctrigger repair examines everything again"
        if status["lock"]:
            lock = status["lock"]
            since = moment(lock["since"]) if lock["since"] else "an unknown time"
            yield f"{run.name}: the lock is held by process {lock['pid']} ({shown(lock['command'])}) since {since}"


def _migration(report: MigrationReport) -> list[Piece]:
    goal, estimate = report.goal, report.estimate
    rows = [
        (
            site.flavour,
            str(site.sources),
            str(site.needed),
            ", ".join(f"{count} {reason}" for reason, count in sorted(site.reasons.items())) or "-",
            "unknown" if site.estimate.seconds is None else seconds(site.estimate.seconds),
            site.path,
        )
        for site in report.sites
    ]
    headers = ("flavour", "sources", "needed", "reasons", "compilation", "directory")
    lines: list[Piece] = [f"{each.flavour} {each.release}: magic number {magic(each)}" for each in report.origins]
    lines += [f"against {goal.flavour} {goal.release}: magic number {magic(goal)}, {shown(goal.executable)}", ""]
    lines.append(Table(headers, rows, numbers=("sources", "needed", "compilation")))
    needed, sources = (sum(getattr(site, name) for site in report.sites) for name in ("needed", "sources"))
    if estimate.seconds is None:
        last = f"{needed} of {sources} sources need bytecode; no compile times are recorded yet"
    else:
        workers = f"{report.workers} worker{'' if report.workers == 1 else 's'}"
        about = seconds(estimate.seconds / report.workers)
        last = f"{needed} of {sources} sources need bytecode: about {about} with {workers}"
        if estimate.untimed:
            last += f" ({estimate.timed} times are recorded, the others estimated by size)"
    return [*lines, "", last, *(f"not examined: {shown(each.path)}: {each.message}" for each in report.unexamined)]


def _age(text: str) -> float:
    """Returns the seconds in a duration, or -1 if it isn't one."""
    match = _DURATION.match(text)
    return float(match[1]) * _UNITS[match[2]] if match else -1


_AGE = ValueKind("a time", "a time", lambda text: _age(text) >= 0, _age, "a time such as 90s, 15m, 2h or 1d", "AGE")
_INSTEAD = "instead of the table"
VERB = Verb(
    "show sources, bytecode, pending work and the lock",
    _look,
    _lines,
    options=(
        Setting(
            "check", BOOLEAN, "answer a monitor: pending work, last failure, changed magic numbers", group=_INSTEAD
        ),
        Setting("format", one_of("nagios", "prometheus"), "how --check answers (default: nagios)", group=_INSTEAD),
        Setting(
            "warning", _AGE, "age of pending work that is a warning, such as 90s or 2h (default: 1h)", group=_INSTEAD
        ),
        Setting("critical", _AGE, "age of pending work that is critical (default: 1d)", group=_INSTEAD),
        Setting("failure_age", _AGE, "how long to report that the last run failed (default: 1d)", group=_INSTEAD),
        Setting(
            "against",
            TEXT,
            "how many sources that Python would need compiled, and how long it would take",
            value="V",
            group=_INSTEAD,
            once=True,
        ),
    ),
)
