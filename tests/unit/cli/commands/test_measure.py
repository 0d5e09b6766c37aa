"""The sentence on what stale bytecode costs."""

from __future__ import annotations

import pytest

from pyctrigger.cli.commands.measure import cost_line
from pyctrigger.inspect.measure.measurement import Measurement, MeasureRequest, Sample
from unit.interpreter.made_up import interpreter

NOTHING = "no clear difference; more --runs, or a quieter machine, may show one"


@pytest.mark.parametrize(
    ("stale", "fresh", "sentence"),
    [
        (
            (0.3, 0.2),
            (0.1, 0.1),
            "stale bytecode costs 0.200 s at each start (0.100 s of CPU time): it takes 3.00 times as long",
        ),
        (
            (0.3, 0.1),
            (0.1, 0.1),
            "stale bytecode costs 0.200 s at each start (0.000 s of CPU time): it takes 3.00 times as long",
        ),
        ((0.1, 0.2), (0.2, 0.1), "stale bytecode costs 0.100 s of CPU time at each start, none by the clock"),
        ((0.1, 0.2), (0.1, 0.1), "stale bytecode costs 0.100 s of CPU time at each start, none by the clock"),
        ((0.1, 0.1), (0.1, 0.1), NOTHING),
        ((0.1, 0.1), (0.2, 0.2), NOTHING),
    ],
)
def test_each_time_that_is_clear_is_told(stale: tuple[float, float], fresh: tuple[float, float], sentence: str) -> None:
    """Two runs of each state, which took the same."""
    samples = [Sample(state, turn, *times) for turn in (1, 2) for state, times in (("stale", stale), ("fresh", fresh))]
    measured = Measurement(
        interpreter("py311", "/usr/bin/python3.11"), MeasureRequest(rounds=2), 1, 0, 0, tuple(samples)
    )
    assert cost_line(measured) == sentence
