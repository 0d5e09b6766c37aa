"""The one entry point: journal, lock, plan, compile, sweep, tally, for every flavour that a request means."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ..errors import (
    InterpreterError,
    NoEnvironmentError,
    NoLibraryError,
    OutsideScopeError,
    PyctriggerError,
    UsageError,
)
from ..interpreter.flavour import not_found
from ..interpreter.scope import own_directories
from ..outcome.observer import Observer
from ..outcome.report import FlavourReport, Report
from ..packages.files import Files
from ..packages.ownership import Ownership
from ..state.locations import require_private, state_directory
from ..state.probed import ProbedInterpreters
from ..state.store import Store
from ..tuples import NamedTuple
from .backlog import KEPT, Unidentified, drop_entries_of_gone, drop_gone_environments
from .entrance import HOOK_LOCK_TIMEOUT
from .installation import InstallationRun
from .scope import config as configuration
from .scope.interpreters import find_interpreters
from .scope.paths import absolute, home_of
from .scope.request import Request, Running, Scope, Transaction, Work
from .scope.service import Service
from .scope.target import find_target, is_inside, keep_shared, require_named, told_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .recording import Recording
    from .scope.config import Settings
    from .scope.target import Target


def run_trigger(  # noqa: PLR0913 - the contract's call: each keyword is one option of the command
    version: str | None,
    paths: Sequence[str | bytes | os.PathLike[str]] | None,
    *,
    event: str = "unknown",
    config: str | os.PathLike[str] | None = None,
    manager: str | None = None,
    root: str | os.PathLike[str] | None = None,
    site_dirs: Sequence[str | os.PathLike[str]] = (),
    prefixes: Sequence[str | os.PathLike[str]] = (),
    prefixes_below: Sequence[str | os.PathLike[str]] = (),
    state_dir: str | os.PathLike[str] | None = None,
    stateless: bool = False,
    dry_run: bool = False,
) -> Report:
    """Do what `pyctrigger run` does: compile what `paths` touched, sweep what it orphaned.

    `version` is `3.11`, `3.13t`, `pypy3.11` or the path of an executable; None means every flavour found. `paths` None
    means the whole scope, an empty list that nothing was touched. `config` is the path of a configuration file. Prints
    nothing and never exits; what became of files stands in the report. Raises PyctriggerError, of the first flavour
    that could not be served, once all others are.
    """
    request = Request(
        Work.RUN,
        Scope(
            pythons=() if version is None else (version,),
            root=os.path.abspath(os.fspath(root)) if root is not None else None,
            site_dirs=tuple(os.path.abspath(os.fspath(path)) for path in site_dirs),
            prefixes=tuple(os.path.abspath(os.fspath(path)) for path in prefixes),
            prefixes_below=tuple(os.path.abspath(os.fspath(path)) for path in prefixes_below),
        ),
        transaction=Transaction(
            None if paths is None else tuple(_absolute(path, manager) for path in paths), event, manager
        ),
        running=Running(
            state_dir=os.path.abspath(os.fspath(state_dir)) if state_dir is not None else None,
            stateless=stateless,
            config=os.fspath(config) if config is not None else None,
            dry_run=dry_run,
        ),
    )
    report = perform(request)
    if report.errors:
        raise report.errors[0]
    return report


def _absolute(path: str | bytes | os.PathLike[str], manager: str | None) -> str:
    text = os.fsdecode(path)
    return absolute(text, manager=manager, cwd=os.getcwd()) if text else ""


class _Record:
    """A call's record in the history, made when there is something to tell: an idle hook's isn't, and costs nothing."""

    def __init__(self, request: Request, store: Store, notice: Callable[[str], None]) -> None:
        self._request = request
        self._store = store
        self._notice = notice
        self._began = time.time()
        self._recording: Recording | None = None
        self._is_kept = request.work.writes and not (request.running.dry_run or request.running.stateless)

    def begin(self) -> None:
        """Something is going to be changed."""
        if self._recording is None and self._is_kept:
            from .recording import Recording

            self._recording = Recording(self._request, self._store, self._began, self._notice)
            self._recording.begin()

    def end(self, report: Report) -> None:
        """All is done, or has failed."""
        is_idle = self._recording is None and self._request.running.hook and not _has_news(report)
        if not self._is_kept or is_idle:
            return
        from .recording import Recording

        (self._recording or Recording(self._request, self._store, self._began, self._notice)).end(report)


