"""`explain`: the state of bytecode, the reason, and what a run would do about it."""

from __future__ import annotations

from collections.abc import Iterator

from ...inspect.explain.decisions import Decision
from ...inspect.explain.explanation import Branch, ExplainReport, Explanation, FlavourView, explain
from ..output.table import Piece, Table
from ..output.text import counted, moment, shown
from . import Verb

#: Files of a directory that are listed.
_MOST_ITEMS = 20


def _report_lines(report: ExplainReport) -> list[Piece]:
    """Returns a paragraph for each path."""
    found: list[Piece] = []
    for each in report.explanations:
        found += [""] if found else []
        found += _path_lines(each, report)
    return found


def _path_lines(each: Explanation, report: ExplainReport) -> Iterator[Piece]:
    yield f"{shown(each.path)}: {each.kind}"
    owner = report.owners.get(each.source or each.path)
    of_what = "" if each.kind != "pyc" or each.source is None else " of the source"
    if each.kind != "directory":
        yield f"  owner{of_what}: {shown(str(owner)) if owner else 'no package'}"
    if each.kind == "pyc" and each.source is not None:
        yield f"  source: {shown(each.source)}"
    if each.status is not None:
        mtime = int(each.status.st_mtime)
        yield f"  the source has {each.status.st_size} bytes and mtime {mtime} ({moment(mtime)})"
    for view in each.flavours:
        yield from _flavour_lines(view, report)


def _flavour_lines(view: FlavourView, report: ExplainReport) -> Iterator[Piece]:
    yield f"  {shown(view.called)}:{'' if view.note is None else ' ' + shown(view.note)}"
    if view.site_directory is not None:
        is_module = view.package is not None and view.package.endswith(".py")
        package = f", in the package {shown(view.package)}" if view.package and not is_module else ""
        yield f"    site directory {shown(view.site_directory)}{package}"
    for level in view.levels:
        yield from _level_lines(level, report)
    if view.last_failure is not None:
        failed = view.last_failure
        when = "" if failed.when is None else f", on {moment(failed.when)}, in run {failed.run} of the history"
        yield f"    last failure: {failed.kind}: {shown(failed.message)}{when}"
    if view.directory is not None:
        yield from _branch_lines(view.directory)


def _level_lines(decision: Decision, report: ExplainReport) -> Iterator[str]:
    owner, header = report.owners.get(decision.pyc), decision.header
    reason = f" ({decision.reason})" if decision.reason else ""
    yield f"    level {decision.level}: {decision.state}{reason}: {shown(decision.rule)}"
    yield f"      pyc: {shown(decision.pyc)}"
    if header is not None:
        mode = header.invalidation_mode or "an unknown invalidation mode"
        fields = [f"magic number {header.magic_number.hex()}", mode]
        fields += [] if header.mtime is None else [f"mtime {header.mtime}", f"size {header.size}"]
        fields += [] if header.source_hash is None else [f"source hash {header.source_hash.hex()}"]
        yield f"      header: {', '.join(fields)}"
    if owner is not None:
        yield f"      owner: {shown(str(owner))}"
    yield f"      a run would {_ACTIONS.get(decision.action, 'leave it')}: {shown(decision.because)}"


_ACTIONS = {**{each: f"{each} it" for each in ("compile", "refresh", "compare", "remove")}, "refused": "refuse it"}


def _branch_lines(branch: Branch) -> Iterator[Piece]:
    yield f"    {counted(branch.sources, 'source')}, {branch.fresh} of them fresh"
    if branch.obstacle is not None:
        yield f"    nothing would be written into it: {shown(branch.obstacle)}"
    # The first cell indents the table.
    rows = [("  ", each.action, each.path, f"({each.reason})") for each in branch.items[:_MOST_ITEMS]]
    yield Table((), rows)
    left = sum(branch.actions.values()) - len(rows)
    if left > 0:
        yield f"    and {left} more; --json has the first hundred"


VERB = Verb(
    "explain why bytecode is as it is, and what a run would do",
    lambda call, observer: explain(call.read_request(observer), observer),
    _report_lines,
    paths="a source, a pyc or a directory",
)
