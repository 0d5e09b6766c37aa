"""The system's log: one line for each run, so that what a hook printed isn't lost with the terminal."""

from __future__ import annotations

import contextlib
import syslog
from collections.abc import Iterator

from ..errors import PyctriggerError
from ..outcome.observer import Observer
from ..outcome.report import FlavourReport, Report, shown
from .operation import Operation
from .recording import first_that_fit
from .scope.request import Request

#: Bytes. Every receiver should take as much (RFC 5424, 6.1), and some cut off what is longer.
_MOST_BYTES = 1900
#: Bytes of one path, reason or notice.
_MOST_BYTES_OF_ONE = 600
#: Seconds. A daemon that is stopped takes no more datagrams, and syslog(3) would wait for it for ever.
_PATIENCE = 2.0


@contextlib.contextmanager
def logged(operation: Operation) -> Iterator[None]:
    """Log what became of a call when its work ends, also where it ends in an exception."""
    request, report = operation.request, operation.report
    listener = operation.observer = _Listener(operation.observer)
    try:
        yield
    except BaseException as error:
        reason = str(error) if isinstance(error, PyctriggerError) else f"ended by {type(error).__name__}"
        _write_line(syslog.LOG_ERR, _log_line(request, [f"error: {reason}", *_notices_of(report, listener)]))
        raise
    pieces = [_numbers_of(run) for run in report.runs]
    pieces += [f"error: {error}" for error in report.errors]
    for run in report.runs:
        failures = (*run.tally.failures, *run.tally.unexamined)
        pieces += [f"{shown(each.path)}: {each.kind}: {each.message}" for each in failures]
    pieces += _notices_of(report, listener)
    priority = syslog.LOG_ERR if report.errors else syslog.LOG_WARNING if report.exit_code else syslog.LOG_INFO
    if not _write_line(priority, _log_line(request, pieces)):
        report.notices.append(
            f"the system's log accepted nothing within {_PATIENCE:g} s; check that its daemon runs, or set log to none"
        )


class _Listener(Observer):
    """Keeps the notices, and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self.heard: list[str] = []
        self._pass_on = observer.notice
        events = (name for name in vars(Observer) if not name.startswith("_") and name != "notice")
        vars(self).update((name, getattr(observer, name)) for name in events)

    def notice(self, text: str) -> None:
        self.heard.append(text)
        self._pass_on(text)


def _notices_of(report: Report, listener: _Listener) -> list[str]:
    notices = [*listener.heard, *report.notices, *(notice for run in report.runs for notice in run.tally.notices)]
    return list(dict.fromkeys(notices))


def _numbers_of(run: FlavourReport) -> str:
    counts = run.tally.counts.as_dict()
    numbers = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    return f"{run.flavour}: {numbers or 'nothing to do'} in {run.elapsed_seconds:.2f} s"


def _log_line(request: Request, pieces: list[str]) -> str:
    """Returns one line with as many of the pieces as fit, and the number of the others."""
    _, event, manager = request.transaction
    options = ["--hook" if request.running.hook else None, manager, event if event != "unknown" else None]
    line = " ".join([request.work.value, *filter(None, options)]) + ": "
    cut = list(map(_cut_to_one_line, pieces))
    fitting = first_that_fit(cut, _MOST_BYTES - len(line), lambda piece: len(f"{piece}; ".encode()))
    if len(fitting) < len(pieces):
        fitting.append(f"and {len(pieces) - len(fitting)} more")
    return line + ("; ".join(fitting) or "nothing to do")


def _cut_to_one_line(text: str) -> str:
    """Returns a text without line breaks and control characters. The middle of a long one is left out."""
    data = shown(text).encode()
    if len(data) > _MOST_BYTES_OF_ONE:
        half = _MOST_BYTES_OF_ONE // 2
        data = data[:half] + b"[...]" + data[-half:]
    return data.decode(errors="ignore")


def _write_line(priority: int, line: str) -> bool:
    """Pass a line to syslog(3). Returns whether that ended in time."""
    import threading  # only here, and only where a log is wanted

    def write() -> None:
        syslog.openlog("pyctrigger", syslog.LOG_PID, syslog.LOG_DAEMON)
        syslog.syslog(priority, line)
        syslog.closelog()

    # A thread that waits in the C library for ever ends with the process.
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return not thread.is_alive()
