"""`sweep`: remove only orphans and residue."""

from __future__ import annotations

from ...outcome.report import FlavourReport
from ..output.text import seconds
from . import Verb


def summary(run: FlavourReport) -> list[str]:
    """Returns `py311: 3 removed, 1 directory, 0 failed in 0.02 s`."""
    counts, failed = run.tally.counts, len(run.tally.failures)
    directories = f"{counts.removed_directories} director{'y' if counts.removed_directories == 1 else 'ies'}"
    return [f"{run.name}: {counts.removed} removed, {directories}, {failed} failed in {seconds(run.elapsed_seconds)}"]


VERB = Verb(
    "remove bytecode whose source is gone, and temporary files of killed writers",
    summary=summary,
    helps={"optimize": "only these optimization levels (default: all)"},
)
