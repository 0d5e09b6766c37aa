"""The system's log: one line for each flavour and error, so that what a hook printed isn't lost with the terminal."""

from __future__ import annotations

import syslog
from typing import TYPE_CHECKING

from .report import printable

if TYPE_CHECKING:
    from .report import Report


def log(report: Report) -> None:
    """Write a report's lines to syslog(3): a warning where something failed."""
    syslog.openlog("pyctrigger", syslog.LOG_PID, syslog.LOG_DAEMON)
    for run in report.runs:
        counts = run.tally.counts.as_dict()
        numbers = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        priority = syslog.LOG_WARNING if run.tally.exit_code else syslog.LOG_INFO
        _line(priority, f"{report.command} {run.flavour}: {numbers or 'nothing to do'} in {run.elapsed_seconds:.2f} s")
    for error in report.errors:
        _line(syslog.LOG_ERR, f"{report.command}: {error}")
    syslog.closelog()


def _line(priority: int, text: str) -> None:
    syslog.syslog(priority, printable(text).replace("\0", "?").replace("\n", " "))
