"""What one worker may use, and what the kernel is told of it from outside."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from typing import NamedTuple

#: Bytes (pipe(7)).
_USUAL_PIPE_SIZE = 1 << 16
#: Bytes. With less of it a MemoryError may mean the stack: 3.14 counts what it has left, and says so.
_USUAL_STACK = 8 << 20
#: Its number is Linux's; `fcntl` names it from 3.10 on.
_F_SETPIPE_SZ = 1031


class Limits(NamedTuple):
    """What one worker may use."""

    file_timeout: float = 60.0
    """CPU seconds for one source; 0: no limit."""
    memory: int = 2 << 30
    """Bytes of address space; 0: no limit."""
    start_timeout: float = 30.0
    """Seconds until a worker must have said that it is ready."""

    @property
    def wall_timeout(self) -> float:
        """Seconds of waiting for one source, whatever the CPU does: for a worker that is stopped or swapped out."""
        return max(60.0, 10 * self.file_timeout) if self.file_timeout else 3600.0


def is_memory_ours(limits: Limits) -> bool:
    """Whether what a worker may use is what `limits` says, and memory that it doesn't get is so for that reason.

    Our caller may have left us less (ulimit -v, -d, -s), and a system without overcommitment refuses what others hold.
    """
    try:
        import resource

        left = [
            (resource.getrlimit(resource.RLIMIT_AS)[1], limits.memory),  # the worker raises this one, and only this one
            (resource.getrlimit(resource.RLIMIT_DATA)[0], limits.memory),
            (resource.getrlimit(resource.RLIMIT_STACK)[0], _USUAL_STACK),
        ]
    except (ImportError, AttributeError, OSError):
        return False
    try:
        with open("/proc/sys/vm/overcommit_memory", "rb") as file:
            strict = file.read(2).strip() == b"2"
    except OSError:
        strict = False  # not Linux
    are_wider = all(allowed == resource.RLIM_INFINITY or allowed >= wanted for allowed, wanted in left)
    return bool(limits.memory) and not strict and are_wider


def widen(pipe: int, size: int) -> int:
    """Let a pipe hold more (fcntl(2), F_SETPIPE_SZ, Linux), so that nobody waits before a full one; what it holds.

    Of who isn't root all pipes together may hold 64 MiB (pipe(7), pipe-user-pages-soft); then they stay as they are.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return fcntl.fcntl(pipe, _F_SETPIPE_SZ, size)
    return _USUAL_PIPE_SIZE


def dont_wait(pipe: int) -> None:
    """Have reads and writes return at once. `os.set_blocking` needs ioctl(2), which some systems refuse."""
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)


def restrict(pid: int, limits: Limits) -> None:
    """Bound a worker from here, where the system lets us (prlimit(2), Linux).

    They are the limits that a worker sets for itself, unless its target lacks the module `resource`, as Debian's
    python3.15-minimal does.
    """
    _set(pid, {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64})
    if limits.memory:
        _set(pid, {"RLIMIT_AS": limits.memory})


def restrict_processes(pid: int, processes: int) -> None:
    """The same for how many processes its account has; once it runs: an interpreter may be a script that forks."""
    _set(pid, {"RLIMIT_NPROC": processes})


def _set(pid: int, wanted: dict[str, int]) -> None:
    with contextlib.suppress(ImportError, AttributeError):  # FreeBSD's has no prlimit
        import resource

        for name, most in wanted.items():
            with contextlib.suppress(OSError, ValueError):  # it ended already, or a limit can't be set
                kind = getattr(resource, name)
                hard = resource.prlimit(pid, kind)[1]
                allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.prlimit(pid, kind, (allowed, allowed))