class Part(NamedTuple):
    """One target, and what of the request is about it: of several environments each has its own paths."""

    target: Target
    request: Request


class Prepared(NamedTuple):
    """What a request means on this system: its parts, and what serves them all."""

    request: Request
    service: Service
    report: Report
    parts: list[Part]
    unserved: list[tuple[Request, PyctriggerError]]
    """The requests of which an interpreter can't be used, about one environment or about none, and why."""
    record: _Record

    @property
    def targets(self) -> list[Target]:
        """Those of all parts."""
        return [part.target for part in self.parts]


def perform(request: Request, observer: Observer | None = None) -> Report:
    """Do what a request asks for. Errors of a flavour's are in the report; the others' work is done all the same.

    Raises UsageError, ConfigurationError and RefusedError for what concerns the request as a whole.
    """
    request.check()
    settings, trouble = _settings(request)
    if settings.log == "syslog" and request.work.writes and not request.running.dry_run:
        from .syslog import logged

        def listened(listener: Observer) -> Report:
            return carry_out(_prepared(request, settings, trouble, listener))

        return logged(request, observer or Observer(), listened)
    return carry_out(_prepared(request, settings, trouble, observer or Observer()))


def prepare(request: Request, observer: Observer | None = None) -> Prepared:
    """Find all flavours, and all that a request needs. Raises UsageError, ConfigurationError and RefusedError."""
    request.check()
    return _prepared(request, *_settings(request), observer or Observer())


def _prepared(request: Request, settings: Settings, trouble: PyctriggerError | None, observer: Observer) -> Prepared:
    if trouble is not None:
        request = request._replace(running=request.running._replace(defer=True))
    store, probed = _state(request, observer)
    record = _Record(request, store, observer.notice)
    ownership = Ownership(_files(request.scope.root), observer.notice)
    report = Report(request.work.value, dry_run=request.running.dry_run)
    report.errors += [trouble] if trouble is not None else []
    if request.work is Work.RUN and not request.running.dry_run:
        drop_entries_of_gone(store, probed, settings, observer)
        if not request.running.hook:
            drop_gone_environments(store, probed, observer)
            root = request.scope.root
            if root is None and store.base is not None and os.path.isdir(os.path.join(store.base, "roots")):
                from ..state.roots import drop_gone_roots

                drop_gone_roots(store.base, observer.notice)
    parts: list[Part] = []
    unserved: list[tuple[Request, PyctriggerError]] = []
    for part in divided(request, observer.notice, report.errors):
        told = len(report.errors)
        parts += _parts(part, settings, store, probed, report)
        unserved += [(part, error) for error in report.errors[told:]]
    without_library = [error for error in report.errors if isinstance(error, NoLibraryError)]
    if len(without_library) > 1:
        one = NoLibraryError.of_all(without_library)
        report.errors = [one, *(error for error in report.errors if error not in without_library)]
        unserved = [(part, one if error in without_library else error) for part, error in unserved]
    if request.scope.prefixes_below and not (parts or report.errors):
        below, pythons = (", ".join(each) for each in (request.scope.prefixes_below, request.scope.pythons))
        message = f"--prefix-below {below}: no environment of {pythons}"
        report.errors.append(NoEnvironmentError(message, hint="leave out --python to serve those that are there"))
    is_told = request.work.writes or request.work is Work.VERIFY  # the others' answers name them
    found = [part.target.interpreter for part in parts if part.target.prefix is None]  # an environment's line names it
    if is_told and not (request.scope.pythons or request.scope.cache_tag or trouble) and found:
        observer.found([f"{each.flavour} ({each.executable})" for each in found])
    service = Service(settings, store, probed, observer, ownership, record.begin)
    return Prepared(request, service, report, parts, unserved, record)


def _files(root: str | None) -> Files:
    if root is None:
        return Files()
    from .scope.root_files import files_of  # not for this system's own hooks

    return files_of(root)


def open_store(request: Request) -> Store:
    """Its state, as far as there is any. Raises UsageError and RefusedError."""
    return _state(request, Observer())[0]


