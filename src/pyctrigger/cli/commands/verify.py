"""`verify`: report findings, one per line, and change nothing."""

from __future__ import annotations

from collections import Counter

from ...outcome.outcome import Finding
from ...outcome.report import FlavourReport
from ...outcome.states import why
from ..output.terminal import Words
from ..output.text import counted, seconds, shown
from . import Verb


def summary(run: FlavourReport) -> list[str | Words]:
    """Returns a line for each finding, and one of totals."""
    findings = run.tally.findings
    lines: list[str | Words] = [
        ((finding.kind, "warning"), f": {shown(finding.pyc or finding.source or '')}{_reason_of(finding)}")
        for finding in findings
        if not finding.known
    ]
    known = Counter(finding.kind for finding in findings if finding.known)
    uncompilable = f", {known['uncompilable']:,} known not to compile" if known["uncompilable"] else ""
    unwanted = f", {known['unwanted']:,} of levels that aren't configured" if known["unwanted"] else ""
    total = f"{run.name}: {counted(len(lines), 'finding')}, {run.tally.counts.fresh:,} fresh{uncompilable}{unwanted}"
    return [*lines, f"{total} in {seconds(run.elapsed_seconds)}"]


def _reason_of(finding: Finding) -> str:
    reason = why(finding)
    return f" ({shown(reason)})" if reason else ""


VERB = Verb("report what is wrong with bytecode, and change nothing", summary=summary)
