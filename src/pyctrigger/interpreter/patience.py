"""How long something may take, on a machine that others use as well: time in which it was kept waiting isn't its own.

The clock on the wall alone would take a busy machine for a stranger's trick; processor time alone would wait for ever
for what sleeps. A process that is ready to run, and isn't run, does neither.
"""

from __future__ import annotations

import time

#: Seconds of waiting for the processor that aren't counted, at most: however busy the machine is, there is an end.
_MOST_UNCOUNTED = 120.0
#: Seconds between two looks at what has used up its time and is kept waiting: the kernel counts that afterwards.
_GLANCE = 0.05


class Patience:
    """So many seconds, from now on, for what this process does, and those that it `follows`."""

    def __init__(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._seconds = seconds
        self._followed = [_Followed("self")]

    def follow(self, process: int) -> None:
        """Count what a child of ours is kept waiting, too, from its start on."""
        self._followed.append(_Followed(str(process), since=0))

    @property
    def left(self) -> float:
        """Seconds until it is over, or until somebody should look again; none once it is over."""
        taken = time.monotonic() - self._began
        if taken < self._seconds:
            return self._seconds - taken
        for each in self._followed:
            each.look()
        most = self._seconds + _MOST_UNCOUNTED
        left = min(most, self._seconds + sum(each.kept for each in self._followed)) - taken
        return _GLANCE if left <= 0 and taken < most and any(each.waits for each in self._followed) else max(0.0, left)


class _Followed:
    """A process: how long it was ready to run and didn't, and whether it is so now (Linux; elsewhere nobody counts)."""

    def __init__(self, process: str, since: int | None = None) -> None:
        self._directory = f"/proc/{process}"
        self._counts, _ = self._read()
        self._last = self._counts[1]
        self._first = self._last if since is None else since
        #: Whether it was ready, and had not run since the last look.
        self.waits = False

    @property
    def kept(self) -> float:
        """Seconds that it was kept waiting."""
        return (self._last - self._first) / 1e9

    def look(self) -> None:
        """Read its counters again."""
        counts, is_ready = self._read()
        self.waits = is_ready and (counts == self._counts or not self.waits)
        self._counts, self._last = counts, max(self._last, counts[1])

    def _read(self) -> tuple[tuple[int, ...], bool]:
        """Nanoseconds that it ran, and that it waited, and how often it was run; and whether it is ready to run."""
        try:
            with open(f"{self._directory}/schedstat", "rb") as file:
                ran, waited, times = map(int, file.read(100).split())
            with open(f"{self._directory}/stat", "rb") as file:
                state = file.read(1000).rpartition(b")")[2].split()[:1]
        except (OSError, ValueError):
            return (0, 0, 0), False
        return (ran, waited, times), state == [b"R"]
