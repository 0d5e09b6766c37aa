"""`status`: a table of the current state, a quick check for monitors, and what another interpreter would need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import UsageError
from ...inspect.status.migration import compare_with
from ...inspect.status.needs import MigrationReport
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...outcome.report import Report
from ...run.scope.settings import BOOLEAN, TEXT, Setting, ValueKind, one_of
from ..output.table import Piece, Table
from ..output.text import age, counted, moment, seconds, shown, size
from . import Call, Verb

#: The width of a terminal, in columns.
_WIDTH = 80
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)\Z", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

#: Options of the quick check, and those that have no effect on it.
_OF_CHECK = ("format", "warning", "critical", "failure_age")
_OF_TREES = ("site_dirs", "stdlib", "pycache_prefix", "exclude", "optimize", "invalidation_mode", "source_date_epoch")

#: Rows that are shown even with a 0.
_ALWAYS = frozenset({"sources", "fresh", "pending"})


def _take_status(call: Call, observer: Observer) -> Report:
    options = call.options
    if options.format == "prometheus" and options.json:
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


def _report_lines(report: Report) -> list[Piece]:
    from ...inspect.status.check import CheckReport

    if isinstance(report, CheckReport):
        from ..output.monitoring import nagios_line, prometheus_lines

        return [nagios_line(report)] if report.nagios else [*prometheus_lines(report)]
    if isinstance(report, MigrationReport):
        return _migration_lines(report)
    rows, columns = [], []
    notes: list[Piece] = []
    for run in report.runs:
        status, interpreter = run.status, run.interpreter
        if status is not None and interpreter is not None:
            magic, executable = describe_magic(interpreter), interpreter.executable
            rows.append((run.flavour, interpreter.release, magic, _describe_change(status), executable))
            columns.append((run.name, _column_cells(status)))
            notes += _status_notes(run.name, run.installation, status)
    if not rows:
        return []
    found = Table(("flavour", "release", "magic number", "changed", "executable"), rows)
    return [found, "", *_status_tables(columns, whole=report.is_whole), *notes]


def _describe_change(status: dict[str, Any]) -> str:
    """Returns whether the magic number has changed since the last full examination; `-` without one."""
    if status["previous_magic_number"]:
        return f"from {status['previous_magic_number']}"
    return "no" if status["is_served"] else "-"


def describe_magic(interpreter: Interpreter) -> str:
    """Returns a magic number as people write it, and its bytes: `3495 (a70d0d0a)`."""
    return f"{int.from_bytes(interpreter.magic_number[:2], 'little')} ({interpreter.magic_number.hex()})"


def _describe_release(interpreter: Interpreter) -> str:
    return f"{interpreter.flavour} {interpreter.release}: magic number {describe_magic(interpreter)}"


def _column_cells(status: dict[str, Any]) -> dict[str, str]:
    """Returns the column of a flavour, by the labels of its rows."""
    stale = {reason: status["stale"][reason] for reason in ("mtime", "size", "digest", "mode", "rights")}

    def counts(*labels: str) -> dict[str, str]:
        return {label: str(status[label.replace("-", "_")]) for label in labels}

    return {
        **counts("sources", "fresh"),
        "  from a store": str(status["stored"]),
        "stale": str(sum(stale.values())),
        **{f"  {reason}": str(count) for reason, count in stale.items()},
        **counts("foreign-magic", "missing", "corrupt", "mismatched", "obstructed", "orphans", "unreadable", "residue"),
        **counts("unwanted", "uncompilable", "excluded", "refused"),
        "source bytes": size(status["source_bytes"]),
        "bytecode bytes": size(status["pyc_bytes"]),
        "together": size(status["source_bytes"] + status["pyc_bytes"]),
        **counts("pending", "parked"),
        "lock": "held" if status["lock"] else "free",
    }


def _status_tables(columns: list[tuple[str, dict[str, str]]], *, whole: bool) -> Iterator[Piece]:
    """Yields tables with a column for each flavour, as many as fit a line; without rows of zeros unless `whole`."""
    while columns:
        for count in range(len(columns), 0, -1):
            names, cells = zip(*columns[:count])
            rows = [[label, *(each[label] for each in cells)] for label in cells[0]]
            rows = [row for row in rows if whole or row[0] in _ALWAYS or set(row[1:]) != {"0"}]
            table = Table(["", *names], rows, numbers=names)
            if table.width <= _WIDTH:
                break
        yield table
        yield ""
        columns = columns[count:]


def _status_notes(name: str, installation: str, status: dict[str, Any]) -> Iterator[str]:
    """Yields further information, one line for each item."""
    directories = ", ".join(map(shown, status["site_directories"])) or "none"
    yield f"{name}: installation {installation}, site directories {directories}"
    if status["previous_magic_number"]:
        previous = status["previous_magic_number"]
        yield f"{name}: the magic number was {previous}: the next run compiles everything again"
    if status["oldest_pending_seconds"] is not None:
        yield f"{name}: the oldest work in the journal is {age(status['oldest_pending_seconds'])} old"
    if status["parked"]:
        yield f"{name}: parked work has failed three times; pyctrigger repair examines everything again"
    if status["lock"]:
        lock = status["lock"]
        since = moment(lock["since"]) if lock["since"] else "an unknown time"
        holder = f"process {lock['pid']} ({shown(lock['command'])})" if lock["pid"] else "an unknown process"
        yield f"{name}: the lock is held by {holder} since {since}"


def _migration_lines(report: MigrationReport) -> list[Piece]:
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
    lines: list[Piece] = [_describe_release(each) for each in report.origins]
    lines += [f"against {_describe_release(goal)}, {shown(goal.executable)}", ""]
    lines.append(Table(headers, rows, numbers=("sources", "needed", "compilation")))
    needed, sources = (sum(getattr(site, name) for site in report.sites) for name in ("needed", "sources"))
    if estimate.seconds is None:
        last = f"{needed} of {sources} sources need bytecode; no compile times are recorded yet"
    else:
        about = f"{seconds(estimate.seconds / report.workers)} with {counted(report.workers, 'worker')}"
        last = f"{needed} of {sources} sources need bytecode: about {about}"
        if estimate.untimed:
            last += f" (for {estimate.timed} of them a time is recorded, the others are estimated by size)"
    return [*lines, "", last, *(f"not examined: {shown(each.path)}: {each.message}" for each in report.unexamined)]


def _parse_age(text: str) -> float:
    """Returns the seconds in a duration, or -1 if it isn't one."""
    match = _DURATION.match(text)
    return float(match[1]) * _UNITS[match[2]] if match else -1


_AGE = ValueKind("a time", lambda text: _parse_age(text) >= 0, _parse_age, "a time such as 90s, 15m, 2h or 1d", "AGE")
VERB = Verb(
    "show sources, bytecode, pending work and the lock",
    _take_status,
    _report_lines,
    options=(
        Setting("check", BOOLEAN, "answer a monitor: pending work, last failure, changed magic numbers"),
        Setting("format", one_of("nagios", "prometheus"), "how --check answers (default: nagios)"),
        Setting("warning", _AGE, "age of pending work that is a warning, such as 90s or 2h (default: 1h)"),
        Setting("critical", _AGE, "age of pending work that is critical (default: 1d)"),
        Setting("failure_age", _AGE, "how long to report that the last run failed (default: 1d)"),
        Setting("against", TEXT, "what that Python would need compiled, and how long it takes", value="V", once=True),
    ),
    group="instead of the table",
    needs={"null": "paths_from", "jobs": "against", **dict.fromkeys(_OF_CHECK, "check")},
    excludes={"check": ("against", "stateless", *_OF_TREES)},
)
