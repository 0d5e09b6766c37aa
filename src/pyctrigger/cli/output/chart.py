"""A bar chart of durations for a terminal: plain characters, and colours where they are wanted."""

from __future__ import annotations

import sys
from typing import NamedTuple

from .terminal import Words, wanted_columns

_WIDEST = 60
_NARROWEST = 10
#: How many times the largest value the scale reaches, at most.
_MOST_TIMES = 1.5


class Bar(NamedTuple):
    """One line of the chart, with numbers in seconds."""

    name: str
    label: str
    """The text before the bar."""
    value: float
    most: float
    """Where the thin rest of the bar ends."""
    style: str
    """As in `terminal`."""


def chart(bars: list[Bar]) -> list[Words]:
    """Returns a line for each bar, all on one scale from zero: `=` up to the value, `-` up to its maximum.

    A far outlier would leave no room for the others: its bar ends at the edge, in `>`.
    """
    if not bars:
        return []
    names, labels = max(len(bar.name) for bar in bars), max(len(bar.label) for bar in bars)
    room = max(_NARROWEST, min(_WIDEST, wanted_columns(sys.stdout) - names - labels - 7))  # six spaces, and the edge
    end = min(max(bar.most for bar in bars), _MOST_TIMES * max(bar.value for bar in bars))
    scale = room / max(end, 1e-9)
    lines: list[Words] = []
    for bar in bars:
        solid = max(1, round(bar.value * scale))
        rest = round(bar.most * scale) - solid
        drawn = "=" * solid + ("-" * rest if solid + rest <= room else "-" * (room - solid - 1) + ">")
        lines.append((f"  {bar.name:<{names}}  {bar.label:<{labels}}  ", (drawn, bar.style)))
    return lines
