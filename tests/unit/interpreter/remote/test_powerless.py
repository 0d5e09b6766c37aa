"""The limits of a child, set by the host."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter.remote.powerless import bound

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    assert bound(memory=memory, pid=child) is True

    limits = [resource.prlimit(child, getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "FSIZE", "NOFILE")]
    assert [(0, 0), (0, 0), (64, 64)] == limits
    assert (before if not memory else (memory, memory)) == resource.prlimit(child, resource.RLIMIT_AS)


def test_a_limit_that_is_lower_already_stays(child: int) -> None:
    """A hard limit of the caller's isn't raised."""
    resource.prlimit(child, resource.RLIMIT_NOFILE, (10, 32))
    bound(pid=child)
    assert (32, 32) == resource.prlimit(child, resource.RLIMIT_NOFILE)


def test_processes_of_a_worker_are_bounded_apart(child: int) -> None:
    """Once it runs."""
    bound(2, pid=child)
    assert (2, 2) == resource.prlimit(child, resource.RLIMIT_NPROC)


def test_a_worker_that_has_ended_is_no_error() -> None:
    """It ended between its last answer and this call."""
    process = subprocess.Popen([sys.executable, "-ISc", ""])
    process.wait()
    assert bound(pid=process.pid) is False
