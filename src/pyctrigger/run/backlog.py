"""The backlog: this request's entry in the journal, and those that earlier runs left there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..state.journal import Journal

if TYPE_CHECKING:
    from ..state.interpreters import ProbedInterpreters
    from ..state.journal import Entry
    from ..state.store import Store
    from .observer import Observer
    from .outcome import Tally
    from .request import Request

#: The kinds of failure that another attempt may not meet.
_PASSING_KINDS = frozenset({"io", "memory", "timeout", "crash"})


class Backlog:
    """What is announced and not done yet, for one installation; without state, nothing."""

    def __init__(self, store: Store, installation: str, observer: Observer) -> None:
        self._store = store
        self._journal = store.journal(installation)
        self._observer = observer
        self._own: Entry | None = None
        self._tried: set[str] = set()

    @property
    def holds_own(self) -> bool:
        """Whether this run's request is safe in the journal."""
        return self._own is not None

    def announce(self, request: Request) -> None:
        """Make this run's request durable, once, before anything else is tried."""
        if self._journal is None or self._own is not None:
            return
        try:
            self._own = self._journal.write(request.event, request.paths, request.replayable())
            self._tried.add(self._own.name)
        except OSError as error:
            self._store.give_up(error)
            self._journal = None

    def close_own(self, tally: Tally) -> None:
        """This run's request has been carried out."""
        if self._own is not None:
            self.close(self._own, tally)

    def next(self) -> Entry | None:
        """An entry of another run's that this one hasn't tried, oldest first."""
        for entry in self._journal.entries() if self._journal else ():
            if not entry.parked and entry.name not in self._tried:
                self._tried.add(entry.name)
                return entry
        return None

    def close(self, entry: Entry, tally: Tally) -> None:
        """Take an entry out, or count a failed attempt where another may do better."""
        if any(failure.kind in _PASSING_KINDS for failure in tally.failures):
            self.failed(entry)
        else:
            self.drop(entry)

    def drop(self, entry: Entry) -> None:
        """Take an entry out: there is nothing left to do for it."""
        if self._journal is not None:
            self._journal.done(entry)

    def failed(self, entry: Entry) -> None:
        """Count a failed attempt; after the third the entry waits for a person."""
        if self._journal is not None and self._journal.failed(entry).parked:
            self._observer.notice("an entry of the journal has failed three times and is parked; status shows it")


def drop_entries_of_gone(store: Store, probed: ProbedInterpreters, observer: Observer) -> None:
    """Drop what is pending for interpreters that are gone: nobody could compile for them, and nobody would read it."""
    if store.base is None:
        return
    for interpreter in probed.known():
        if interpreter.root is not None or os.path.lexists(interpreter.executable):
            continue
        journal = Journal(os.path.join(store.base, interpreter.installation))
        for entry in journal.entries():
            journal.done(entry)
            observer.notice(
                f"pending work for {interpreter.flavour} was dropped: its interpreter {interpreter.executable} is gone"
            )
