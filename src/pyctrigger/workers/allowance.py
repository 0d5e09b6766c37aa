"""What the slow sources of a run may take together: a directory full of them must not hold a package manager's hook.

Once they have used that up, each source that is left gets one second, which is a hundred times what most need. Once
those that need more have used up what one source may take, nothing more is tried in this run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .limits import Limits

#: In limits of one source: what slow ones may take that are tried with the whole limit, and those tried with less.
_WHOLE, _SHORT = 5, 1
#: Seconds, and the part of a large limit, that a source gets when the first is used up.
_LEAST, _PART = 1.0, 60
#: Of its limit. A source that takes more is slow, whether it compiles in the end or not.
_SLOW = 0.1


class Allowance:
    """Adds up what slow sources took. One for all pools of a run."""

    def __init__(self, limits: Limits) -> None:
        self._whole = limits
        #: What one worker may use from now on.
        self.limits = limits
        self._slow = _SLOW * limits.file_timeout
        self._left = float(_WHOLE * limits.file_timeout)

    @property
    def is_used_up(self) -> bool:
        """Whether nothing more is to be tried."""
        return self.limits is not self._whole and self._left <= 0

    def spend(self, seconds: float) -> bool:
        """A source took so long; whether the others get less from now on."""
        if not 0 < self._slow <= seconds:
            return False
        self._left -= seconds
        if self.limits is not self._whole or self._left > 0:
            return False
        whole = self._whole.file_timeout
        self.limits = self._whole._replace(file_timeout=min(whole, max(_LEAST, whole / _PART)))
        # Clocks differ a little.
        self._slow, self._left = 0.9 * self.limits.file_timeout, float(_SHORT * whole)
        return True
