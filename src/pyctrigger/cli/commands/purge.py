"""`purge`: remove all bytecode of one flavour, whose interpreter may be gone. Lists what it removes, and asks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from ...errors import DeclinedError, PyctriggerError, UsageError
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...outcome.report import Report
from ...run import trigger
from ...run.scope.request import Request
from ...run.scope.settings import BOOLEAN, Setting
from ..output.table import Table, lines_of
from ..output.terminal import is_wanted
from ..output.text import counted, say, shown, size
from . import Call, Verb
from .sweep import summary

_HEADERS = ("flavour", "pycs", "size", "by others", "site directory")


def _purge_bytecode(call: Call, observer: Observer) -> Report:
    """List what will be removed, ask for confirmation on a terminal, and remove it."""
    options, request = call.options, call.read_request(observer)
    if options.yes and options.quiet and not options.json:
        return trigger.perform(request, observer)
    preview = trigger.perform(request._replace(running=request.running._replace(dry_run=True)), observer)
    takings = [taking for run in preview.runs for taking in run.takings]
    asks = bool(takings) and not (options.yes or options.json or request.running.dry_run) and _can_ask()
    if takings and not options.json and (asks or not options.quiet):
        _print_preview(preview, request, observer, options.color)
    if request.running.dry_run:
        return preview
    if asks and not _ask_confirmation():
        return _make_refusal(preview, DeclinedError("nothing was removed: the answer was not yes"))
    others = sum(taking.by_others for taking in takings)
    if others and not (asks or options.yes):
        what = f"this would remove {counted(others, 'file')} that pyctrigger didn't write; nothing was removed"
        return _make_refusal(preview, UsageError(what, hint="add -y to go ahead"), shows_takings=options.json)
    report = trigger.perform(request, observer)
    known = {run.installation: run.takings for run in preview.runs}
    for run in report.runs:
        run.takings = known.get(run.installation, [])
    return report


def _can_ask() -> bool:
    """Whether a user can read the question, and answer it."""
    return os.isatty(0) and sys.stdout.isatty()


def _print_preview(preview: Report, request: Request, observer: Observer, color: str) -> None:
    """Print what will be removed, and how to restore it."""
    rows = [
        (run.flavour, str(taking.pycs), size(taking.bytes), str(taking.by_others), taking.site)
        for run in preview.runs
        for taking in run.takings
    ]
    say(sys.stdout, "To be removed:")
    table = lines_of(Table(_HEADERS, rows, numbers=_HEADERS[1:4]), sys.stdout, colour=is_wanted(color, sys.stdout))
    for line in (*table, *_restoring_lines(preview, request, observer)):
        say(sys.stdout, line)


def _restoring_lines(preview: Report, request: Request, observer: Observer) -> Iterator[str]:
    """Yields commands that restore the bytecode of dpkg's packages, which dpkg itself doesn't know about."""
    from ...packages.ownership import owners_of
    from ...run.scope.root_files import files_of

    sites = [taking.site for run in preview.runs for taking in run.takings]
    owners = owners_of(sites, files_of(request.scope.root), observer.notice)
    commands: dict[str, list[str]] = {}
    for run in preview.runs:
        if run.interpreter is None or run.interpreter.is_gone:
            continue  # it can neither write nor use it
        for taking in run.takings:
            owner = owners.get(taking.site)
            if owner is not None and owner.manager == "dpkg":
                command = _restoring_command(run.flavour, run.interpreter, taking.site, request)
                commands.setdefault(command, []).append(shown(taking.site))
    for command, found in commands.items():
        yield f"Debian's packages have sources in {', '.join(found)}. To restore their bytecode: {shown(command)}"


def _restoring_command(flavour: str, interpreter: Interpreter, site: str, request: Request) -> str:
    """Returns Debian's own command if it writes this bytecode, otherwise a run for the same scope."""
    import shlex

    from ...packages.dpkg import Dpkg

    scope = request.scope
    major, minor, _ = interpreter.version
    is_plain = interpreter.implementation == "cpython" and not interpreter.free_threaded
    if is_plain and scope.root is None and scope.pycache_prefix is None:
        own = Dpkg.compile_command(f"{major}.{minor}", site)
        if own is not None:
            return own
    words = ["pyctrigger", "run", "--python", flavour]
    words += ["--root", scope.root] if scope.root is not None else []
    words += [word for path in scope.site_dirs for word in ("--site-dir", path)]
    words += [word for path in scope.prefixes for word in ("--prefix", path)]
    words += ["--stdlib"] if scope.stdlib else []
    words += ["--pycache-prefix", scope.pycache_prefix] if scope.pycache_prefix is not None else []
    return shlex.join(words)


def _ask_confirmation() -> bool:
    """Ask for confirmation. Anything but yes is a no, including the end of input."""
    say(sys.stdout, "Do you want to continue? [y/N] ", end="", flush=True)
    answer = b""
    try:
        answer = os.read(0, 1024)  # a line of a terminal
    except OSError:
        pass  # EIO: the terminal is gone, or another job has it
    finally:
        if not answer.endswith(b"\n"):
            say(sys.stdout, "")
    return answer.strip().lower() in (b"y", b"yes")


def _make_refusal(preview: Report, error: PyctriggerError, *, shows_takings: bool = False) -> Report:
    """Returns the report of a purge that wasn't done: for programs it has what would have been removed."""
    report = Report(preview.command)
    report.errors = [*preview.errors, error]
    if shows_takings:
        report.show_undone(preview)
    return report


VERB = Verb(
    "remove all bytecode of one Python",
    _purge_bytecode,
    summary=summary,
    helps={"optimize": "only these optimization levels (default: all)"},
    options=(Setting("yes", BOOLEAN, "remove it without asking", flags=("-y", "--yes")),),
)
