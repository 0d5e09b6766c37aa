"""Other processes, seen from a test."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from warm_program import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds. What has not happened by then never will.
_PATIENCE = 60


def processes_of(executable: Path) -> list[int]:
    """Every process that was started under the name `executable`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                if file.read().split(b"\0")[0] == os.fsencode(executable):
                    found.append(int(name))
    return found


def children_of(pid: int) -> list[int]:
    """What the threads of a process have started, running or not yet reaped; nothing without a Linux /proc.

    Without the processes that the tests themselves keep.
    """
    found = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    return [child for child in found if child not in PROCESSES]


def lanes_of(host: int) -> list[int]:
    """The lanes of a run: children with its own command line; none where it has ended.

    A worker has that line, too, until it is what it is to be; but only a lane looks after its host, by SIGALRM.
    """
    own = line_of(host)
    return [child for child in children_of(host) if own and line_of(child) == own and catches(child, signal.SIGALRM)]


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; not where it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        (caught,) = [line.split()[1] for line in file if line.startswith("SigCgt:")]
        return bool(int(caught, 16) >> (number - 1) & 1)
    return False


def line_of(pid: int) -> bytes:
    """The command line of a process; nothing where it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
    return b""


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
