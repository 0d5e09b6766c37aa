"""`history`: what each run was called with and did."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote
from typing import Any

from ...inspect.past import HistoryReport, read_history
from ...outcome.observer import Observer
from ...run.scope.settings import BOOLEAN, SETTINGS, TEXTS, Setting, whole_number
from ...state.history import PastFlavour, PastRun, elapsed
from ..output.table import Piece, Table
from ..output.text import counted, moment, seconds, shown
from . import Call, Verb

HEADERS = ("id", "date", "command", "event", "manager", "paths", "changes", "failures", "outcome", "duration")
_NUMBERS = ("id", "paths", "changes", "failures", "duration")
_STYLES = {"failed": "error", "error": "error", "interrupted": "warning", "deferred": "dim", "running": "strong"}


def _read_runs(call: Call, observer: Observer) -> HistoryReport:
    said = call.options
    return read_history(said.root, said.state_dir, said.numbers, limit=said.limit, failed=said.failed)


def _report_lines(report: HistoryReport) -> list[Piece]:
    """Returns a table of runs, newest first, or all details of the given runs."""
    if report.is_list:
        rows = [_table_row(run) for run in report.past]
        if rows:
            return [Table(HEADERS, rows, numbers=_NUMBERS, styles=_STYLES)]
        return [report.why_empty] if report.why_empty else []
    found: list[Piece] = []
    for run in report.past:
        found += [""] if found else []
        found += _run_lines(run)
    return found


def _table_row(run: PastRun) -> tuple[str, ...]:
    return (
        str(run.number),
        moment(run.began),
        run.command,
        run.event if run.event != "unknown" else "-",
        run.manager or "-",
        "all" if run.paths is None else str(run.path_count),
        str(run.changes),
        str(sum(each.failure_count for each in run.flavours)),
        run.outcome,
        "-" if run.ended is None else seconds(elapsed(run.began, run.ended)),
    )


def _run_lines(run: PastRun) -> Iterator[str]:
    yield f"run {run.number}: {shown(run.command)}{' --hook' if run.hook else ''}, {run.outcome}"
    yield f"  began {moment(run.began)}, " + (
        "and didn't finish" if run.ended is None else f"took {seconds(elapsed(run.began, run.ended))}"
    )
    yield f"  process {run.pid}, event {shown(run.event)}, manager {shown(run.manager or 'none')}"
    options = " ".join(word for name, value in run.options.items() for word in _words(name, value))
    yield f"  options: {shown(options) if options else 'none'}"
    if run.paths is None:
        yield "  paths: the whole scope"
    else:
        yield f"  paths: {run.path_count}"
        yield from (f"    {shown(path)}" for path in run.paths)
        if len(run.paths) < run.path_count:
            yield f"    and {run.path_count - len(run.paths)} more, which were not recorded"
    for each in run.flavours:
        yield from _flavour_lines(each)
    for code, message in run.errors:
        yield f"  error {code}: {shown(message)}"
    if run.ended is not None:
        yield f"  exit code {run.exit_code}{', 0 for the package manager' if run.hook and run.exit_code else ''}"


def _words(name: str, value: Any) -> Iterator[str]:
    """Yields an option as it is typed. What no option of today has is shown as it was recorded."""
    setting = next((each for each in SETTINGS if each.name == name), None)
    if setting is None:
        yield f"{name}={value!r}"
    elif value is True:
        yield setting.names[0]
    elif isinstance(value, list) and not setting.kind.is_list:
        yield from (setting.names[0], ",".join(map(str, value)))
    else:
        for each in value if isinstance(value, list) else [value]:
            yield from (setting.names[0], quote(str(each)))


def _flavour_lines(each: PastFlavour) -> Iterator[str]:
    counts = ", ".join(f"{count} {shown(name).replace('_', ' ')}" for name, count in each.counts.items())
    took = seconds(each.elapsed_seconds)
    environment = "" if each.prefix is None else f"{shown(each.prefix)}: "
    yield f"  {environment}{shown(each.flavour)} ({shown(each.installation)}): {counts or 'nothing'} in {took}"
    if each.deferred:
        yield "    its work was left in the journal"
    if each.taken_over:
        yield f"    it did the work of {counted(each.taken_over, 'other run')} in the journal"
    yield from (f"    {shown(path)}: {shown(kind)}: {shown(message)}" for path, kind, message in each.failures)
    if len(each.failures) < each.failure_count:
        yield f"    and {each.failure_count - len(each.failures)} more failures, which were not recorded"


VERB = Verb(
    "list past runs, or show one in full",
    _read_runs,
    _report_lines,
    options=(
        Setting("numbers", TEXTS, "runs to show in full; last: the newest", value="ID", flags=("numbers",), default=[]),
        Setting(
            "limit", whole_number(0, 999_999, "a number of runs"), "how many to list; 0: all (default: 20)", default=20
        ),
        Setting("failed", BOOLEAN, "only runs that failed or were cut short"),
    ),
    paths="",
)