def open_state(request: Request) -> tuple[Settings, Store, ProbedInterpreters]:
    """What is known before anything is looked at. Raises UsageError, ConfigurationError and RefusedError."""
    return (_settings(request)[0], *_state(request, Observer()))


def carry_out(prepared: Prepared) -> Report:
    """Do what was prepared, one flavour after the other: all paths are placed before work on any of them begins."""
    request, service, report, parts, _, record = prepared
    observer = service.observer
    if not _paths_lie_inside(request, parts, report, observer):
        record.end(report)
        return report
    for (target, own), called in zip(parts, told_apart(prepared.targets)):
        served = _request_for(target, own)
        interpreter = target.interpreter
        flavour = FlavourReport(interpreter.flavour, target.installation, interpreter, target.prefix, called=called)
        report.runs.append(flavour)
        observer.started(flavour.name)
        started = time.perf_counter()
        run = InstallationRun(target, served, service, flavour)
        try:
            run.perform()
        except PyctriggerError as error:
            report.errors.append(error)
            flavour.error = error
        else:
            if served.work is not request.work:
                _leave(target, request, report, service.probed)
        finally:
            flavour.elapsed_seconds = time.perf_counter() - started
            observer.finished()
    record.end(report)
    return report


def _has_news(report: Report) -> bool:
    """Whether a hook's call did, left or met with anything."""
    return bool(report.errors) or any(
        run.deferred or run.tally.counts.changes or run.tally.failures or run.tally.unexamined for run in report.runs
    )


def _request_for(target: Target, request: Request) -> Request:
    """A hook's run for an interpreter that is gone is a purge."""
    if request.work is not Work.RUN or not target.interpreter.is_gone:
        return request
    patience = HOOK_LOCK_TIMEOUT if request.running.lock_timeout is None else request.running.lock_timeout
    running = request.running._replace(hook=False, lock_timeout=patience)
    return request.about(None)._replace(work=Work.PURGE, running=running)


def _leave(target: Target, request: Request, report: Report, probed: ProbedInterpreters) -> None:
    """The last run's interpreter is gone, and its bytecode with it. If it had none, nobody but who named it is told."""
    probed.forget(target.interpreter)
    flavour = report.runs[-1]
    if flavour.tally.counts.removed or flavour.tally.failures:
        report.notices.append(f"{flavour.flavour}: its interpreter is gone, and its bytecode with it")
        return
    report.runs.pop()
    if request.scope.pythons:
        report.errors.append(not_found(flavour.flavour))


def _settings(request: Request) -> tuple[Settings, PyctriggerError | None]:
    """The configuration; a hook that can't have it notes its work for a time when it can, so its trouble is a value."""
    running = request.running
    try:
        return configuration.load(running.config, hook=running.hook), None
    except PyctriggerError as error:
        if not running.hook or running.stateless or running.dry_run:
            raise
        return configuration.Settings(), error


def divided(request: Request, notice: Callable[[str], None], errors: list[PyctriggerError]) -> list[Request]:
    """The request, or one for each environment that it means; what keeps one from being found goes to `errors`."""
    scope = request.scope
    names_one = len(scope.prefixes) < 2 and not scope.prefixes_below
    if names_one and (request.running.hook or scope.site_dirs or scope.prefixes or not request.transaction.paths):
        return [request]
    from .scope.environments import divide  # not for a hook of the system's

    return divide(request, notice, errors)


def _parts(
    request: Request, settings: Settings, store: Store, probed: ProbedInterpreters, report: Report
) -> list[Part]:
    """The targets of a request about one environment, or about none."""
    scope = request.scope
    parts: list[Part] = []
    errors: list[PyctriggerError] = []
    for number, found in enumerate(find_interpreters(request, settings, probed)):
        try:
            if isinstance(found, InterpreterError) and scope.pythons:
                _keep_unserved(scope.pythons[number], request, settings, store, found)
            if isinstance(found, PyctriggerError):
                raise found
            target = find_target(found, request, settings)
            if (request.work is Work.PURGE and scope.pythons) or target.interpreter.is_gone:
                target = _spare_shared(target, request, settings, probed, report)
            # Under two names, as `3.13` and `python3`, it is served once.
            if all((target.installation, target.sites) != (each.installation, each.sites) for each, _ in parts):
                parts.append(Part(target, request))
        except PyctriggerError as error:
            errors.append(error)
    # An environment is of one of the flavours that were named, not of all; and one that was found may be of none.
    is_served = bool(parts) or bool(scope.prefixes_below)
    report.errors += [error for error in errors if not (is_served and isinstance(error, NoEnvironmentError))]
    return parts


