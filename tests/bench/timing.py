"""Timing whole processes: how long, and how much memory the started process itself held at most."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36


class Sample(NamedTuple):
    """One run of one command."""

    seconds: float
    peak: int = 0
    """KiB; 0 where the system doesn't say."""
    processor: float = 0
    """Seconds of processor time, of the process and all that it started."""
    own: float = 0
    """The same of the process alone; 0 where the system doesn't say."""


class Figure(NamedTuple):
    """What the samples of one row say."""

    name: str
    peer: str
    ours: list[float]
    theirs: list[float]
    limit: float | None
    """The ratio to reach, if there is one."""
    peak: int = 0
    """MiB that the host held at most."""

    @property
    def ratio(self) -> float:
        """The median of the ratios pair by pair: a machine's speed drifts, and both sides drift with it."""
        return statistics.median(one / other for one, other in zip(self.ours, self.theirs))


def timed(command: list[str], environment: dict[str, str] | None = None) -> Sample:
    """Run a command to its end. Raises CalledProcessError where it ends with more than 1."""
    ended = threading.Event()
    _adopt_orphans()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    nothing = subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, env=environment)
    # Not wait(timeout), which sleeps in steps of up to 50 ms.
    watch = _Watch(child.pid, ended)
    watch.start()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a process that ended still tells its own time
    seconds = time.perf_counter() - begun
    own = own_time(child.pid)
    child.wait()
    ended.set()
    watch.join()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if child.returncode not in (0, 1):
        raise subprocess.CalledProcessError(child.returncode, command)
    return Sample(seconds, watch.peak, processor, own)


def _adopt_orphans() -> None:
    """Become the parent of what a command leaves behind: compileall's pool is a child of a server that it starts."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def let_orphans_go() -> None:
    """Be nobody's parent but one's own children's, until the next command is timed: a server is to outlive it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class _Watch(threading.Thread):
    """Looks at a process's memory again and again."""

    def __init__(self, pid: int, ended: threading.Event) -> None:
        super().__init__()
        self.peak = 0
        self._pid = pid
        self._ended = ended

    def run(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, _peak_of(self._pid))


def own_time(pid: int) -> float:
    """Seconds of processor time of a process's first thread, by the scheduler's nanoseconds."""
    with contextlib.suppress(OSError, IndexError):  # of one that has ended
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    return 0


def _peak_of(pid: int) -> int:
    """What one process alone has held; what the system keeps for its children would be a worker's."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def spread(seconds: list[float]) -> str:
    """Median, least and most, in the unit that suits them."""
    middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
    if middle < 1:
        return f"{middle * 1000:.0f} ms ({least * 1000:.0f}-{most * 1000:.0f})"
    return f"{middle:.2f} s ({least:.2f}-{most:.2f})"
