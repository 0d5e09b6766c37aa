"""The backlog: this request's entry in the journal, and those that earlier runs left there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ..interpreter.flavour import Flavour
from ..interpreter.interpreter import Interpreter
from ..outcome.observer import Observer
from ..outcome.outcome import Tally
from ..state.journal import MOST_ATTEMPTS, Entry, Journal, union
from ..state.probed import ProbedInterpreters
from ..state.store import Store
from .scope.config import Settings
from .scope.paths import covers
from .scope.request import Request, Work
from .scope.target import Target

#: What a hook says that couldn't do its work.
IN_JOURNAL = "the work stays in the journal"
KEPT = f"{IN_JOURNAL}, and the next run does it"
#: How the directories begin that keep work for interpreters by what they were called.
_UNIDENTIFIED = "unidentified-"
#: The kinds of failure that another attempt may not meet.
_PASSING_KINDS = frozenset({"io", "memory", "timeout", "crash"})


class Backlog:
    """Work of one installation that is announced and not done yet. Without state there is none."""

    def __init__(self, store: Store, installation: str, observer: Observer) -> None:
        self._store = store
        self._journal = store.journal(installation)
        self._observer = observer
        self._takes_parked = False
        self._announced = False
        self._said_waiting = False
        self._joined: dict[str, Entry] = {}
        self._tried: set[str] = set()
        #: How many entries of other runs this one has taken over.
        self.taken_over = 0

    def join(self, request: Request) -> Request:
        """Returns the request with all pending work that differs in paths alone: one examination does it all."""
        self._takes_parked = request.work is Work.REPAIR  # a person's: what hooks have given up is tried again
        alike = self._journal.alike(request.replayable())
        entries = [entry for entry in alike if self._takes_parked or not entry.parked]
        for entry in entries:
            self._take_over(entry)
        own, paths = request.transaction.paths, union(request.transaction.paths, entries)
        return request.about(paths) if own is not None and paths != union(own, ()) else request

    def announce(self, request: Request) -> None:
        """Write this run's own request to the journal, once, before anything else is tried."""
        if not self._journal.is_kept:
            self._store.give_notice()
        if not self._announced:
            self.make_durable(request)

    def make_durable(self, request: Request) -> None:
        """Write a request into the journal.

        An entry that covers it is as good as a new one, and entries that it covers go: what fails again and again
        stays one entry.
        """
        if not self._journal.is_kept:
            return
        self._announced = True
        transaction, options = request.transaction, request.replayable()
        alike = self._journal.alike(options)
        covering = next((entry for entry in alike if entry.covers(transaction.paths)), None)
        if covering is not None:
            self._take_over(covering)
            return
        attempts = max((entry.attempts for entry in alike), default=0)
        try:
            own = self._journal.write(transaction.event, transaction.paths, options, attempts)
        except OSError as error:
            self._store.give_up(error)
            self._store.give_notice()
            self._journal = Journal(None)
            return
        self._tried.add(own.name)
        self._take_over(own)
        for entry in alike:
            if own.covers(entry.paths):
                self._joined.pop(entry.name, None)
                self._journal.done(entry)

    def _take_over(self, entry: Entry) -> None:
        self.taken_over += entry.name not in self._tried
        self._tried.add(entry.name)
        self._joined.setdefault(entry.name, entry)

    @property
    def holds_own(self) -> bool:
        """Whether this run's request is safe in the journal."""
        return self._announced and self._journal.is_kept

    def close_joined(self, tally: Tally | None, target: Target, request: Request) -> None:
        """Close the entries of this run's own request, and of what was joined to it."""
        self._announced = True  # what is done needs no entry any more
        self.close(list(self._joined.values()), tally, target, request)

    def parked(self, request: Request) -> list[Entry]:
        """Returns the parked entries that differ from a request in their paths alone."""
        return [entry for entry in self._journal.alike(request.replayable()) if entry.parked]

    def next(self) -> list[Entry]:
        """Returns entries that this run hasn't tried: the oldest, and all that differ from it in paths alone.

        An entry that is about to be parked is tried alone: it may be what made the others fail.
        """
        found: list[Entry] = []
        for entry in self._journal.entries():
            if entry.name in self._tried or (entry.parked and not self._takes_parked):
                continue
            is_last = entry.attempts >= MOST_ATTEMPTS - 1
            if found and (is_last or entry.options != found[0].options):
                continue
            found.append(entry)
            if is_last:
                break
        self._tried.update(entry.name for entry in found)
        self.taken_over += len(found)
        return found

    def close(self, entries: list[Entry], tally: Tally | None, target: Target, request: Request) -> None:
        """Remove entries, or count a failed attempt for those with a failure that a retry may not have.

        `target` and the options of `request` are those that they were tried with.
        """
        if tally is not None and tally.is_interrupted:
            if entries and not self._said_waiting:
                self._said_waiting = True
                self._observer.notice(
                    "the work on a read-only file system stays in the journal until that is writable again"
                )
            return
        failures = tally.failures if tally is not None else []
        passing = {each.path for each in failures if each.kind in _PASSING_KINDS and not each.is_remembered}
        failed = {entry.name: _lying_in(entry, passing, target, request) for entry in entries}
        is_everyones = bool(passing.difference(*failed.values()))
        for entry in entries:
            if failed[entry.name] or is_everyones:
                self.count_failure(entry)
            else:
                self.drop(entry)

    def drop(self, entry: Entry) -> None:
        """Remove an entry: there is nothing left to do for it."""
        self._journal.done(entry)

    def count_failure(self, entry: Entry) -> None:
        """Count a failed attempt; after the third the entry waits for a person."""
        if self._journal.is_kept and (now := self._journal.failed(entry)).parked:
            self._observer.notice(
                f"an entry of the journal has failed {now.attempts} times and is parked; fix the cause, then: "
                "pyctrigger repair"
            )


