"""One installation's part of a request: look, or announce, lock and do; and then what others left in the journal."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from ..errors import InterpreterError, LockTimeoutError, PyctriggerError, UsageError
from ..outcome.outcome import Tally
from ..tree.identity import ForeignPlaceError
from .backlog import KEPT, Backlog, Unidentified
from .entrance import Entrance
from .plan.wanted import wanted_bytecode
from .scope.ability import check_target
from .scope.paths import lies_in
from .scope.request import Request, Work
from .scope.target import find_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..outcome.report import FlavourReport
    from ..state.journal import Entry
    from ..state.records.manifest import Manifest
    from ..state.records.parts import Parts
    from .apply.execution import Execution
    from .plan.foreign import Places
    from .plan.glance import Overview
    from .plan.knowledge import Knowledge
    from .plan.wanted import Wanted
    from .scope.forked import Line, Relay
    from .scope.service import Service
    from .scope.target import Target

#: The writer's id of runs without a lock, each with a number of its own: their residue has to be old to be swept.
_UNLOCKED_WRITER = "stateless"


class _WaitedError(Exception):
    """Somebody else held the lock meanwhile: what was read before is out of date."""


class InstallationRun:
    """Serves one target. What became of its files goes into `report`."""

    def __init__(self, target: Target, request: Request, service: Service, report: FlavourReport) -> None:
        self._target = target
        self._request = request
        self._service = service
        self._settings = service.settings
        self._store = service.store
        self._probed = service.probed
        self._observer = service.observer
        self._begin = service.begin
        self._report = report
        self._known_parts: Parts | None = None
        #: This request, with the paths of what else its glance has found.
        self._found: Request | None = None
        self._entrance = Entrance(request, service)
        self._backlog: Backlog | None = None
        #: To the parent, in a process for the places of others.
        self._line: Line | None = None
        self._has_entered = False

    def perform(self) -> None:
        """Do the work, and what is pending from before. Raises PyctriggerError."""
        self._report.tally.notices += check_target(self._target, self._request)
        if not self._request.work.writes or self._request.running.dry_run:
            from .looking import Look

            Look(self._target, self._request, self._service, self._report).perform()
            return
        if self._request.work in (Work.RUN, Work.REPAIR):
            Unidentified(self._store).adopt(self._target)
            self._note_debt()
        self._backlog = Backlog(self._store, self._target.installation, self._observer)
        if self._target.prefix is not None and self._target.root is None:
            self._note_environment()
        if (self._request.running.hook or self._request.running.defer) and not self._announce(self._backlog):
            return
        try:
            self._do_all(self._backlog)
        finally:
            self._report.taken_over = self._backlog.taken_over
            self._entrance.leave()

    def _note_debt(self) -> None:
        """What was known of a root has been forgotten: a look at everything is pending, once."""
        installation = self._target.installation
        if self._store.debt(installation) is None or (journal := self._store.journal(installation)) is None:
            return
        try:
            journal.write("unknown", None, self._request.replayable())
            self._store.pay(installation)
        except OSError as error:
            self._store.give_up(error)

    def _note_environment(self) -> None:
        """Say what the state is about: when the environment goes, nobody can ask it."""
        from ..state.served import note

        directory, environment = self._store.directory(self._target.installation), self._target.environment
        if directory is not None and environment is not None:
            with contextlib.suppress(OSError):  # whoever writes more there says so
                note(directory, environment, self._target.interpreter.executable)

    # -- doing ---------------------------------------------------------------------------------------------------

    def _announce(self, backlog: Backlog) -> bool:
        """A hook's first deed: make the transaction durable. False if that is all there is to do."""
        if self._touches and self._may_announce():
            backlog.announce(self._request)
            if self._request.running.defer and not backlog.holds_own:
                raise UsageError("nothing can be deferred without state", hint="run it without --defer")
        self._report.deferred = backlog.holds_own and (self._request.running.defer or not self._settings.hooks_enabled)
        if self._request.running.defer:
            return False
        if not self._settings.hooks_enabled:
            self._observer.notice("hooks are off in the configuration ([hooks] enabled); the journal keeps the work")
            return False
        return True

    @property
    def _touches(self) -> bool:
        return self._request.transaction.paths is None or any(self._target.touched(self._request).units.values())

    def _may_announce(self) -> bool:
        """What can't be written isn't journalled: nothing can be done there later either."""
        from ..state.records.manifest import Manifest
        from .plan.survey import Survey

        wanted = wanted_bytecode(self._target, self._request, self._settings, self._target.installation)
        knowledge = self._knowledge(Manifest(None))
        with Survey(self._target, self._request, wanted, knowledge) as survey:
            if survey.is_read_only:
                return False
            denied = survey.denied if os.geteuid() != 0 else []
            if denied and (self._request.running.defer or not self._settings.hooks_enabled):
                self._report.tally.failures += denied  # else the work itself says so
            return not denied

    def _do_all(self, backlog: Backlog) -> None:
        """This request first, then what others left in the journal, until nothing is left there that can be done."""
        does_pending = self._request.work in (Work.RUN, Work.REPAIR)
        request = backlog.join(self._request) if does_pending else self._request
        self._tell_outside(request)
        request = self._widened_by_glance(self._widened_by_magic(request))
        try:
            tally = self._do(request)
            backlog.close_joined(tally, self._concerns(request))
            if denied := [failure.path for failure in tally.failures if failure.needs_root]:
                backlog.drop_forbidden(request, lambda entry: self._lies_below(denied, entry))
            self._learn_magic(request)
            self._found = None
        except (LockTimeoutError, InterpreterError) as error:
            if backlog.holds_own and (self._request.running.hook or isinstance(error, LockTimeoutError)):
                error.hint = KEPT
            raise
        while does_pending and (entries := backlog.next()):
            self._replay(backlog, entries)

    def _concerns(self, request: Request) -> Callable[[Entry, str], bool]:
        """Whether a path is part of an entry's work, with the options of this request."""
        target = self._target

        def concerns(entry: Entry, path: str) -> bool:
            return entry.paths is None or lies_in(target.touched(request, entry.paths).units, path)

        return concerns

    def _lies_below(self, places: list[str], entry: Entry) -> bool:
        """Whether all that an entry names lies in one of these places."""
        units = self._target.touched(self._request, entry.paths).units if entry.paths is not None else None
        named = (
            [site.path for site in self._target.sites]
            if units is None
            else [os.path.join(site, unit.relative) for site, found in units.items() for unit in found if unit.deep]
        )
        return bool(named) and all(
            any(f"{path.rstrip('/')}/".startswith(f"{place}/") for place in places) for path in named
        )

    def _widened_by_magic(self, request: Request) -> Request:
        """An interpreter that was upgraded in place, to another magic number, needs everything anew."""
        if request.work is not Work.RUN or request.transaction.paths is None:
            return request
        interpreter = self._target.interpreter
        known = self._store.magic_number(self._target.installation)
        if known in (None, interpreter.magic_number):
            return request
        assert known is not None
        self._observer.notice(
            f"the magic number of {interpreter.flavour} has changed from {known.hex()} to "
            f"{interpreter.magic_number.hex()}: everything is compiled again"
        )
        return request.about(None)

    def _widened_by_glance(self, request: Request) -> Request:
        """A hook looks at all that isn't as it was, too. An empty list says that there was no transaction at all."""
        if request.work is not Work.RUN or not request.running.hook or not any(request.transaction.paths or ()):
            return request
        if not self._parts.are_kept:
            return request  # or it would look at everything each time
        from .plan.glance import Overview

        wanted = wanted_bytecode(self._target, request, self._settings, self._target.installation)
        try:
            changed = Overview(self._target, request, wanted, self._parts).changed()
        except ForeignPlaceError:
            changed = self._changed_for_others(request, wanted)
        if changed == ():
            return request
        outside = self._target.touched(self._request).outside
        own = tuple(path for path in self._request.transaction.paths or () if path not in outside)
        self._found = self._request.about(_with_found(own, changed))
        return request.about(_with_found(request.transaction.paths, changed))

    def _changed_for_others(self, request: Request, wanted: Wanted) -> tuple[str, ...] | None:
        """What a glance tells that looks into the places of others, too."""
        from .plan.glance import Overview
        from .scope.forked import Apart, DeathError, NoProcessError

        overview = Overview(self._target, request, wanted, self._parts)
        try:
            changed: tuple[str, ...] | None = Apart(self._observer).perform(lambda line, relay: overview.changed())
        except (NoProcessError, DeathError):
            return ()  # who looks says so
        return changed

    @property
    def _parts(self) -> Parts:
        if self._known_parts is None:
            self._known_parts = self._store.parts(self._target.installation)
        return self._known_parts

    def _learn_magic(self, request: Request) -> None:
        """Remember the magic number once everything has been looked at, or where none was known."""
        known = self._store.magic_number(self._target.installation)
        everything = request.transaction.paths is None and request.work in (Work.RUN, Work.REPAIR)
        if everything or (known is None and request.work is Work.RUN):
            try:
                self._store.learn_magic_number(self._target.installation, self._target.interpreter.magic_number)
            except OSError as error:
                self._store.give_up(error)

    def _tell_outside(self, request: Request) -> None:
        """A journal that names paths outside of the scope was written under another scope, or by nobody of ours."""
        outside = set(self._target.touched(request).outside) - set(self._target.touched(self._request).outside)
        if outside:
            named = ", ".join(sorted(outside))
            self._observer.notice(f"an entry of the journal names paths outside the scope: {named}")

    def _replay(self, backlog: Backlog, entries: list[Entry]) -> None:
        """Do the work of entries at once, under the options that all of them were written with."""
        first = entries[0]
        paths = None if any(entry.paths is None for entry in entries) else _joined(entries)
        try:
            request = self._request.replaying(first.options, paths=paths, event=first.event)
            if request.scope.prefixes and self._target.prefix is None:
                raise UsageError(
                    f"{', '.join(request.scope.prefixes)} has a journal of its own", hint="name it with --prefix"
                )
            request = self._renamed(request)
            self._target = find_target(self._target.interpreter, request, self._settings)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
            # Its directories are gone, or it was never ours: there is nothing left to do for it.
            self._observer.notice(f"an entry of the journal was dropped: {_reason(error)}; try pyctrigger repair")
            for entry in entries:
                backlog.drop(entry)
            return
        self._tell_outside(request)
        try:
            backlog.close(entries, self._do(request), self._concerns(request))
        except LockTimeoutError:
            raise
        except PyctriggerError:
            for entry in entries:
                backlog.failed(entry)
            raise

    def _renamed(self, request: Request) -> Request:
        """Work on this environment under the name that it has today: another one may lead elsewhere by now."""
        named, paths = request.scope.prefixes, request.transaction.paths
        if named and paths is not None and self._target.prefix is not None:
            below, prefix = f"{named[0].rstrip('/')}/", self._target.prefix
            paths = tuple(
                os.path.join(prefix, path[len(below) :]) if f"{path}/".startswith(below) else path for path in paths
            )
        return request.about(paths).within(*self._request.scope.prefixes)

    def _do(self, request: Request) -> Tally:
        """Carry out one request; what became of its files. Raises PyctriggerError."""
        from ..errors import InterpreterChangedError

        if request.transaction.paths is not None and not any(self._target.touched(request).units.values()):
            return Tally()  # most transactions touch nothing of most flavours: what follows costs them no import
        try:
            return self._attempt(request)
        except InterpreterChangedError as changed:
            self._probed.forget(self._target.interpreter)
            interpreter = self._probed.ask(self._target.interpreter.executable, root=self._target.interpreter.root)
            self._report.tally.notices.append(f"{changed.message}; everything is looked at again")
            self._report.interpreter = interpreter
            self._target = find_target(interpreter, request, self._settings)
            return self._attempt(self._widened_by_magic(request))

    def _attempt(self, request: Request) -> Tally:
        tally, foreign = self._attempt_here(request)
        if foreign:
            tally.add(self._attempt_apart(request, foreign))
        return tally

    def _attempt_apart(self, request: Request, places: Places) -> Tally:
        """Do the work in the places of others, as they."""
        from .plan.foreign import trouble_with
        from .scope.forked import Apart

        held = self._entrance.descriptor
        apart = Apart(self._observer, lambda: self._enter_for_another(request), [] if held is None else [held])
        tally = Tally()
        try:
            with trouble_with(places, tally):
                apart.perform(lambda line, relay: self._be_apart(line, relay)._attempt_here(request, places))
        finally:
            self._known_parts = None  # it has written them
            for each in apart.so_far:
                tally.add(each)
            self._report.tally.add(tally)
        return tally

    def _be_apart(self, line: Line, relay: Relay) -> InstallationRun:
        """Go on with this in a process of its own: the parent has the lock and the journal."""
        self._observer = relay
        self._service = self._service.apart(relay)
        self._known_parts = None
        self._line = line
        return self

    def _enter_for_another(self, request: Request) -> tuple[bool, int | None]:
        """The lock, for a process that does a part of this run's work: whether somebody had it, and its descriptor."""
        has_waited = False
        try:
            self._enter(request)
        except _WaitedError:
            has_waited = True
        return has_waited, self._entrance.descriptor

    def _attempt_here(self, request: Request, places: Places | None = None) -> tuple[Tally, Places]:
        """Do what this process can do: all but the places of others, or, in one for them, those."""
        from .apply.execution import Execution
        from .apply.pools import Pools
        from .plan.survey import Survey

        wanted = wanted_bytecode(self._target, request, self._settings, self._target.installation)
        pools = Pools(self._settings, self._request, wanted)
        interpreter = self._target.interpreter
        while True:
            if request.running.stateless or self._entrance.is_lockless:
                wanted = wanted._replace(writer=f"{_UNLOCKED_WRITER}-{os.urandom(4).hex()}")
            manifest = self._store.manifest(self._target.installation)
            if not self._parts.know_records:
                manifest.check()
            knowledge = self._knowledge(manifest)
            overview = self._overview(request, wanted)
            if strangers := knowledge.drop_strangers(self._target, request):
                self._observer.notice(f"the manifest names directories outside the scope: {', '.join(strangers)}")
            with (
                contextlib.closing(manifest),
                Survey(self._target, request, wanted, knowledge, overview, self._observer, places=places) as survey,
            ):
                execution = Execution(
                    interpreter,
                    wanted,
                    manifest,
                    self._observer,
                    enter=lambda: self._enter(request),
                    open_pool=lambda _: pools.compilers(interpreter),
                    owns=knowledge.is_owned,
                )
                execution.tally.unexamined += survey.unexamined
                execution.tally.failures += survey.refused
                try:
                    execution.run(survey.steps())
                except _WaitedError:
                    self._service.ownership.forget()
                    continue  # nothing was done yet, and what was read is out of date
                except BaseException:
                    self._keep(execution, manifest)
                    raise
                if execution.tally.left_something:
                    survey.look_again()  # what was all done is too young to be taken down, and costs a tenth of the run
                if overview and request.running.hook and (line := overview.left_to_packages()):
                    execution.tally.notices.append(line)
                # What waits in the journal for a tree that can't be written goes on waiting.
                execution.tally.is_interrupted |= survey.is_read_only
                self._keep(execution, manifest)
                return execution.tally, survey.foreign

    def _overview(self, request: Request, wanted: Wanted) -> Overview | None:
        """What a run learns for the glance of the next hook."""
        if request.work is not Work.RUN or not (self._parts.are_kept or request.running.hook):
            return None
        from .plan.glance import Overview

        return Overview(self._target, request, wanted, self._parts)

    def _enter(self, request: Request) -> None:
        """Before the first change: the journal, then the lock."""
        if self._line is not None:
            if not self._has_entered:
                self._has_entered = True
                if self._line.enter():
                    raise _WaitedError
            return
        if request.running.stateless or self._entrance.is_lockless or self._entrance.is_passed:
            return
        announces = request.work in (Work.RUN, Work.REPAIR)
        if announces and self._backlog is not None and (self._found is None or self._touches):
            self._backlog.announce(self._request)
        waited = self._entrance.pass_through(self._target.installation)
        if self._found is not None and self._backlog is not None:
            # Not before: what waits in vain for the lock, the next hook's glance finds again.
            self._backlog.announce(self._found, more=True)
        self._begin()
        if waited:
            raise _WaitedError

    def _knowledge(self, manifest: Manifest) -> Knowledge:
        from .plan.knowledge import knowledge_of

        return knowledge_of(self._target, self._request, self._service, manifest)

    def _keep(self, execution: Execution, manifest: Manifest) -> None:
        """What was written is on the disk before the manifest says so, and that before the journal forgets it."""
        settled = execution.settle()
        if self._line is None:
            self._report.tally.add(execution.tally)
        else:
            self._line.tell("so far", execution.tally)
        if execution.tally.counts.compiled and self._store.base is not None and manifest.lacks_sqlite:
            self._observer.notice(
                "this Python has no module sqlite3: every run looks at everything anew, and no history is kept"
            )
        try:
            if settled:
                self._parts.load()
                manifest.save()
                self._parts.save()
        except OSError as error:
            self._store.give_up(error)
            self._store.tell()


def _joined(entries: list[Entry]) -> tuple[str, ...]:
    return tuple(sorted({path for entry in entries for path in entry.paths or ()}))


def _with_found(paths: tuple[str, ...] | None, found: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if paths is None or found is None else tuple(dict.fromkeys((*paths, *found)))


def _reason(error: Any) -> str:
    return error.message if isinstance(error, PyctriggerError) else f"it can't be read ({type(error).__name__})"
