"""Prints reports: as text for people, as one JSON object for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

from ..errors import PyctriggerError, name_few
from ..outcome.observer import Observer
from ..outcome.outcome import Failure, Link
from ..outcome.report import FlavourReport, Report
from ..pyc.header import Verdict
from ..typed import TYPE_CHECKING, Any, TextIO
from .commands import find_verb
from .output.text import joined_hints, say, shown

if TYPE_CHECKING:
    from .output.table import Table
    from .output.terminal import Words

#: How many paths of one kind are listed.
_MOST_NAMED = 3


class Printer(Observer):
    """Prints what happens as it happens, and the report at the end. A hook's output all goes to stderr."""

    def __init__(self, options: SimpleNamespace, doing: str) -> None:
        self._options = options
        self._errors = sys.stderr
        self._output = sys.stderr if options.hook else sys.stdout
        #: apt runs dpkg on a terminal of its own, and logs what is printed there.
        self._color = "never" if options.hook else options.color
        self._printed: set[str] = set()
        self._heard: list[str] = []
        self._held_back = ""
        self._progress = Observer()
        if not (options.no_progress or options.json or options.quiet or options.hook):
            from .output.progress import show_progress

            self._progress = show_progress(doing, color=self._color)
        self.is_watched = self._progress.is_watched
        self.names_files = bool(options.verbose)

    # -- as it happens -------------------------------------------------------------------------------------------

    def notice(self, text: str) -> None:
        self._heard.append(text)
        self._print_once(text)

    def remark(self, text: str) -> None:
        if not self._options.quiet:
            self.notice(text)

    def detail(self, text: str) -> None:
        if self._options.verbose:
            self._print_line(self._errors, shown(text))

    def found(self, interpreters: list[str]) -> None:
        if self._options.quiet or self._options.json:
            return
        line = f"found {shown(', '.join(interpreters))}"
        if line in self._printed:
            return  # purge examines everything twice
        self._printed.add(line)
        # Every hook finds the same ones: print them only before other output, or if we were just installed.
        if self._options.hook and not self._options.verbose and self._options.event != "configure":
            self._held_back = line
        else:
            self._print_line(self._output, line)

    def started(self, flavour: str) -> None:
        self._progress.started(flavour)

    def looked(self, sources: int) -> None:
        self._progress.looked(sources)

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        if self._options.verbose:
            from ..outcome.states import cause

            self._name_file("compiled", path, cause(verdicts))

    def stored(self, path: str, verdicts: Sequence[Verdict]) -> None:
        if self._options.verbose:
            from ..outcome.states import cause

            self._name_file("stored", path, cause(verdicts))

    def refreshed(self, path: str) -> None:
        self._name_file("refreshed", path, "stale: only its source's mtime changed")

    def opened(self, path: str) -> None:
        self._name_file("opened", path, "its mode kept out accounts that may read the sources")

    def removed(self, path: str, reason: str) -> None:
        if self._options.verbose:
            from ..outcome.states import why_removed

            self._name_file("removed", path, why_removed(reason))

    def skipped(self, path: str, reason: str) -> None:
        if self._options.verbose > 1:
            self._name_file("skipped", path, reason)

    def progress(self, done: int, known: int | None) -> None:
        self._progress.progress(done, known)

    def finished(self) -> None:
        self._progress.finished()

    # -- at the end ----------------------------------------------------------------------------------------------

    def show(self, report: Report) -> None:
        """Print the report."""
        report.add_notices(self._heard)
        for notice in (*report.notices, *(notice for run in report.runs for notice in run.tally.notices)):
            self._print_once(notice)
        if self._options.json:
            self.show_json(report.as_dict())
        else:
            self._show_text(report)
        for error in {str(error): error for error in report.errors}.values():  # of several flavours, once
            self.show_error(error)

    def show_json(self, document: dict[str, Any]) -> None:
        """Print the JSON object on stdout."""
        import json

        say(sys.stdout, json.dumps(document))  # in ASCII, which programs can read in any locale

    def show_error(self, error: PyctriggerError) -> None:
        """Print the error that ended a flavour's work, or all work."""
        for part in error.parts():
            self._print_line(self._errors, (("pyctrigger:", "error"), f" {shown(str(part))}"))

    def _show_text(self, report: Report) -> None:
        verb = find_verb(report.command)
        # A plain report has nothing to print: the command failed as a whole.
        if report.has_answer and not self._options.quiet:
            for line in verb.lines(report):
                self._print_line(self._output, line)
        for run in report.runs:
            for line in _failure_lines(run.tally.listed):
                self._print_line(self._errors, line)
            for line in () if self._options.quiet else _link_lines(run.tally.links):
                self._print_line(self._errors, line)
            if report.dry_run:
                for action in run.tally.actions:
                    levels = f" at level {', '.join(map(str, action.levels))}" if action.levels else ""
                    reason = f" ({action.reason})" if action.reason != "pyc" else ""  # purge removes all, as asked for
                    self._print_line(self._output, f"would {action.action}{levels} {shown(action.path)}{reason}")
                self._print_line(self._output, f"{run.name}: {len(run.tally.actions)} to do, nothing was done")
            elif self._needs_summary(run):
                for line in verb.summary(run):
                    self._print_line(self._output, line)
        if not self._options.quiet and (self._options.verbose or not self._options.hook):
            for hint in joined_hints(report.hints):
                self._print_line(self._output, (("hint:", "strong"), f" {hint}"))

    def _needs_summary(self, run: FlavourReport) -> bool:
        """Whether to print a flavour's summary: a hook doesn't if it changed nothing."""
        if self._options.quiet or (run.error is not None and not (run.tally.counts.changes or run.tally.findings)):
            return False  # the error says it all
        return not self._options.hook or self._options.verbose > 0 or run.tally.counts.changes > 0

    def _print_once(self, text: str) -> None:
        if text not in self._printed:
            self._printed.add(text)
            # Among the lines of a package manager it has to say whose it is.
            self._print_line(self._errors, f"pyctrigger: {shown(text)}" if self._options.hook else shown(text))

    def _name_file(self, did: str, path: str, why: str) -> None:
        """Name a file with `-v`, and the reason with `-vv`."""
        if self._options.verbose:
            because = f" ({why})" if self._options.verbose > 1 else ""
            self._print_line(self._errors if self._options.json else self._output, f"{did} {shown(path)}{because}")

    def _print_line(self, stream: TextIO, line: str | Words | Table) -> None:
        self._progress.finished()
        if self._held_back:
            say(self._output, self._held_back)
            self._held_back = ""
        for text in [line] if isinstance(line, str) else self._paint_lines(stream, line):
            say(stream, text)

    def _paint_lines(self, stream: TextIO, line: Words | Table) -> list[str]:
        from .output.terminal import is_wanted, painted

        colour = is_wanted(self._color, stream)
        if isinstance(line, tuple):
            return [painted(line, colour=colour)]
        from .output.table import lines_of

        return lines_of(line, stream, colour=colour)


