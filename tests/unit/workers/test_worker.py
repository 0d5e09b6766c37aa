"""The pipes of a worker."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.workers.worker import dont_wait, widen

if TYPE_CHECKING:
    from collections.abc import Iterator


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
