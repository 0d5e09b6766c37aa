"""When a host looks at its workers again: told by real pipes, and a clock that only sleeping moves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pyctrigger.workers import pace
from pyctrigger.workers.worker import widen

KIB = 1 << 10


class Asleep:
    """Stands for `time`: what sleeping does to the clock, and to a worker."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slices = 0
        self.reads: list[tuple[int, int]] = []

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the worker read so many bytes."""
        self.now += seconds
        self.slices += 1
        if self.reads:
            os.read(*self.reads.pop(0))


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Asleep:
    """The clock of this test."""
    clock = Asleep()
    monkeypatch.setattr(pace, "time", clock)
    return clock


@pytest.fixture
def pipes() -> Iterator[list[tuple[int, int]]]:
    """Two wide pipes: requests and answers."""
    made = [os.pipe() for _ in range(2)]
    for _, end in made:
        widen(end, 256 * KIB)
    yield made
    for end in (each for pipe in made for each in pipe):
        os.close(end)


#: Whether it is ready, KiB of its requests, of those that it hasn't read, and of answers that wait for us.
CASES = {
    "it has all to do": (True, 100, 100, 0, True),
    "it has read less than three quarters": (True, 100, 30, 20, True),
    "it has read three quarters": (True, 100, 25, 0, False),
    "it has read all": (True, 100, 0, 0, False),
    "its answers fill half of their pipe": (True, 200, 190, 128, False),
    "it starts": (False, 100, 100, 0, False),
    "it has hardly anything": (True, 31, 31, 0, False),
}


@pytest.mark.parametrize(("is_ready", "requests", "unread", "answers", "sleeps"), CASES.values(), ids=CASES)
def test_it_rests_while_a_worker_has_enough(
    pipes: list[tuple[int, int]],
    asleep: Asleep,
    is_ready: bool,
    requests: int,
    unread: int,
    answers: int,
    sleeps: bool,
) -> None:
    """Of two workers the one that has less decides; without any there is nothing to wait for."""
    (_, write), (theirs, ours) = pipes
    os.write(write, bytes(unread * KIB))
    os.write(ours, bytes(answers * KIB))
    worker = SimpleNamespace(is_ready=is_ready, outstanding=requests * KIB, input=write, output=theirs, room=128 * KIB)
    pace.rest_while_busy([worker])  # type: ignore[list-item]
    assert sleeps == (asleep.slices > 0)
    assert asleep.now < 0.06  # however much there is to do

    asleep.slices = 0
    done = SimpleNamespace(**{**vars(worker), "outstanding": 0})
    pace.rest_while_busy([worker, done])  # type: ignore[list-item]
    pace.rest_while_busy([])
    assert 0 == asleep.slices


def test_it_looks_as_soon_as_a_quarter_is_left(pipes: list[tuple[int, int]], asleep: Asleep) -> None:
    """Whatever the sources before took."""
    (read, write), (theirs, _) = pipes
    os.write(write, bytes(100 * KIB))
    worker = SimpleNamespace(is_ready=True, outstanding=100 * KIB, input=write, output=theirs, room=128 * KIB)
    asleep.reads = [(read, 40 * KIB), (read, 34 * KIB), (read, KIB), (read, KIB)]
    pace.rest_while_busy([worker])  # type: ignore[list-item]
    assert 3 == asleep.slices


def test_a_system_that_does_not_say_how_much_is_left(asleep: Asleep) -> None:
    """Then each answer is read as it comes."""
    null = os.open(os.devnull, os.O_RDWR)
    worker = SimpleNamespace(is_ready=True, outstanding=100 * KIB, input=null, output=null, room=128 * KIB)
    pace.rest_while_busy([worker])  # type: ignore[list-item]
    os.close(null)
    assert 0 == asleep.slices
