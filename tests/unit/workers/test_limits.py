"""What one worker may use."""

from __future__ import annotations

import fcntl
import os
import resource
from typing import TYPE_CHECKING

import pytest

from pyctrigger.workers.limits import Limits, dont_wait, is_memory_ours, widen

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("file_timeout", "wall"), [(60.0, 600.0), (1.0, 60.0), (6.0, 60.0), (6.5, 65.0), (0.0, 3600.0), (7200.0, 72_000.0)]
)
def test_a_source_is_waited_for_ten_times_its_cpu_time(file_timeout: float, wall: float) -> None:
    """At least a minute: sources wait for their turn before one worker; an hour where there is no limit."""
    assert wall == Limits(file_timeout=file_timeout).wall_timeout


def test_limits_of_the_contract() -> None:
    """A minute of CPU, two gigabytes, half a minute to start."""
    assert (60.0, 2 << 30, 30.0) == Limits()


#: What a caller left, by limit (soft, hard), and whether a MemoryError is ours then.
LEFT = [
    ({}, True),
    ({"RLIMIT_AS": (1 << 40, 1 << 40)}, True),
    ({"RLIMIT_AS": (1 << 20, NONE)}, True),  # a worker raises it to what is left
    ({"RLIMIT_AS": (2 << 30, 2 << 30)}, True),
    ({"RLIMIT_AS": (1 << 20, (2 << 30) - 1)}, False),
    ({"RLIMIT_DATA": (2 << 30, NONE)}, True),
    ({"RLIMIT_DATA": ((2 << 30) - 1, NONE)}, False),
    ({"RLIMIT_STACK": (8 << 20, NONE)}, True),
    ({"RLIMIT_STACK": ((8 << 20) - 1, NONE)}, False),
]


@pytest.mark.parametrize(("left", "expected"), LEFT)
def test_memory_is_ours_unless_a_caller_left_less(
    monkeypatch: pytest.MonkeyPatch, left: dict[str, tuple[int, int]], expected: bool
) -> None:
    """`ulimit -v` by its hard limit, since a worker raises its own; -d and -s by the soft ones."""
    given = {getattr(resource, name): pair for name, pair in left.items()}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: given.get(kind, (NONE, NONE)))
    assert expected is is_memory_ours(Limits(memory=2 << 30))


def test_memory_without_a_limit_is_never_ours() -> None:
    """Then it is the machine's."""
    assert is_memory_ours(Limits(memory=0)) is False


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A reading and a writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_is_widened(pipe: tuple[int, int]) -> None:
    """As the kernel says; where it refuses, the pipe holds what it held."""
    assert widen(pipe[1], 1 << 18) == fcntl.fcntl(pipe[1], 1032)  # F_GETPIPE_SZ
    assert widen(pipe[1], 1 << 18) >= 1 << 18
    assert widen(pipe[1], 1 << 40 >> 9) == 1 << 16


def test_reads_return_at_once(pipe: tuple[int, int]) -> None:
    """With BlockingIOError from an empty pipe; other flags stay."""
    before = fcntl.fcntl(pipe[0], fcntl.F_GETFL)
    dont_wait(pipe[0])
    assert before | os.O_NONBLOCK == fcntl.fcntl(pipe[0], fcntl.F_GETFL)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)
