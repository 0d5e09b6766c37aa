"""A bar chart of durations for a terminal: plain characters, and colours where they are wanted."""

from __future__ import annotations

import shutil
from typing import NamedTuple

from .colour import Words

_WIDEST = 60
_NARROWEST = 10
#: How many times the largest value the scale goes to, at most.
_MOST_BEYOND = 1.5


class Bar(NamedTuple):
    """One line of the chart; the numbers in seconds."""

    name: str
    label: str
    """What stands before the bar."""
    value: float
    most: float
    """Where the thin rest of the bar ends."""
    style: str
    """As `colour` names it."""


def chart(bars: list[Bar]) -> list[Words]:
    """A line for each bar: `=` up to the value, `-` up to the most that was seen; all on one scale, from zero.

    One that was far off would leave no room for the others: it ends at the edge, in `>`.
    """
    names = max((len(bar.name) for bar in bars), default=0)
    labels = max((len(bar.label) for bar in bars), default=0)
    before = 2 + names + 2 + labels + 2
    room = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns - before - 1))
    largest = max((bar.value for bar in bars), default=0)
    scale = room / max(min(max((bar.most for bar in bars), default=0), _MOST_BEYOND * largest), 1e-9)
    lines: list[Words] = []
    for bar in bars:
        solid = max(1, round(bar.value * scale))
        rest = round(bar.most * scale) - solid
        drawn = "=" * solid + ("-" * rest if solid + rest <= room else "-" * (room - solid - 1) + ">")
        lines.append((f"  {bar.name:<{names}}  {bar.label:<{labels}}  ", (drawn, bar.style)))
    return lines
