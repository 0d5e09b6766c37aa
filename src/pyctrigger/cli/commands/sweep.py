"""`sweep`: orphans and residue only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..output.text import seconds

if TYPE_CHECKING:
    import argparse

    from ...outcome.report import FlavourReport

HELP = "remove bytecode whose source is gone, and what killed writers left"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What else goes."""
    parser.add_argument(
        "--unwanted",
        action="store_true",
        help="remove bytecode at levels that the configuration no longer asks for, too",
    )


def summary(run: FlavourReport) -> list[str]:
    """One line: `py311: 3 removed, 1 directory, 0 failed in 0.02 s`."""
    counts = run.tally.counts
    directories = f"{counts.removed_directories} director{'y' if counts.removed_directories == 1 else 'ies'}"
    line = (
        f"{run.name}: {counts.removed} removed, {directories}, {len(run.tally.failures)} failed"
        f" in {seconds(run.elapsed_seconds)}"
    )
    return [line]
