"""What `status` shows of each installation beside its tree: magic number, journal, lock."""

from __future__ import annotations

import time
from typing import Any

from ...outcome.observer import Observer
from ...outcome.report import FlavourReport, Report
from ...run.backlog import Unidentified
from ...run.scope.request import Request
from ...run.scope.target import Target
from ...run.trigger import perform, prepare
from ...state.history import elapsed
from ...state.journal import Entry
from ...state.locations import lock_directory
from ...state.lock import current_holder
from ...state.store import Store

#: Entries of a journal that are listed one by one; the numbers beside them count all.
_MOST_ENTRIES = 100


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
    """The status object of one installation."""
    assert run.summary is not None
    entries = [
        *Unidentified(store).entries(target.interpreter, target.environment),
        *store.pending(target.installation),
    ]
    holder = current_holder(lock_directory(store.base), target.installation)
    known = store.magic_number(target.installation)
    changed = known not in (None, target.interpreter.magic_number)
    return {
        **run.summary,
        #: Another one than the interpreter's: the next run will look at everything.
        "previous_magic_number": known.hex() if known and changed else None,
        #: Whether any run for it is recorded.
        "is_served": known is not None,
        "site_directories": [site.path for site in target.sites],
        "pending": sum(not entry.parked for entry in entries),
        "parked": sum(entry.parked for entry in entries),
        "oldest_pending_seconds": round(elapsed(min(entry.since for entry in entries), time.time()), 1)
        if entries
        else None,
        "journal": [_entry(entry) for entry in entries[:_MOST_ENTRIES]],
        "lock": {"pid": holder.pid, "command": holder.command, "since": holder.since} if holder else None,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "since": entry.since,
        "event": entry.event,
        "path_count": None if entry.paths is None else len(entry.paths),
        "attempts": entry.attempts,
        "parked": entry.parked,
    }
