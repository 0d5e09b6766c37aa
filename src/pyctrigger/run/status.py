"""What `status` shows of an installation beside its tree: the bytes, the journal, the lock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..state.locations import lock_directory

if TYPE_CHECKING:
    from ..state.store import Store
    from .targets import Target


def describe(target: Target, store: Store, summary: dict[str, Any]) -> dict[str, Any]:
    """The status object of one installation."""
    from ..state.lock import current_holder

    journal = store.journal(target.installation)
    entries = list(journal.entries()) if journal else []
    holder = current_holder(lock_directory(), target.installation)
    known = store.magic_number(target.installation)
    changed = known not in (None, target.interpreter.magic_number)
    return {
        **summary,
        #: Another one than the interpreter's: the next run will look at everything.
        "previous_magic_number": known.hex() if known and changed else None,
        "site_directories": [site.path for site in target.sites],
        "pending": sum(not entry.parked for entry in entries),
        "parked": sum(entry.parked for entry in entries),
        "oldest_pending_seconds": round(time.time() - min(entry.since for entry in entries), 1) if entries else None,
        "lock": {"pid": holder.pid, "command": holder.command, "since": holder.since} if holder else None,
    }
