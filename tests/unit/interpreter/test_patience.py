"""A limit of time that leaves out what a busy machine costs."""

from __future__ import annotations

import io

import pytest

from pyctrigger.interpreter import patience as module
from pyctrigger.interpreter.patience import Patience

SECOND = 1_000_000_000


class Kernel:
    """A clock, and what /proc says of processes: nanoseconds that each waited, how often it ran, and its state."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.files: dict[str, bytes] = {}

    def says(self, process: str, waited: float, times: int = 7, state: str = "R") -> None:
        """From now on."""
        self.files[f"/proc/{process}/schedstat"] = b"%d %d %d\n" % (5 * SECOND, waited * SECOND, times)
        self.files[f"/proc/{process}/stat"] = f"12 (a) R (x) {state} 1 12 12 0\n".encode()

    def open(self, path: str, mode: str) -> io.BytesIO:
        """One of its files."""
        assert "rb" == mode
        if path not in self.files:
            raise FileNotFoundError(path)
        return io.BytesIO(self.files[path])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """One whose answers a test chooses."""
    kernel = Kernel()
    monkeypatch.setattr("time.monotonic", lambda: kernel.now)
    monkeypatch.setattr(module, "open", kernel.open, raising=False)
    kernel.says("self", 100)
    return kernel


#: What passes on the clock, seconds that this process waited by then, how often it ran, its state, and what is left of
#: ten seconds.
LEFT: list[tuple[float, float, int, str, float]] = [
    (0, 100, 7, "R", 10),
    (4, 100, 7, "S", 6),
    (4, 103, 8, "R", 6),  # as long as it has time, nobody looks
    (10, 100, 8, "S", 0),
    (11, 100, 8, "S", 0),
    (11, 103, 8, "S", 2),
    (13, 103, 8, "S", 0),
    (14, 103, 8, "S", 0),
    (13, 103, 8, "R", 0.05),  # it is kept waiting at this moment: look again
    (129, 300, 8, "S", 1),
    (130, 300, 8, "R", 0),  # however busy the machine is
    (131, 300, 8, "R", 0),
    (11, 50, 8, "S", 0),  # a counter that goes back
]


@pytest.mark.parametrize(("passed", "waited", "times", "state", "left"), LEFT)
def test_time_that_is_waited_for_the_processor_isnt_counted(
    kernel: Kernel, passed: float, waited: float, times: int, state: str, left: float
) -> None:
    """Up to two minutes of it."""
    patience = Patience(10)
    kernel.now += passed
    kernel.says("self", waited, times, state)
    assert left == patience.left


def test_what_ran_since_the_last_look_does_not_wait(kernel: Kernel) -> None:
    """It is over for what runs all the time; not for what was ready at both looks, and didn't run between them."""
    patience = Patience(10)
    kernel.now += 11
    kernel.says("self", 101, 8)
    assert [0.05, 0.05] == [patience.left, patience.left]
    kernel.says("self", 101, 9)
    assert [0, 0.05] == [patience.left, patience.left]
    kernel.says("self", 101, 9, "S")
    assert 0 == patience.left


def test_children_are_followed_from_their_start(kernel: Kernel) -> None:
    """All they waited counts, and ours since we began; one that is gone keeps what it had."""
    patience = Patience(10)
    kernel.says("77", 3, state="S")
    patience.follow(77)
    kernel.says("78", 1, state="S")
    patience.follow(78)
    kernel.says("77", 4, state="S")
    kernel.says("self", 102, state="S")
    kernel.now += 12
    assert 10 + 4 + 1 + 2 - 12 == patience.left
    del kernel.files["/proc/77/schedstat"]
    kernel.now += 4
    assert 1 == patience.left
    kernel.now += 1
    assert 0 == patience.left
    kernel.says("78", 1)
    assert 0.05 == patience.left


@pytest.mark.parametrize("data", [b"", b"1 2\n", b"a b c\n", None])
def test_without_counters_the_clock_counts(kernel: Kernel, data: bytes | None) -> None:
    """As on a system that isn't Linux."""
    kernel.files.clear()
    if data is not None:
        kernel.files["/proc/self/schedstat"] = data
    patience = Patience(10)
    assert 10 == patience.left
    kernel.now += 10
    assert 0 == patience.left
