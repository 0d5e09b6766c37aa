"""What the state says of one installation at this moment: work in its journal, its magic number, its lock."""

from __future__ import annotations

from typing import NamedTuple

from ...run.backlog import Unidentified
from ...run.scope.target import Target
from ...state.journal import Entry
from ...state.locations import lock_directory
from ...state.lock import Holder, current_holder
from ...state.store import Store


class Standing(NamedTuple):
    """What is waiting, and who is at work."""

    entries: list[Entry]
    magic_number: bytes | None = None
    """The interpreter's, when everything was examined last; None if no run has served it."""
    previous_magic_number: bytes | None = None
    """The same, if it has changed since."""
    holder: Holder | None = None

    @property
    def pending(self) -> int:
        """How many entries are still to be done."""
        return len(self.entries) - self.parked

    @property
    def parked(self) -> int:
        """How many entries have failed three times."""
        return sum(entry.parked for entry in self.entries)

    @property
    def oldest(self) -> float | None:
        """When the oldest pending entry was announced; seconds since the epoch."""
        return min((entry.since for entry in self.entries if not entry.parked), default=None)


def standing_of(target: Target, store: Store) -> Standing:
    """Returns what the state says of a target's installation."""
    kept = Unidentified(store).entries(target.interpreter, target.environment)
    known = store.magic_number(target.installation)
    return Standing(
        [*kept, *store.pending(target.installation)],
        known,
        None if known == target.interpreter.magic_number else known,
        current_holder(lock_directory(store.base), target.installation),
    )
