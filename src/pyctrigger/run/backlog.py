"""The backlog: this request's entry in the journal, and those that earlier runs left there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from ..interpreter.flavour import Flavour
from ..interpreter.interpreter import Interpreter
from ..outcome.observer import Observer
from ..outcome.outcome import Tally
from ..state.journal import MOST_ATTEMPTS, Entry, Journal
from ..state.probed import ProbedInterpreters
from ..state.store import Store
from .scope.config import Settings
from .scope.request import Request, Work
from .scope.target import Target

#: Whether a path is part of what an entry means to look at.
Concerns = Callable[[Entry, str], bool]

#: What a hook says that couldn't do its work.
KEPT = "its work is kept in the journal, the next run does it"
#: How the directories begin that keep work for interpreters by what they were called.
_UNIDENTIFIED = "unidentified-"
#: The kinds of failure that another attempt may not meet.
_PASSING_KINDS = frozenset({"io", "memory", "timeout", "crash"})


class Backlog:
    """What is announced and not done yet, for one installation; without state, nothing."""

    def __init__(self, store: Store, installation: str, observer: Observer) -> None:
        self._store = store
        self._journal = store.journal(installation)
        self._observer = observer
        self._takes_parked = False
        self._announced = False
        self._told_waiting = False
        self._joined: list[Entry] = []
        self._tried: set[str] = set()
        #: How many entries of other runs this one has taken over.
        self.taken_over = 0

    def join(self, request: Request) -> Request:
        """The request, with the pending work of others that is of the very same kind: one look serves them all."""
        self._takes_parked = request.work is Work.REPAIR  # a person's: what hooks have given up is tried again
        paths: set[str] | None = None if request.transaction.paths is None else set(request.transaction.paths)
        for entry in self._alike(request):
            if self._takes_parked or not entry.parked:
                self.taken_over += entry.name not in self._tried
                self._take_over(entry)
                paths = None if paths is None or entry.paths is None else paths | set(entry.paths)
        if paths is not None and paths == set(request.transaction.paths or ()):
            return request
        return request.about(None if paths is None else tuple(sorted(paths)))

    def announce(self, request: Request) -> None:
        """Make this run's own request durable, once, before anything else is tried.

        An entry that covers it is as good as a new one, and entries that it covers go: what fails again and again
        stays one entry.
        """
        if self._journal is None:
            self._store.tell()
        if not self._announced:
            self._make_durable(request)

    def announce_besides(self, request: Request) -> None:
        """Make durable what this run has found besides, once it is about to change something.

        Not before: what waits in vain for the lock, the next hook's glance finds again.
        """
        self._make_durable(request)

    def _make_durable(self, request: Request) -> None:
        if self._journal is None:
            return
        self._announced = True
        alike = list(self._alike(request))
        covering = next((entry for entry in alike if entry.covers(request.transaction.paths)), None)
        if covering is not None:
            self.taken_over += covering.name not in self._tried
            self._take_over(covering)
            return
        attempts = max((entry.attempts for entry in alike), default=0)
        transaction = request.transaction
        try:
            own = self._journal.write(transaction.event, transaction.paths, request.replayable(), attempts)
        except OSError as error:
            self._store.give_up(error)
            self._store.tell()
            self._journal = None
            return
        self._take_over(own)
        for entry in alike:
            if own.covers(entry.paths):
                self._joined = [joined for joined in self._joined if joined.name != entry.name]
                self._journal.done(entry)

    def _take_over(self, entry: Entry) -> None:
        self._tried.add(entry.name)
        if all(joined.name != entry.name for joined in self._joined):
            self._joined.append(entry)

    def _alike(self, request: Request) -> Iterator[Entry]:
        """The entries that differ from a request in their paths alone."""
        options = request.replayable()
        return (entry for entry in (self._journal.entries() if self._journal else ()) if entry.options == options)

    @property
    def holds_own(self) -> bool:
        """Whether this run's request is safe in the journal."""
        return self._announced and self._journal is not None

    def close_joined(self, tally: Tally | None, concerns: Concerns) -> None:
        """This run's request has been carried out, and what was joined to it."""
        self._announced = True  # what is served needs no entry any more
        self.close(self._joined, tally, concerns)

    def drop_forbidden(self, request: Request, is_forbidden: Callable[[Entry], bool]) -> None:
        """Take out what was parked, and lies where this account has no right to write: it could never do it."""
        for entry in list(self._alike(request)):
            if entry.parked and is_forbidden(entry):
                self.drop(entry)

    def next(self) -> list[Entry]:
        """Entries of other runs that this one hasn't tried, the oldest and all that differ from it in paths alone.

        An entry that is about to be parked is tried by itself: it may be what made the others fail.
        """
        found: list[Entry] = []
        for entry in self._journal.entries() if self._journal else ():
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

    def close(self, entries: list[Entry], tally: Tally | None, concerns: Concerns) -> None:
        """Take entries out, or count a failed attempt for those of which something failed that another may do."""
        if tally is not None and tally.is_interrupted:
            if entries:
                self._tell_waiting()
            return
        failures = tally.failures if tally is not None else []
        passing = [each.path for each in failures if each.kind in _PASSING_KINDS and not each.is_remembered]
        failed = {entry.name: [path for path in passing if concerns(entry, path)] for entry in entries}
        is_everyones = len({path for paths in failed.values() for path in paths}) < len({*passing})
        for entry in entries:
            if failed[entry.name] or is_everyones:
                self.failed(entry)
            else:
                self.drop(entry)

    def _tell_waiting(self) -> None:
        if not self._told_waiting:
            self._told_waiting = True
            self._observer.notice("the work stays in the journal until its file system can be written again")

    def drop(self, entry: Entry) -> None:
        """Take an entry out: there is nothing left to do for it."""
        if self._journal is not None:
            self._journal.done(entry)

    def failed(self, entry: Entry) -> None:
        """Count a failed attempt; after the third the entry waits for a person."""
        if self._journal is not None and (now := self._journal.failed(entry)).parked:
            self._observer.notice(
                f"an entry of the journal has failed {now.attempts} times and is parked; once the reason is gone: "
                "pyctrigger repair"
            )


