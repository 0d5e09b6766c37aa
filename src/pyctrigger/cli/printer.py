"""Showing a report: as text for a person, as one JSON object for a program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import ConfigurationError, PyctriggerError, name_few
from ..outcome.observer import Observer
from ..outcome.outcome import Failure, Link
from ..outcome.report import FlavourReport, Report
from ..pyc.header import Verdict
from .commands import find_verb
from .output.text import say, shown

if TYPE_CHECKING:
    from .output.table import Table
    from .output.terminal import Words

#: Paths of one kind that are named, where there are more of them.
_MOST_NAMED = 3


class Printer(Observer):
    """Prints what happens as it happens, and the report at the end. A hook's words all go to standard error."""

    def __init__(self, options: argparse.Namespace, doing: str) -> None:
        self._options = options
        self._errors = sys.stderr
        self._output = sys.stderr if options.hook else sys.stdout
        #: apt runs dpkg on a terminal of its own, and keeps what it sees there in a log.
        self._color = "never" if options.hook else options.color
        self._told: set[str] = set()
        self._held_back = ""
        self._progress = Observer()
        if not (options.no_progress or options.json or options.quiet or options.hook):
            from .output.progress import show_progress

            self._progress = show_progress(doing, color=self._color)
        self.is_watched = self._progress.is_watched

    # -- as it happens -------------------------------------------------------------------------------------------

    def notice(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._say(self._errors, shown(text))

    def remark(self, text: str) -> None:
        if not self._options.quiet:
            self.notice(text)

    def detail(self, text: str) -> None:
        if self._options.verbose:
            self._say(self._errors, shown(text))

    def found(self, interpreters: list[str]) -> None:
        if self._options.quiet or self._options.json:
            return
        line = f"found {shown(', '.join(interpreters))}"
        if line in self._told:
            return  # a purge looks twice
        self._told.add(line)
        # Each transaction's hook finds the same ones: news only beside other news, or when we have just come.
        if self._options.hook and not self._options.verbose and self._options.event != "configure":
            self._held_back = line
        else:
            self._say(self._output, line)

    def started(self, flavour: str) -> None:
        self._progress.started(flavour)

    def looked(self, sources: int) -> None:
        self._progress.looked(sources)

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        if self._options.verbose:
            from ..outcome.states import cause

            self._name("compiled", path, cause(verdicts))

    def refreshed(self, path: str) -> None:
        self._name("refreshed", path, "stale: only its source's mtime changed")

    def opened(self, path: str) -> None:
        self._name("opened", path, "its mode kept out accounts that may read the sources")

    def removed(self, path: str, reason: str) -> None:
        if self._options.verbose:
            from ..outcome.states import why_removed

            self._name("removed", path, why_removed(reason))

    def skipped(self, path: str, reason: str) -> None:
        if self._options.verbose > 1:
            self._name("skipped", path, reason)

    def progress(self, done: int, known: int | None) -> None:
        self._progress.progress(done, known)

    def finished(self) -> None:
        self._progress.finished()

    # -- at the end ----------------------------------------------------------------------------------------------

    def show(self, report: Report) -> None:
        """Print the report."""
        for notice in (*report.notices, *(notice for run in report.runs for notice in run.tally.notices)):
            self.notice(notice)
        if self._options.json:
            self.show_json(report.as_dict())
        else:
            self._show_text(report)
        for error in {str(error): error for error in report.errors}.values():  # of several flavours, once
            self.show_error(error)

    def show_json(self, document: dict[str, Any]) -> None:
        """Print the one object, on standard output."""
        import json

        say(sys.stdout, json.dumps(document))  # in ASCII: whatever the locale, a program can read it

    def show_error(self, error: PyctriggerError) -> None:
        """Print what ended a flavour's work, or all of it."""
        lines = [str(error)]
        if isinstance(error, ConfigurationError):
            lines = [f"{error.path}: {problem}" for problem in error.problems]
        for line in lines:
            self._say(self._errors, (("pyctrigger:", "error"), f" {shown(line)}"))

    def _show_text(self, report: Report) -> None:
        verb = find_verb(report.command)
        # By itself a plain report has nothing to say: the command failed as a whole.
        if report.has_answer and not self._options.quiet:
            for line in verb.lines(report):
                self._say(self._output, line)
        for run in report.runs:
            for line in _failure_lines(_by_themselves(run)):
                self._say(self._errors, line)
            for line in () if self._options.quiet else _link_lines(run.tally.links):
                self._say(self._errors, line)
            if report.dry_run:
                for action in run.tally.actions:
                    levels = f" at level {', '.join(map(str, action.levels))}" if action.levels else ""
                    reason = f" ({action.reason})" if action.reason != "pyc" else ""  # all go: what was asked for
                    self._say(self._output, f"would {action.action}{levels} {shown(action.path)}{reason}")
                self._say(self._output, f"{run.name}: {len(run.tally.actions)} to do, nothing was done")
            elif self._tells(run):
                for line in verb.summary(run):
                    self._say(self._output, line)
        failures = [failure.kind for run in report.runs for failure in _by_themselves(run)]
        if failures and not self._options.quiet and (self._options.verbose or not self._options.hook):
            from .output.hints import hints

            for line in hints(failures, report.command):
                self._say(self._output, line)

    def _tells(self, run: FlavourReport) -> bool:
        """Whether a summary is worth a line: not in each of a day's transactions that left a flavour as it was."""
        if self._options.quiet or (run.error is not None and not (run.tally.counts.changes or run.tally.findings)):
            return False  # the error says it all
        return not self._options.hook or self._options.verbose > 0 or run.tally.counts.changes > 0

    def _name(self, did: str, path: str, why: str) -> None:
        """Name a file with `-v`, and the reason with `-vv`."""
        if self._options.verbose:
            because = f" ({why})" if self._options.verbose > 1 else ""
            self._say(self._errors if self._options.json else self._output, f"{did} {shown(path)}{because}")

    def _say(self, stream: TextIO, line: str | Words | Table) -> None:
        self._progress.finished()
        if self._held_back:
            say(self._output, self._held_back)
            self._held_back = ""
        for text in [line] if isinstance(line, str) else self._painted(stream, line):
            say(stream, text)

    def _painted(self, stream: TextIO, line: Words | Table) -> list[str]:
        from .output.terminal import is_wanted, painted

        colour = is_wanted(self._color, stream)
        if isinstance(line, tuple):
            return [painted(line, colour=colour)]
        from .output.table import lines_of

        return lines_of(line, stream, colour=colour)


def _by_themselves(run: FlavourReport) -> list[Failure]:
    """The failures that have a line of their own: what only root may write is one error for all flavours."""
    return [failure for failure in (*run.tally.failures, *run.tally.unexamined) if not failure.needs_root]


def _line(failure: Failure) -> Words:
    return (f"{shown(failure.path)}: ", (failure.kind, "error"), f": {shown(failure.message)}")


def _failure_lines(failures: Sequence[Failure]) -> Iterator[Words]:
    """A line for each, but one for all that were refused for the same reason, where they are many."""
    refused: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.kind == "refused":
            refused.setdefault(failure.message, []).append(failure)
    for failure in failures:
        alike = refused.get(failure.message, []) if failure.kind == "refused" else []
        if len(alike) <= _MOST_NAMED:
            yield _line(failure)
        elif failure is alike[0]:
            yield _line(failure._replace(path=f"{_few(alike)} (--json has all)"))


def _link_lines(links: Sequence[Link]) -> Iterator[str]:
    """What is said of links to directories: a line for each, or one for all where they are many."""
    if len(links) <= _MOST_NAMED:
        for link in links:
            path, goal = shown(link.path), shown(link.leads_to)
            yield f"{path} is a link to {goal}; its sources aren't compiled through it, but by: run --site-dir {goal}"
        return
    yield f"{_few(links)} (--json has all) are links; nothing is compiled through them"


def _few(found: Sequence[Failure | Link]) -> str:
    return name_few([shown(each.path) for each in found], _MOST_NAMED)
