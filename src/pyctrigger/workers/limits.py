"""Resource limits of a worker."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from typing import NamedTuple

#: Bytes (pipe(7)).
_USUAL_PIPE_SIZE = 1 << 16
#: Bytes. With a smaller stack a MemoryError may be about the stack: 3.14 checks what is left of it.
_USUAL_STACK = 8 << 20
#: Linux's number. `fcntl` has the name from 3.10 on.
_F_SETPIPE_SZ = 1031


class Limits(NamedTuple):
    """Resource limits of one worker."""

    file_timeout: float = 60.0
    """CPU seconds for one source; 0 for no limit."""
    memory: int = 2 << 30
    """Bytes of address space; 0 for no limit."""
    start_timeout: float = 30.0
    """Seconds until a worker must be ready."""

    @property
    def wall_timeout(self) -> float:
        """Seconds to wait for one source whatever its CPU time: for a worker that is stopped or swapped out."""
        return max(60.0, 10 * self.file_timeout) if self.file_timeout else 3600.0


def is_memory_ours(limits: Limits) -> bool:
    """Whether `limits` is what bounds a worker's memory, so that a MemoryError is due to it.

    Our caller may have set lower limits (ulimit -v, -d, -s), and without overcommitment other processes count, too.
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
    """Enlarge a pipe's buffer (fcntl(2), F_SETPIPE_SZ, Linux), so that no side blocks. Returns its size.

    All pipes of an account other than root may have 64 MiB together (pipe(7), pipe-user-pages-soft); then it isn't
    enlarged.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return fcntl.fcntl(pipe, _F_SETPIPE_SZ, size)
    return _USUAL_PIPE_SIZE


def dont_wait(pipe: int) -> None:
    """Make a pipe non-blocking. `os.set_blocking` needs ioctl(2), which some sandboxes refuse."""
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)