def drop_gone(
    request: Request, store: Store, probed: ProbedInterpreters, settings: Settings, observer: Observer
) -> None:
    """Before a run: drop what is known of interpreters, environments and roots that are gone."""
    if request.work is not Work.RUN or request.running.dry_run:
        return
    _drop_entries_of_gone(store, probed, settings, observer)
    if request.running.hook:
        return
    _drop_gone_environments(store, probed, observer)
    if request.scope.root is None and store.base is not None and os.path.isdir(os.path.join(store.base, "roots")):
        from ..state.roots import drop_gone_roots

        drop_gone_roots(store.base, observer.notice)


def _drop_entries_of_gone(store: Store, probed: ProbedInterpreters, settings: Settings, observer: Observer) -> None:
    """Drop what is pending for interpreters that are gone: nobody could compile for them, and nobody would read it."""
    if store.base is None:
        return
    for interpreter in probed.known():
        if interpreter.root is not None or interpreter.environment or os.path.lexists(interpreter.executable):
            continue  # an environment borrows an installation, and leaves it as it is
        journal = Journal(os.path.join(store.base, interpreter.installation))
        for entry in journal.entries():
            journal.done(entry)
            observer.notice(
                f"pending work for {interpreter.flavour} was dropped: its interpreter {interpreter.executable} is gone"
            )
    for name in Unidentified(store).drop_gone(settings):
        observer.notice(f"pending work for {name} was dropped: its interpreter is gone")


