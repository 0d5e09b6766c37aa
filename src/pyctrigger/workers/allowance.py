"""Limits of one worker, and the time limit for all slow sources of a run together.

A directory full of slow sources must not block a package manager: once they have used up their time, each remaining
source gets one second, which is a hundred times what most need. Once those that need more than that have used up the
limit of one source, no more sources are tried in this run.
"""

from __future__ import annotations

from ..typed import NamedTuple

#: In limits of one source: total time of slow sources with the whole limit, and of those with the reduced limit.
_FULL_LIMITS, _REDUCED_LIMITS = 5, 1
#: The reduced limit: at least so many seconds, and this fraction of a large limit.
_LEAST, _FRACTION = 1.0, 60
#: Fraction of the limit. A source that takes longer is slow, whether it compiles in the end or not.
SLOW = 0.1
#: Bytes. With a smaller stack a MemoryError may be about the stack: 3.14 checks what is left of it.
_USUAL_STACK = 8 << 20


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


class Allowance:
    """Adds up the time that slow sources took, for all pools of a run."""

    def __init__(self, limits: Limits) -> None:
        self._full_limits = limits
        #: Limits of one worker from now on.
        self.limits = limits
        self._slow = SLOW * limits.file_timeout
        self._left = float(_FULL_LIMITS * limits.file_timeout)

    @property
    def is_used_up(self) -> bool:
        """Whether no more sources may be tried."""
        return self.limits is not self._full_limits and self._left <= 0

    def spend(self, seconds: float) -> bool:
        """Add the time of one source. Returns whether the limit of the others was reduced by that."""
        if not 0 < self._slow <= seconds:
            return False
        self._left -= seconds
        if self.limits is not self._full_limits or self._left > 0:
            return False
        whole = self._full_limits.file_timeout
        self.limits = self._full_limits._replace(file_timeout=min(whole, max(_LEAST, whole / _FRACTION)))
        # The worker's clock and ours differ a little.
        self._slow, self._left = 0.9 * self.limits.file_timeout, float(_REDUCED_LIMITS * whole)
        return True
