"""What the slow sources of a run may take together."""

from __future__ import annotations

import pytest

from pyctrigger.workers.allowance import Allowance
from pyctrigger.workers.limits import Limits


def spent(timeout: float, *seconds: float) -> Allowance:
    """The allowance of a run in which sources took so long."""
    allowance = Allowance(Limits(file_timeout=timeout))
    for each in seconds:
        allowance.spend(each)
    return allowance


#: The limit of one source, what sources took, the limit of those that follow, and whether nothing more is tried.
TAKEN = [
    (60, [], 60, False),
    (60, [5.9] * 1000, 60, False),  # less than a tenth isn't slow
    (60, [60] * 4, 60, False),
    (60, [60] * 5, 1, False),
    (60, [299], 60, False),
    (60, [300], 1, False),
    (60, [6] * 49, 60, False),
    (60, [6] * 50, 1, False),
    (60, [300, 0.89], 1, False),  # with the short limit, less than nine tenths of it isn't slow
    (60, [300, *[1] * 59], 1, False),
    (60, [300, *[1] * 60], 1, True),
    (60, [300, *[0.89] * 1000], 1, False),
    (600, [600] * 5, 10, False),
    (600, [600] * 5 + [10] * 60, 10, True),
    (2, [2] * 5, 1, False),
    (0.5, [0.5] * 5, 0.5, False),  # never more than the whole
    (0.5, [0.5] * 6, 0.5, True),
    (0, [1000] * 1000, 0, False),  # without a limit nothing is slow
]


@pytest.mark.parametrize(("timeout", "seconds", "then", "is_used_up"), TAKEN)
def test_slow_sources_leave_less_to_the_others(
    timeout: float, seconds: list[float], then: float, is_used_up: bool
) -> None:
    """Five whole limits, then one more in short ones, then nothing."""
    allowance = spent(timeout, *seconds)
    assert (then, is_used_up) == (allowance.limits.file_timeout, allowance.is_used_up)


def test_the_moment_of_the_change_is_told_once() -> None:
    """So that running workers get their new limit."""
    allowance = spent(60)
    assert [False] * 4 + [True] + [False] * 70 == [allowance.spend(60) for _ in range(75)]


def test_what_is_not_slow_changes_nothing() -> None:
    """However often."""
    allowance = spent(60, 299)
    assert [False] * 3 == [allowance.spend(seconds) for seconds in (0.0, 1.0, 5.9)]
    assert allowance.spend(6) is True


def test_nothing_else_changes() -> None:
    """Memory and start are what they were."""
    assert Limits(1.0, 7, 8.0) == _with(Limits(60.0, 7, 8.0)).limits


def _with(limits: Limits) -> Allowance:
    allowance = Allowance(limits)
    allowance.spend(300)
    return allowance