def _drop_gone_environments(store: Store, probed: ProbedInterpreters, observer: Observer) -> None:
    """Drop all that is known of environments that are gone, pending work with it."""
    if store.base is None:
        return
    import shutil  # not for hooks

    from ..state.served import served

    for each in served(store.base):
        if os.path.lexists(each.prefix):
            continue
        directory = os.path.join(store.base, each.installation)
        if any(Journal(directory).entries()):
            observer.notice(f"pending work for {each.prefix} was dropped: the environment is gone")
        shutil.rmtree(directory, ignore_errors=True)
    for interpreter in list(probed.known()):
        if interpreter.root is None and interpreter.environment and not os.path.lexists(interpreter.environment):
            probed.forget(interpreter)


class Unidentified:
    """Work for interpreters that couldn't be asked what they are: kept by what they were called, until they can be."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, text: str, request: Request, settings: Settings) -> bool:
        """Keep a hook's work for what `--python` names, if that is there; whether it is safe.

        One entry for each kind of work: an interpreter may be broken for as long as it likes.
        """
        transaction = request.transaction
        flavour = Flavour.parse(text)
        journal = self._journal(flavour.name)
        if journal is None or not _is_there(flavour, settings):
            return False
        options = request.replayable()
        alike = [entry for entry in journal.entries() if entry.options == options]
        if any(entry.covers(transaction.paths) for entry in alike):
            return True
        paths: set[str] | None = None if transaction.paths is None else set(transaction.paths)
        for entry in alike:
            paths = None if paths is None or entry.paths is None else paths | set(entry.paths)
        together = None if paths is None else tuple(sorted(paths))
        try:
            journal.write(
                transaction.event, together, options, since=min((entry.since for entry in alike), default=None)
            )
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
                if journal is None:
                    return
                journal.write(entry.event, entry.paths, entry.options, entry.attempts, entry.since)
                kept.done(entry)

    def entries(self, interpreter: Interpreter, environment: str | None = None) -> list[Entry]:
        """What is kept for an interpreter, or for an environment that it serves."""
        return [entry for _, entry in self._of(interpreter, environment)]

    def others(self, known: list[Interpreter]) -> Iterator[tuple[str, list[Entry]]]:
        """What is kept for others than these: what `--python` named, and its entries."""
        names = {name for interpreter in known for name in (interpreter.flavour, interpreter.executable)}
        for name in self._names():
            journal = self._journal(name)
            if name not in names and journal is not None and (entries := list(journal.entries())):
                yield name, entries

    def drop_gone(self, settings: Settings) -> Iterator[str]:
        """Drop what is kept for interpreters that are gone; what they were called."""
        for name, entries in self.others([]):
            journal = self._journal(name)
            if journal is not None and not _is_there(Flavour.parse(name), settings):
                for entry in entries:
                    journal.done(entry)
                yield name

    def _of(self, interpreter: Interpreter, environment: str | None) -> Iterator[tuple[Journal, Entry]]:
        for name in (interpreter.flavour, interpreter.executable):
            journal = self._journal(name)
            for entry in journal.entries() if journal is not None else ():
                named = [os.path.realpath(str(prefix)) for prefix in entry.options.get("prefixes") or ()]
                # An environment's own executable says by itself which one is meant.
                is_meant = environment in named if named else environment is None or name == interpreter.executable
                if is_meant and journal is not None:
                    yield journal, entry

    def _journal(self, name: str) -> Journal | None:
        key = name.replace("%", "%25").replace("/", "%2F")
        base = self._store.base
        # Most hooks keep nothing here, and make no directory.
        return Journal(os.path.join(base, _UNIDENTIFIED + key)) if base is not None else None

    def _names(self) -> list[str]:
        try:
            found = os.listdir(self._store.base) if self._store.base is not None else []
        except OSError:
            return []  # no run has left any state
        keys = sorted(key[len(_UNIDENTIFIED) :] for key in found if key.startswith(_UNIDENTIFIED))
        return [key.replace("%2F", "/").replace("%25", "%") for key in keys]


def _is_there(flavour: Flavour, settings: Settings) -> bool:
    configured = settings.flavours.get(flavour.dotted) if flavour.path is None else None
    return any(map(os.path.lexists, flavour.candidates(configured.executable if configured else None)))
