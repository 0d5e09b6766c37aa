"""What a run has waited for a store, and what that has saved, over all its processes."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pyctrigger.store.remote.balance import Balance, Counted
from pyctrigger.store.remote.trouble import REASONS, Told, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def balance() -> Iterator[Balance]:
    """With a second."""
    found = Balance(1.0)
    yield found
    found.close()


#: Moments between which a process waits, in the order in which that is counted, and what is left of a second.
WAITS = [
    ([(0.0, 0.5)], 0.5),
    ([(0.0, 0.5), (0.6, 0.7)], 0.4),
    ([(0.0, 0.5), (0.0, 0.5)], 0.5),
    ([(0.0, 0.5), (0.2, 0.7)], 0.3),
    ([(0.3, 0.4), (0.3, 0.6), (0.5, 0.6)], 0.7),
    ([(0.0, 1.5)], -0.5),
]


@pytest.mark.parametrize(("waits", "left"), WAITS)
def test_moments_in_which_several_wait_count_once(
    balance: Balance, monkeypatch: pytest.MonkeyPatch, waits: list[tuple[float, float]], left: float
) -> None:
    """The run waits while any of its processes does."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: 1000 + now[0])
    for since, until in waits:
        now[0] = until
        found = balance.waited(1000 + since)
    assert pytest.approx(left) == found


@pytest.mark.parametrize(("lanes", "left"), [(1, 3.0), (4, 1.5)])
def test_what_is_saved_is_divided_by_those_who_would_compile(balance: Balance, lanes: int, left: float) -> None:
    """They do it side by side."""
    balance.lanes = lanes
    balance.saved(0.5)
    balance.saved(1.5)
    assert pytest.approx(left, abs=0.01) == balance.waited(time.monotonic())


def test_all_processes_share_it(balance: Balance) -> None:
    """What a forked one waits, saves, counts and gives up."""
    for _ in range(3):
        if not os.fork():
            since = time.monotonic()
            time.sleep(0.1)
            balance.waited(since)
            counted = Counted()
            counted.hits, counted.absent = 5, 2
            counted.flaws.update({REASONS[0]: 1})
            balance.add(counted)
            balance.give_up(Told(Trouble.SYSTEM, 111))
            os._exit(0)
        os.wait()
    balance.give_up(Told(Trouble.LOST))
    assert 0.4 < balance.waited(time.monotonic()) < 0.71
    found = balance.counted()
    assert (15, 6, {REASONS[0]: 3}) == (found.hits, found.absent, dict(found.flaws))
    assert Told(Trouble.SYSTEM, 111) == balance.trouble
