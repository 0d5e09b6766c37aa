"""`which`: where a pyc comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..output.table import Table

if TYPE_CHECKING:
    import argparse

    from ...inspect.explain.provenance import Provenance, WhichReport
    from ...outcome.observer import Observer
    from ...outcome.report import FlavourReport
    from ...run.scope.request import Request

HELP = "show where bytecode comes from: source, Python, level, state and package"
PATH = "a source or a pyc"
HEADERS = ("flavour", "level", "state", "package", "source", "pyc")
_STYLES = {"fresh": "good", "missing": "warning", "orphan": "warning", "corrupt": "error"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def look(request: Request, options: argparse.Namespace, observer: Observer) -> WhichReport:
    """Look at them. Raises PyctriggerError."""
    from ...inspect.explain.provenance import trace

    del options
    return trace(request, observer)


def summary(run: FlavourReport) -> list[str]:
    """Nothing: it reports pycs, no flavours."""
    return []


def lines(report: WhichReport) -> list[Table]:
    """A table, one line for each pyc and flavour."""
    return [Table(HEADERS, [_row(each, report) for each in report.found], styles=_STYLES)]


def _row(each: Provenance, report: WhichReport) -> tuple[str, ...]:
    owner = report.owner(each)
    return (
        each.flavour or "-",
        "-" if each.pyc.cache_tag is None else str(each.pyc.level),
        each.state if each.reason is None else f"{each.state} ({each.reason})",
        "-" if owner is None else str(owner),
        "-" if each.pyc.source is None else each.pyc.source,
        each.pyc.path,
    )