def _lying_in(entry: Entry, paths: set[str], target: Target, request: Request) -> set[str]:
    """Returns those of the paths that an entry's work includes."""
    if entry.paths is None or not paths:
        return paths
    units = target.touched(request, entry.paths).units
    return {path for path in paths if covers(units, path)}


def drop_gone(
    request: Request, store: Store, probed: ProbedInterpreters, settings: Settings, observer: Observer
) -> None:
    """Drop the state of interpreters, environments and roots that are gone, before a run."""
    base = store.base
    if request.work is not Work.RUN or request.running.dry_run or base is None:
        return
    for interpreter in probed.known():
        # An environment borrows an installation, and leaves it as it is.
        if interpreter.root is None and not interpreter.environment and not os.path.lexists(interpreter.executable):
            journal = Journal(os.path.join(base, interpreter.installation))
            for entry in journal.entries():  # nobody could compile for it, and nobody would read it
                journal.done(entry)
                observer.notice(
                    f"pending work for {interpreter.flavour} was dropped: its interpreter {interpreter.executable} is "
                    "gone"
                )
    for name in Unidentified(store).drop_gone(settings):
        observer.notice(f"pending work for {name} was dropped: its interpreter is gone")
    if request.running.hook:
        return
    _drop_gone_environments(store, probed, observer)
    if request.scope.root is None and os.path.isdir(os.path.join(base, "roots")):
        from ..state.roots import drop_gone_roots

        drop_gone_roots(base, observer.notice)


def _drop_gone_environments(store: Store, probed: ProbedInterpreters, observer: Observer) -> None:
    """Drop the state of environments that are gone, including pending work."""
    for each in store.environments():
        if os.path.lexists(each.prefix):
            continue
        directory = os.path.join(store.base or "", each.installation)
        if any(Journal(directory).entries()):
            observer.notice(f"pending work for {each.prefix} was dropped: the environment is gone")
        import shutil  # seldom needed

        shutil.rmtree(directory, ignore_errors=True)
    for interpreter in list(probed.known()):
        if interpreter.root is None and interpreter.environment and not os.path.lexists(interpreter.environment):
            probed.forget(interpreter)


class Unidentified:
    """Work for interpreters that couldn't be probed, kept by the name that `--python` used until they can be."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, text: str, request: Request, settings: Settings) -> bool:
        """Keep a hook's work for what `--python` names, if that exists. Returns whether it is safe.

        One entry for each kind of work: an interpreter may be broken for as long as it likes.
        """
        transaction, options = request.transaction, request.replayable()
        flavour = Flavour.parse(text)
        journal = self._journal(flavour.name)
        if not (journal.is_kept and _is_there(flavour, settings)):
            return False
        alike = journal.alike(options)
        if any(entry.covers(transaction.paths) for entry in alike):
            return True
        since = min((entry.since for entry in alike), default=None)
        try:
            journal.write(transaction.event, union(transaction.paths, alike), options, since=since)
        except OSError:
            return False
        for entry in alike:
            journal.done(entry)
        return True

    def adopt(self, target: Target) -> None:
        """Move what was kept for an interpreter into its own journal. What can't be moved stays."""
        with contextlib.suppress(OSError):
            for kept, entry in self._of(target.interpreter, target.environment):
                journal = self._store.journal(target.installation)
                if not journal.is_kept:
                    return
                journal.write(entry.event, entry.paths, entry.options, entry.attempts, entry.since)
                kept.done(entry)

    def entries(self, interpreter: Interpreter, environment: str | None = None) -> list[Entry]:
        """Returns what is kept for an interpreter, or for an environment that borrows it."""
        return [entry for _, entry in self._of(interpreter, environment)]

    def others(self, known: list[Interpreter]) -> Iterator[tuple[str, list[Entry]]]:
        """Yields what is kept for other interpreters: the name that `--python` used, and the entries."""
        names = {name for interpreter in known for name in (interpreter.flavour, interpreter.executable)}
        for name in self._names():
            if name not in names and (entries := list(self._journal(name).entries())):
                yield name, entries

    def drop_gone(self, settings: Settings) -> Iterator[str]:
        """Drop what is kept for interpreters that are gone. Yields their names."""
        for name, entries in self.others([]):
            if not _is_there(Flavour.parse(name), settings):
                for entry in entries:
                    self._journal(name).done(entry)
                yield name

    def _of(self, interpreter: Interpreter, environment: str | None) -> Iterator[tuple[Journal, Entry]]:
        for name in (interpreter.flavour, interpreter.executable):
            journal = self._journal(name)
            for entry in journal.entries():
                named = [os.path.realpath(str(prefix)) for prefix in entry.options.get("prefixes") or ()]
                # An environment's own executable says by itself which one is meant.
                if environment in named if named else environment is None or name == interpreter.executable:
                    yield journal, entry

    def _journal(self, name: str) -> Journal:
        key = name.replace("%", "%25").replace("/", "%2F")
        base = self._store.base
        # Most hooks keep nothing here, and make no directory.
        return Journal(os.path.join(base, _UNIDENTIFIED + key) if base is not None else None)

    def _names(self) -> list[str]:
        try:
            found = os.listdir(self._store.base) if self._store.base is not None else []
        except OSError:
            return []  # no run has left any state
        keys = sorted(key[len(_UNIDENTIFIED) :] for key in found if key.startswith(_UNIDENTIFIED))
        return [key.replace("%2F", "/").replace("%25", "%") for key in keys]


def _is_there(flavour: Flavour, settings: Settings) -> bool:
    return any(map(os.path.lexists, settings.candidates(flavour)))
