"""`main`: from the command line to an exit code; nothing escapes it but what the contract names."""

from __future__ import annotations

import argparse
import errno
import gc
import os
import sys
from collections.abc import Sequence

from .. import interruption
from ..errors import DefectError, InterruptedRunError, PyctriggerError, RightsError, ShortageError
from ..outcome.report import Report
from .commands import find_verb
from .inherited import reset_inherited
from .options import require_consistent
from .output.text import lost_output, say, shown
from .parser import parse
from .printer import Printer


def main(arguments: Sequence[str] | None = None, *, program: tuple[str, ...] | None = None) -> int:
    """Run a command; its exit code. A hook's is 0 whatever happens, and standard error says what did.

    `program` is how pyctrigger is started, for the hooks that it renders; by itself it knows only its interpreter.
    """
    reset_inherited()
    # One short pass over values that form no cycles: the collector would only look at them again and again.
    if hasattr(gc, "freeze"):  # PyPy's collector is another one
        gc.freeze()
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
    return 0 if "--hook" in arguments else code


def _open_streams() -> None:
    """Reopen closed descriptors 0-2 on /dev/null, or the next open() gets one and our output lands in that file.

    Reading standard input and writing to standard output then fail, as they would have; complaints go nowhere.
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
        say(sys.stderr, _uncalled(error, arguments))
        return error.exit_code
    options = call.options
    verb = find_verb(options.verb)
    printer = Printer(options, verb.doing)
    try:
        require_consistent(options, verb)
        report = verb.perform(call, printer)
    except BaseException as error:
        if interruption.has_come() or not isinstance(error, Exception):
            if options.json:
                printer.show_json(_failed(options, InterruptedRunError("interrupted")).as_dict())
            raise
        report = _failed(options, error if isinstance(error, PyctriggerError) else _explained(error, options))
    if options.proof is not None:
        from .done import prove

        prove(options.proof, report)
    denied = [failure for run in report.runs for failure in run.tally.failures if failure.needs_root]
    if denied or any(isinstance(error, RightsError) for error in report.errors):
        from .as_root import tell_rights

        tell_rights(report, denied, arguments, options)
    printer.show(report)
    return report.exit_code


def _uncalled(error: PyctriggerError, arguments: list[str]) -> str:
    """What is wrong with a command line that can't be parsed: of its options, only colour is heard."""
    from .output.terminal import is_wanted, painted

    said = " ".join(arguments).replace("--color ", "--color=")
    when = next((when for when in ("always", "never") if f"--color={when}" in said), "auto")
    when = "never" if "--hook" in arguments else when
    return painted((("pyctrigger:", "error"), f" {shown(str(error))}"), colour=is_wanted(when, sys.stderr))


def _failed(options: argparse.Namespace, error: PyctriggerError) -> Report:
    report = Report(options.verb, dry_run=options.dry_run)
    report.errors.append(error)
    return report


def _explained(error: Exception, options: argparse.Namespace) -> PyctriggerError:
    """The last resort: a person sees one line, and a traceback only if asked for."""
    if options.verbose > 1:
        import traceback

        traceback.print_exc()
    return _shortage(error) or _defect(error)


def _shortage(error: BaseException) -> ShortageError | None:
    """A module that can't be imported, a pipe that can't be made: no defect where there is nothing to make it from."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("pyctrigger"):
        return ShortageError(
            f"{sys.executable} lacks the module {error.name}", hint="install it, or run pyctrigger with another Python"
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return ShortageError(error.strerror or str(error))
    if isinstance(error, MemoryError):
        return ShortageError("out of memory")
    return None


def _defect(error: BaseException) -> DefectError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return DefectError(f"a defect of pyctrigger's own: {type(error).__name__}{where}")
