"""What one worker may use, and what the kernel is told of it."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.workers.limits import Limits, dont_wait, is_memory_ours, restrict, restrict_processes, widen

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


@pytest.fixture
def child() -> Iterator[int]:
    """The pid of a process that waits."""
    process = subprocess.Popen([sys.executable, "-ISc", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_worker_is_bounded_from_outside(child: int, memory: int) -> None:
    """No core, no file, few descriptors, and its memory where that has a limit."""
    before = resource.prlimit(child, resource.RLIMIT_AS)
    restrict(child, Limits(memory=memory))

    limits = [resource.prlimit(child, getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "FSIZE", "NOFILE")]
    assert [(0, 0), (0, 0), (64, 64)] == limits
    assert (before if not memory else (memory, memory)) == resource.prlimit(child, resource.RLIMIT_AS)


def test_a_limit_that_is_lower_already_stays(child: int) -> None:
    """A hard limit of the caller's isn't raised."""
    resource.prlimit(child, resource.RLIMIT_NOFILE, (10, 32))
    restrict(child, Limits())
    assert (32, 32) == resource.prlimit(child, resource.RLIMIT_NOFILE)


def test_processes_of_a_worker_are_bounded_apart(child: int) -> None:
    """Once it runs."""
    restrict_processes(child, 2)
    assert (2, 2) == resource.prlimit(child, resource.RLIMIT_NPROC)


def test_a_worker_that_has_ended_is_no_error() -> None:
    """It ended between its last answer and this call."""
    process = subprocess.Popen([sys.executable, "-ISc", ""])
    process.wait()
    restrict(process.pid, Limits())
