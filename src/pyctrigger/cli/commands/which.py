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
        each.state if each.reason is None else f"{each.state} ({each.reason})",
        "-" if owner is None else str(owner),
        "-" if each.pyc.source is None else each.pyc.source,
        each.pyc.path,
    )


VERB = Verb(
    "show where bytecode comes from: source, Python, level, state and package",
    lambda call, observer: trace(call.read_request(observer), observer),
    _report_lines,
    paths="a source or a pyc",
)
