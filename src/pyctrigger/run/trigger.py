"""The one entry point: journal, lock, plan, compile, sweep, tally, for every flavour that a request means."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence

from ..errors import PyctriggerError
from ..interpreter.flavour import not_found
from ..outcome.observer import NoticeKeeper, Observer
from ..outcome.report import FlavourReport, Report
from .installation import do_installation
from .operation import Operation
from .scope.paths import absolute
from .scope.request import Request, Running, Scope, Transaction, Work
from .scope.target import Assignment, display_names
from .workspace import HOOK_LOCK_TIMEOUT


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
    nothing and never exits; what became of files is in the report. Raises PyctriggerError, of the first flavour
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
    heard = NoticeKeeper()
    report = perform(request, heard)
    report.add_notices(heard.notices)
    if report.errors:
        raise report.errors[0]
    return report


def _absolute(path: str | bytes | os.PathLike[str], manager: str | None) -> str:
    text = os.fsdecode(path)
    return absolute(text, manager=manager, cwd=os.getcwd()) if text else ""


def prepare(request: Request, observer: Observer | None = None) -> Operation:
    """Find all flavours, and all that a request needs. Raises UsageError, ConfigurationError and RefusedError."""
    operation = Operation(request, observer or Observer())
    operation.prepare()
    return operation


def perform(request: Request, observer: Observer | None = None, prepared: Operation | None = None) -> Report:
    """Do what a request asks for. Errors of a flavour's are in the report; the others' work is done all the same.

    One flavour after the other; all paths are placed before work on any of them begins. Raises UsageError,
    ConfigurationError and RefusedError for what concerns the request as a whole.
    """
    operation = prepared or Operation(request, observer or Observer())
    report = operation.report
    with contextlib.ExitStack() as stack:
        if operation.settings.log == "syslog" and request.work.writes and not request.running.dry_run:
            from .syslog import logged

            stack.enter_context(logged(operation))
        stack.callback(operation.close)
        if prepared is None:
            operation.prepare(_what_is_needed_later(request))
        observer = operation.observer
        targets = zip(operation.assignments, display_names(operation.targets)) if operation.check_paths() else ()
        for own, called in targets:
            assignment = _as_purge_if_gone(_as_sweep_if_kept(own))
            target = assignment.target
            interpreter = target.interpreter
            flavour = FlavourReport(interpreter.flavour, target.installation, interpreter, target.prefix, called=called)
            report.runs.append(flavour)
            observer.started(flavour.name)
            started = time.perf_counter()
            try:
                do_installation(assignment, operation, flavour)
            except PyctriggerError as error:
                report.errors.append(error)
                flavour.error = error
            else:
                if assignment.request.work is Work.PURGE and own.request.work is Work.RUN:
                    _finish_purge(assignment, operation)
            finally:
                flavour.elapsed_seconds = time.perf_counter() - started
                observer.finished()
        operation.say_kept()
        operation.close()
        operation.end_record()
    return report


def _what_is_needed_later(request: Request) -> Callable[[], None] | None:
    """Returns what imports what a request will need that may compile much, if it does."""
    if request.work not in (Work.RUN, Work.REPAIR) or request.running.hook or request.running.dry_run:
        return None
    from .readiness import get_ready  # no hook does

    return get_ready


def _as_sweep_if_kept(own: Assignment) -> Assignment:
    """Returns a sweep instead of a purge for a flavour that the system's own tools compile, if that is to be kept."""
    target, request, _ = own
    if request.work is not Work.PURGE or not request.scope.keep_system:
        return own
    from ..packages.every import MANAGERS  # only while we leave a system
    from .scope.root_files import files_of

    files, interpreter = files_of(request.scope.root), target.interpreter
    managers = [kind(files) for kind in MANAGERS.values()]
    version = interpreter.version[:2]
    if not any(each.is_present and each.compiles(interpreter.implementation, version) for each in managers):
        return own
    return Assignment.of(target, request._replace(work=Work.SWEEP))


def _as_purge_if_gone(own: Assignment) -> Assignment:
    """Returns a purge instead of a hook's run for an interpreter that is gone."""
    target, request, _ = own
    if request.work is not Work.RUN or not target.interpreter.is_gone:
        return own
    patience = HOOK_LOCK_TIMEOUT if request.running.lock_timeout is None else request.running.lock_timeout
    running = request.running._replace(hook=False, lock_timeout=patience)
    return Assignment.of(target, request.about(None)._replace(work=Work.PURGE, running=running))


def _finish_purge(assignment: Assignment, operation: Operation) -> None:
    """Report that an interpreter is gone with its bytecode. Without bytecode, only if it was named."""
    report, flavour = operation.report, operation.report.runs[-1]
    if not operation.request.running.dry_run:  # else the run that is foretold wouldn't know of it
        operation.probed.forget(assignment.target.interpreter)
    elif flavour.tally.actions:
        return
    if flavour.tally.counts.removed or flavour.tally.failures:
        executable = assignment.target.interpreter.executable
        gone = f"{flavour.flavour}: its interpreter{f' {executable}' if executable else ''} is gone"
        did = "not all of its bytecode could be removed" if flavour.tally.failures else "its bytecode was removed"
        report.notices.append(f"{gone}; {did}")
        return
    report.runs.pop()
    if operation.request.scope.pythons:
        report.errors.append(not_found(flavour.flavour))
