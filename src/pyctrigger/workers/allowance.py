"""Time limit for all slow sources of a run together: a directory full of them must not block a package manager.

Once they have used it up, each remaining source gets one second, which is a hundred times what most need. Once those
that need more than that have used up the limit of one source, no more sources are tried in this run.
"""

from __future__ import annotations

from .limits import Limits

#: In limits of one source: total time of slow sources with the whole limit, and of those with the reduced limit.
_FULL_LIMITS, _REDUCED_LIMITS = 5, 1
#: The reduced limit: at least so many seconds, and this fraction of a large limit.
_LEAST, _FRACTION = 1.0, 60
#: Fraction of the limit. A source that takes longer is slow, whether it compiles in the end or not.
_SLOW = 0.1


class Allowance:
    """Adds up the time that slow sources took, for all pools of a run."""

    def __init__(self, limits: Limits) -> None:
        self._full_limits = limits
        #: Limits of one worker from now on.
        self.limits = limits
        self._slow = _SLOW * limits.file_timeout
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
