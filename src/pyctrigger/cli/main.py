"""`main`: turns a command line into an exit code, and every exception into a message."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace

from .. import interruption
from ..errors import DefectError, InterruptedRunError, PyctriggerError, RightsError, ShortageError
from ..outcome.report import Report
from .call import parse
from .commands import find_verb
from .inherited import reset_inherited
from .options import require_consistent
from .output.text import lost_output, say, shown
from .printer import Printer


def main(arguments: Sequence[str] | None = None, *, program: tuple[str, ...] | None = None) -> int:
    """Run a command. Returns its exit code, which for a hook is always 0; what went wrong is printed on stderr.

    `program` is how pyctrigger is started, for the hooks that it renders; by itself it knows only its interpreter.
    """
    reset_inherited()
    # Our values form no cycles, and the process is short: the collector would only examine them again and again.
    _spare_from_collector()
    if hasattr(gc, "freeze"):
        gc.set_threshold(100_000, 20, 100)
    gc.enable()  # see __main__
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=stream is sys.stderr)
    try:
        interruption.begin()
        code = _main(arguments, program or (sys.executable, "-I", "-m", "pyctrigger"))
        code = max(code, lost.exit_code) if (lost := lost_output()) else code
        interruption.finish()
    except BaseException as error:
        if not (interruption.has_come() or isinstance(error, KeyboardInterrupt)):
            raise
        interruption.handled()
        print(interruption.MESSAGE, file=sys.stderr)
        code = interruption.EXIT_CODE
    _spare_from_collector()  # Python's last collection would examine every module: a tenth of a hook
    return 0 if "--hook" in arguments else code


def _spare_from_collector() -> None:
    """Have it never look again at what there is now."""
    if hasattr(gc, "freeze"):  # PyPy's collector is another one
        gc.freeze()


def _open_streams() -> None:
    """Reopen closed descriptors 0-2 on /dev/null, or the next open() gets one and our output lands in that file.

    Reading standard input and writing to standard output then fail, as they would have; errors are lost.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as we live
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _main(arguments: list[str], program: tuple[str, ...]) -> int:
    try:
        call = parse(arguments, program)
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except PyctriggerError as error:
        say(sys.stderr, _describe_usage_error(error, arguments))
        is_plugin = (
            arguments[:1] == ["status"]
            and "--check" in arguments
            and not any("prometheus" in word for word in arguments)
        )
        return 3 if is_plugin else error.exit_code  # for a monitor 3 is UNKNOWN, and 2 CRITICAL
    options = call.options
    verb = find_verb(options.verb)
    printer = Printer(options, verb.doing)
    try:
        require_consistent(options, verb)
        report = verb.perform(call, printer)
    except BaseException as error:
        if interruption.has_come() or not isinstance(error, Exception):
            if options.json:
                printer.show_json(_make_failed_report(options, InterruptedRunError("interrupted")).as_dict())
            raise
        report = _make_failed_report(options, error)
    if options.hook and report.errors and not options.dry_run:
        from .lost_work import explain_loss

        explain_loss(report, options)
    if options.proof is not None:
        from .done import prove

        prove(options.proof, report)
    denied = [failure for run in report.runs for failure in run.tally.failures if failure.needs_root]
    if denied or any(isinstance(error, RightsError) for error in report.errors):
        from .as_root import explain_rights

        explain_rights(report, denied, arguments, options)
    printer.show(report)
    return report.exit_code


def _describe_usage_error(error: PyctriggerError, arguments: list[str]) -> str:
    """Returns the message about a command line that can't be parsed. Of its options only --color is known."""
    from .output.terminal import is_wanted, painted

    said = " ".join(arguments).replace("--color ", "--color=")
    when = next((when for when in ("always", "never") if f"--color={when}" in said), "auto")
    when = "never" if "--hook" in arguments else when
    told = shown(str(error))
    if "--hook" in arguments:
        from .lost_work import name_way_back

        told = f"{told}; {name_way_back()}"
    return painted((("pyctrigger:", "error"), f" {told}"), colour=is_wanted(when, sys.stderr))


def _make_failed_report(options: SimpleNamespace, error: Exception) -> Report:
    """Returns a report of this error. The traceback of an unexpected one is printed with -vv."""
    report = Report(options.verb, dry_run=options.dry_run)
    if not isinstance(error, PyctriggerError):
        if options.verbose > 1:
            import traceback

            traceback.print_exc()
        error = _find_shortage(error) or _make_defect(error)
    report.errors.append(error)
    return report


def _find_shortage(error: BaseException) -> ShortageError | None:
    """Returns an error if the system lacks something: a module, memory, descriptors. That isn't a defect."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("pyctrigger"):
        lacking = f"{sys.executable} lacks the module {error.name}"
        return ShortageError(lacking, hint="install it, or run pyctrigger with another Python")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return ShortageError(error.strerror or str(error))
    if isinstance(error, MemoryError):
        return ShortageError("out of memory")
    return None


def _make_defect(error: BaseException) -> DefectError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return DefectError(f"a defect of pyctrigger's own: {type(error).__name__}{where}")
