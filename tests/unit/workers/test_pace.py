"""When a host looks at its workers again."""

from __future__ import annotations

import pytest

from pyctrigger.workers.pace import Pace


def learned(*answers: tuple[int, int], times: int = 1) -> Pace:
    """A pace that has heard these answers, size and microseconds, so many times."""
    pace = Pace()
    for _ in range(times):
        for size, microseconds in answers:
            pace.learn(size, microseconds)
    return pace


@pytest.mark.parametrize(
    ("pace", "size", "seconds"),
    [
        (learned(), 1 << 20, 0),  # nothing is known of the workers' speed
        (learned((1000, 200), times=100), 200_000, 0.02),
        (learned((1000, 200), times=100), 5_000, 0),  # half a millisecond isn't worth it
        (learned((1000, 200), times=100), 10_100, 0.00101),
        (learned((1000, 200), times=100), 9_900, 0),
        (learned((1000, 200), times=100), 500_000, 0.05),
        (learned((1000, 200), times=100), 1 << 30, 0.05),  # never for long
        (learned((1000, 0)), 1 << 30, 0),
        (learned((1000, 400)), 100_000, 0.02),
    ],
)
def test_half_of_the_work_passes_before_the_next_look(pace: Pace, size: int, seconds: float) -> None:
    """Not before anything is known, not for a moment, and never for long."""
    assert pytest.approx(seconds) == pace.pause(size)


def test_the_latest_answers_decide() -> None:
    """After one tenth of a thousand new ones the old speed is forgotten."""
    pace = learned((1000, 200), times=100)
    for _ in range(200):
        pace.learn(1000, 400)
    assert pytest.approx(0.04, rel=0.01) == pace.pause(200_000)


def test_each_answer_counts_by_its_size_and_weighs_less_with_each_later_one() -> None:
    """Two answers: 0.95 of the first and all of the second."""
    pace = learned((1000, 1000), (3000, 1000))
    assert pytest.approx(10_000 * (0.00095 + 0.001) / (950 + 3000)) == pace.pause(20_000)