def _keep_unserved(text: str, request: Request, settings: Settings, store: Store, error: InterpreterError) -> None:
    """A hook's work for an interpreter that is there and can't be started now: the next run does it."""
    if (
        not (request.work is Work.RUN and (request.running.hook or request.running.defer))
        or request.running.dry_run
        or request.scope.root
    ):
        return
    if Unidentified(store).keep(text, request, settings):
        error.hint = KEPT


def _spare_shared(
    target: Target, request: Request, settings: Settings, probed: ProbedInterpreters, report: Report
) -> Target:
    """A purge of one flavour leaves the directories whose pycs another flavour of the same cache tag uses."""
    scope = request.scope
    from .scope import absent

    if scope.site_dirs or scope.prefixes:
        return target  # they are no other interpreter's own
    sharing = absent.sharing(target.interpreter, probed, scope.root)
    spared, shared = keep_shared(target, [find_target(each, request, settings) for each in sharing], scope.root)
    for path in shared:
        report.notices.append(f"{path} is left as it is: another interpreter with this cache tag uses its bytecode")
    return spared


def _paths_lie_inside(request: Request, parts: list[Part], report: Report, observer: Observer) -> bool:
    """Name the paths that lie in no flavour's scope: an error, but for a hook, which leaves them out."""
    if not request.transaction.paths or not parts:
        return True
    outside: set[str] = set()
    inside: set[str] = set()
    for target, own in parts:
        strangers = set(target.touched(own).outside)
        outside |= strangers
        inside.update(path for path in own.transaction.paths or () if path not in strangers)
    outside -= inside
    if not outside:
        return True
    concerned = [part.target for part in parts if not outside.isdisjoint(part.request.transaction.paths or ())]
    sites = list(dict.fromkeys(site.path for target in concerned for site in target.sites))
    error = OutsideScopeError(
        sorted(outside), ", ".join(told_apart(concerned)), sites, hint=_widening(request, outside, concerned)
    )
    if request.running.hook:
        observer.notice(str(error))
        return True
    report.errors.append(error)
    return False


def _widening(request: Request, outside: Iterable[str], targets: Iterable[Target]) -> str:
    """What takes the paths into the scope."""
    scope = request.scope
    if scope.prefixes or scope.prefixes_below:
        return "leave out --prefix, or name paths inside it"
    if scope.site_dirs:
        return "name their directory with --site-dir as well"
    library = [path for target in targets for path in own_directories(target.interpreter).library]
    is_library = not scope.stdlib and all(home_of(path, library) for path in outside)
    return "add --stdlib" if is_library else "name their directory with --site-dir, or their environment with --prefix"


def _state(request: Request, observer: Observer) -> tuple[Store, ProbedInterpreters]:
    require_named(request)
    changes = request.work.writes and not request.running.dry_run
    base = _state_base(request)
    if request.scope.root is not None and base is not None:
        from .scope.staged import store_of_root  # not for this system's own hooks

        store = store_of_root(base, request, observer.notice, create=changes)
    else:
        store = Store(
            base, observer.notice, create=changes, hurries=request.running.hook, stateless=request.running.stateless
        )
    return store, ProbedInterpreters(store.base, keep=changes)


def _state_base(request: Request) -> str | None:
    """The directory of all state; that of a root is kept below it."""
    running = request.running
    if running.stateless:
        return None
    if running.state_dir is None:
        return state_directory()
    require_private(running.state_dir)
    if request.scope.root not in (None, "/") and is_inside(running.state_dir, str(request.scope.root)):
        raise UsageError(
            f"--state-dir {running.state_dir}: lies in {request.scope.root}, and state that lies there isn't trusted",
            hint="name a directory outside, or use --stateless",
        )
    return running.state_dir
