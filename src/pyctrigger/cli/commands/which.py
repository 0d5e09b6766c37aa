"""`which`: show where a pyc comes from."""

from __future__ import annotations

from ...inspect.explain.provenance import Provenance, WhichReport, trace
from ..output.table import Table
from . import Verb

HEADERS = ("flavour", "level", "state", "package", "source", "pyc")
_STYLES = {"fresh": "good", "missing": "warning", "orphan": "warning", "corrupt": "error"}


def _report_lines(report: WhichReport) -> list[Table]:
    """Returns a table with a row for each pyc and flavour."""
    return [Table(HEADERS, [_table_row(each, report) for each in report.found], styles=_STYLES)]


def _table_row(each: Provenance, report: WhichReport) -> tuple[str, ...]:
    owner = report.owner(each)
    return (
        each.flavour or "-",
        "-" if each.pyc.cache_tag is None else str(each.pyc.level),
        _describe_state(each),
        "-" if owner is None else str(owner),
        "-" if each.pyc.source is None else each.pyc.source,
        each.pyc.path,
    )


def _describe_state(each: Provenance) -> str:
    """Returns the state, and in parentheses why, and that runs leave it alone."""
    # Of what no interpreter is here for, the reason is that.
    is_left = each.flavour is not None and each.pyc.kind == "pyc" and not each.in_scope and each.state != "unknown"
    notes = [note for note in (each.reason, "out of scope" if is_left else None) if note]
    return f"{each.state} ({'; '.join(notes)})" if notes else each.state


VERB = Verb(
    "show where bytecode comes from: source, Python, level, state and package",
    lambda call, observer: trace(call.read_request(observer), observer),
    _report_lines,
    paths="a source or a pyc",
)
