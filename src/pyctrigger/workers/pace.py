"""When to look at the workers again.

Each look costs time on a CPU that a worker would have used, and more than its own, since host and worker displace from
the caches what the other needs next. A host that hears every answer when it comes uses 1.6 times the processor time of
one that hears some thirty at once. So it looks away while every worker has enough before it.
"""

from __future__ import annotations

#: Seconds. Nobody who watches a run should see it stand still, nor a lost worker wait for long.
_LONGEST = 0.05
_SHORTEST = 0.001
#: How much of what was learned stays when one more answer has come: some twenty of them decide.
_KEPT = 0.95


class Pace:
    """How long the workers take for a byte of what they are asked, by their own latest answers."""

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    def learn(self, size: int, microseconds: int) -> None:
        """A request of `size` bytes took a worker so long."""
        self._bytes = self._bytes * _KEPT + size
        self._seconds = self._seconds * _KEPT + microseconds * 1e-6

    def pause(self, size: int) -> float:
        """Seconds until half of `size` bytes are done; 0 where that isn't worth a pause, or isn't known yet."""
        if not self._bytes:
            return 0.0
        seconds = min(_LONGEST, size / 2 * self._seconds / self._bytes)
        return seconds if seconds >= _SHORTEST else 0.0
