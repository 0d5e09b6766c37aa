"""`run`: compile and sweep after a transaction."""

from __future__ import annotations

from ...outcome.report import FlavourReport
from ...run.scope.settings import TEXT, Setting
from ..output.text import seconds
from . import Verb


def summary(run: FlavourReport) -> list[str]:
    """Returns `py311: 42 compiled, 3 removed, 0 failed in 0.31 s`, or `py311: nothing to do, 1,356 fresh in …`."""
    counts, took = run.tally.counts, seconds(run.elapsed_seconds)
    if run.outcome == "deferred":
        return [f"{run.name}: deferred; the next run does it"]
    failed = max(counts.failed, len(run.tally.failures))
    skipped = f", {counts.skipped:,} skipped" if counts.skipped else ""
    if run.outcome == "nothing-to-do":
        return [f"{run.name}: nothing to do, {counts.fresh:,} fresh{skipped} in {took}"]
    stored = f" {counts.stored:,} from the store," if counts.stored else ""
    refreshed = f" {counts.refreshed:,} refreshed," if counts.refreshed else ""
    did = f"{counts.compiled:,} compiled,{stored}{refreshed} {counts.removed:,} removed, {failed:,} failed{skipped}"
    return [f"{run.name}: {did} in {took}"]


VERB = Verb(
    "compile what changed, and remove bytecode whose source is gone",
    summary=summary,
    options=(
        Setting("proof", TEXT, "write `done` into FILE once the work is done, or safe in the journal", value="FILE"),
    ),
    group="transaction",
)
