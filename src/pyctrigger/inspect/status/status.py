"""What the state says of each installation, and `status` shows beside its tree: journal, magic number, lock."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ...outcome.observer import Observer
from ...outcome.report import FlavourReport, Report
from ...run.backlog import Unidentified
from ...run.scope.request import Request
from ...run.scope.target import Target
from ...run.trigger import perform, prepare
from ...state.history import elapsed
from ...state.journal import Entry
from ...state.locations import lock_directory
from ...state.lock import Holder, current_holder
from ...state.store import Store

#: Entries of a journal that are listed one by one; the numbers beside them count all.
_MOST_ENTRIES = 100


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


def take_status(request: Request, observer: Observer) -> Report:
    """Look at every flavour. What isn't as it should be is shown, and is no failure of the command's.

    Raises UsageError, ConfigurationError and RefusedError.
    """
    operation = prepare(request, observer)
    report = perform(request, observer, operation)
    for target, run in zip(operation.targets, report.runs):
        if run.summary is not None:
            run.status = _describe(target, operation.store, run)
        run.tally.findings.clear()
        run.tally.failures.clear()
        run.tally.links.clear()
    return report


def _describe(target: Target, store: Store, run: FlavourReport) -> dict[str, Any]:
    """Returns the status object of one installation."""
    assert run.summary is not None
    standing = standing_of(target, store)
    entries, previous = standing.entries, standing.previous_magic_number
    oldest = min((entry.since for entry in entries), default=None)
    return {
        **run.summary,
        #: Another one than the interpreter's: the next run will look at everything.
        "previous_magic_number": previous and previous.hex(),
        #: Whether any run for it is recorded.
        "is_served": standing.magic_number is not None,
        "site_directories": [site.path for site in target.sites],
        "pending": standing.pending,
        "parked": standing.parked,
        "oldest_pending_seconds": None if oldest is None else round(elapsed(oldest, time.time()), 1),
        "journal": [_entry(entry) for entry in entries[:_MOST_ENTRIES]],
        "lock": standing.holder and standing.holder._asdict(),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "since": entry.since,
        "event": entry.event,
        "path_count": None if entry.paths is None else len(entry.paths),
        "attempts": entry.attempts,
        "parked": entry.parked,
    }
