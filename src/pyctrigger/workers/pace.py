"""When to poll the workers again.

Each poll takes CPU time from a worker, and more than its own, since host and worker evict each other's data from the
caches. A host that reads every answer as it comes uses 1.6 times the processor time of one that reads some thirty at
once. So it sleeps while every worker has enough queued.
"""

from __future__ import annotations

#: Seconds. Progress must not seem to stall, nor a lost worker stay unnoticed for long.
_MAX_PAUSE = 0.05
_MIN_PAUSE = 0.001
#: Weight of older answers when a new one arrives: the last twenty or so decide.
_DECAY = 0.95


class Pace:
    """Estimates how long workers take for a byte of source, from their latest answers."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    def learn(self, size: int, microseconds: int) -> None:
        """Add the time that a worker took for a request of `size` bytes."""
        self._bytes = self._bytes * _DECAY + size
        self._seconds = self._seconds * _DECAY + microseconds * 1e-6

    def pause(self, size: int) -> float:
        """Returns the seconds until half of `size` bytes are done; 0 if that is too short to sleep, or unknown."""
        if not self._bytes:
            return 0.0
        seconds = min(_MAX_PAUSE, size / 2 * self._seconds / self._bytes)
        return seconds if seconds >= _MIN_PAUSE else 0.0
