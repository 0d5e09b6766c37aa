"""`run`: one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...run.scope.request import EVENTS, MANAGERS
from ..options import Once
from ..output.text import seconds

if TYPE_CHECKING:
    import argparse

    from ...outcome.report import FlavourReport

HELP = "compile what changed, and remove bytecode whose source is gone"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that only a package manager's hook needs."""
    group = parser.add_argument_group("transaction")
    group.add_argument("--event", default="unknown", choices=EVENTS, help="what the package manager did")
    group.add_argument("--manager", action=Once, choices=MANAGERS, help="which package manager's paths these are")
    group.add_argument("--hook", action="store_true", help="called by a package manager: exit 0 whatever happens")
    group.add_argument("--defer", action="store_true", help="only note the paths; the next run does the work")
    group.add_argument(
        "--proof",
        metavar="FILE",
        help="write `done` into FILE once the work is done, or safe in the journal",
    )


def summary(run: FlavourReport) -> list[str]:
    """One line: `py311: 42 compiled, 3 removed, 0 failed in 0.31 s`; or `py311: nothing to do, 1,356 fresh in …`."""
    counts, took = run.tally.counts, seconds(run.elapsed_seconds)
    if run.outcome == "deferred":
        return [f"{run.name}: deferred; the next run does it"]
    failed = max(counts.failed, len(run.tally.failures))
    skipped = f", {counts.skipped:,} skipped" if counts.skipped else ""
    if run.outcome == "nothing-to-do":
        return [f"{run.name}: nothing to do, {counts.fresh:,} fresh{skipped} in {took}"]
    refreshed = f" {counts.refreshed:,} refreshed," if counts.refreshed else ""
    did = f"{counts.compiled:,} compiled,{refreshed} {counts.removed:,} removed, {failed:,} failed{skipped}"
    return [f"{run.name}: {did} in {took}"]