def _failure_line(failure: Failure) -> Words:
    return (f"{shown(failure.path)}: ", (failure.kind, "error"), f": {shown(failure.message)}")


def _failure_lines(failures: Sequence[Failure]) -> Iterator[Words]:
    """Yields a line for each failure, or one for many that were refused for the same reason."""
    refused: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.kind == "refused":
            refused.setdefault(failure.message, []).append(failure)
    for failure in failures:
        alike = refused.get(failure.message, []) if failure.kind == "refused" else []
        if len(alike) <= _MOST_NAMED:
            yield _failure_line(failure)
        elif failure is alike[0]:
            yield _failure_line(failure._replace(path=f"{_name_few(alike)} (--json has all)"))


def _link_lines(links: Sequence[Link]) -> Iterator[str]:
    """Yields a line for each link to a directory, or one for many."""
    if not links:
        return
    from shlex import quote

    if len(links) <= _MOST_NAMED:
        for link in links:
            path, goal = shown(link.path), shown(link.leads_to)
            yield (
                f"{path} is a link to {goal}; its sources aren't compiled through it; "
                f"compile where they are: pyctrigger run --site-dir {quote(goal)}"
            )
        return
    yield (
        f"{_name_few(links)} (--json has all) are links; nothing is compiled through them; compile where the sources "
        f"are, as with pyctrigger run --site-dir {quote(links[0].leads_to)}"
    )


def _name_few(found: Sequence[Failure | Link]) -> str:
    return name_few([shown(each.path) for each in found], _MOST_NAMED)
