"""`main`: from the command line to an exit code; nothing escapes it but what the contract names."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from ..errors import DefectError, PyctriggerError
from ..run.report import Report
from ..run.trigger import perform
from .parser import make_request, parse
from .report import Printer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .parser import Call

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. A hook's is 0 whatever happens, and standard error says what did."""
    # One short pass over values that form no cycles: the collector would only look at them again and again.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=stream is sys.stderr)
    try:
        code = _main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone; what it was told has been done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except KeyboardInterrupt:
        print("pyctrigger: interrupted; run it again to finish", file=sys.stderr)
        code = _INTERRUPTED
    return 0 if "--hook" in arguments else code


def _main(arguments: list[str]) -> int:
    try:
        call = parse(arguments)
    except PyctriggerError as error:
        print(f"pyctrigger: {error}", file=sys.stderr)
        return error.exit_code
    printer = Printer(call)
    try:
        report = perform(make_request(call.options), printer)
    except PyctriggerError as error:
        report = _failed(call, error)
    except (MemoryError, RecursionError, Exception) as error:
        if call.verbosity > 1 and not call.hook:
            raise
        report = _failed(call, _defect(error))
    printer.show(report)
    return report.exit_code


def _failed(call: Call, error: PyctriggerError) -> Report:
    report = Report(call.command, dry_run=call.dry_run)
    report.errors.append(error)
    return report


def _defect(error: BaseException) -> DefectError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return DefectError(
        f"a defect of pyctrigger's own: {type(error).__name__}{where}",
        mend="run it again with -vv, and report what that prints",
    )
