"""`audit`: the bytecode inside packages that aren't installed, and which of them need a rebuild."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ...errors import UsageError
from ...inspect.audit.report import ArchiveReport, AuditReport
from ...outcome.observer import Observer
from ...run.scope.settings import BOOLEAN, SECONDS, SIZES, TEXT, TEXTS, Setting, one_of
from ..output.text import flush_output, say, seconds, shown
from . import Call, Verb

if TYPE_CHECKING:
    from argparse import Namespace


def _audit(call: Call, observer: Observer) -> AuditReport:
    """Audit, and print the result of each archive in order. Raises UsageError and what `audit` raises."""
    from ...inspect.audit.audit import AuditRequest, audit, require_paths
    from ...inspect.audit.limits import ArchiveLimits

    options = call.options
    _check_options(options)
    require_paths(tuple(options.paths))
    limits = ArchiveLimits(size=options.max_size, timeout=options.timeout)
    request = AuditRequest(
        tuple(options.paths), options.python, options.config, options.jobs, limits, keep=options.json
    )
    teller = _Teller(options)
    try:
        report = audit(request, teller)
    finally:
        teller.finish()
    if not (options.json or options.needs_rebuild or options.quiet or options.format in ("jsonl", "csv")):
        for line in _summary_lines(report):
            say(sys.stdout, line)
    return report


def _summary_lines(report: AuditReport) -> list[str]:
    sums = report.summary
    lines = [
        f"{each['number']} ({each['release']}): {_count(each['pycs'], 'pyc')} in {_count(each['archives'], 'archive')}"
        for each in sums["magic_numbers"]
    ]
    parts = [f"{_count(sums['archives'], 'archive')}, {sums['with_bytecode']} with bytecode"]
    if report.interpreter is not None:
        parts.append(f"{sums['needs_rebuild']} to rebuild for {report.interpreter.flavour}")
    parts += [
        f"{sums['counts'][kind]} {kind}" for kind in sums["counts"] if kind in _WORTH_A_WORD and sums["counts"][kind]
    ]
    if sums["failed"]:
        parts.append(f"{sums['failed']} not examined")
    return [*lines, f"{', '.join(parts)} in {seconds(report.elapsed_seconds)}"]


_WORTH_A_WORD = ("stale", "orphan", "mismatched", "corrupt", "climbing")


class _Teller:
    """Prints results archive by archive, with a progress bar on a terminal."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._bar: Any = None
        if not (options.no_progress or options.json or options.quiet):
            from ..output.progress import show_progress

            self._bar = show_progress("examining", color=options.color)
        if options.format == "csv":
            say(sys.stdout, _csv_line(_COLUMNS))

    def examined(self, archive: ArchiveReport) -> None:
        options = self._options
        if options.json:
            return
        if options.needs_rebuild and options.null:
            if archive.needs_rebuild:
                _print_name(archive.path)
        else:
            for line in self._lines(archive):
                self._say(sys.stdout, line)
        if archive.failure is not None:
            self._say(sys.stderr, _failure_line(archive.path, archive.failure))

    def _lines(self, archive: ArchiveReport) -> list[str]:
        options = self._options
        if options.needs_rebuild:
            return [shown(archive.path)] if archive.needs_rebuild else []
        if options.format == "jsonl":
            import json

            return [json.dumps({"schema": 1, **archive.as_dict()})]
        if options.format == "csv":
            return [_csv_line(_csv_row(archive))]
        if archive.bytecode or archive.found:
            return _archive_lines(archive, every=options.verbose > 0, quiet=options.quiet)
        return []

    def _say(self, stream: TextIO, line: str) -> None:
        if self._bar is not None and stream.isatty():
            self._bar.clear()
        say(stream, line)

    def progress(self, done: int, known: int) -> None:
        if self._bar is not None:
            self._bar.update(done, known)

    def finish(self) -> None:
        """Clear the progress bar."""
        if self._bar is not None:
            self._bar.clear()


_COLUMNS = (
    *("path", "format", "magic_numbers", "releases", "pycs", "stale", "orphan", "mismatched", "corrupt", "climbing"),
    *("needs_rebuild", "failure"),
)


def _csv_line(row: Sequence[Any]) -> str:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def _csv_row(archive: ArchiveReport) -> list[Any]:
    failure = archive.failure
    return [
        shown(archive.path),
        archive.format or "",
        " ".join(str(each["number"]) for each in archive.bytecode),
        "; ".join(each["release"] for each in archive.bytecode),
        *(archive.counts[kind] for kind in ("pycs", *_WORTH_A_WORD)),
        "yes" if archive.needs_rebuild else "no",
        shown(f"{failure['kind']}: {failure['message']}") if failure else "",
    ]


def _archive_lines(archive: ArchiveReport, *, every: bool, quiet: bool) -> list[str]:
    """Returns a line for the archive, with `every` one for each finding; with `quiet` only if there are findings."""
    if quiet and not archive.found:
        return []
    held = ", ".join(
        f"{_count(each['pycs'], 'pyc')} for {each['number']} ({each['release']})" for each in archive.bytecode
    )
    found = ", ".join(f"{archive.counts[kind]} {kind}" for kind in _WORTH_A_WORD if archive.counts[kind])
    lines = [f"{shown(archive.path)}: {archive.format}: {held or 'no bytecode'}" + (f": {found}" if found else "")]
    if every:
        lines += [
            f"  {kind} ({reason}): {shown(pyc or member or '')}" for kind, reason, pyc, _, member in archive.findings
        ]
        if archive.found > len(archive.findings):
            lines.append(f"  and {archive.found - len(archive.findings)} more")
    return lines


def _failure_line(path: str, failure: dict[str, str]) -> str:
    hint = f"; {failure['mend']}" if "mend" in failure else ""
    return f"{shown(path)}: {failure['kind']}: {shown(failure['message'])}{hint}"


def _print_name(path: str) -> None:
    """Print a name byte by byte, for programs."""
    try:
        sys.stdout.buffer.write(os.fsencode(path) + b"\0")
    except OSError:
        flush_output()  # handles a closed pipe


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _check_options(options: Namespace) -> None:
    if options.needs_rebuild and options.python is None:
        raise UsageError("--needs-rebuild goes with --python", hint="name the interpreter to compare with")
    if options.config is not None and options.python is None:
        raise UsageError("--config goes with --python", hint="name the interpreter to compare with, or leave it out")
    if options.null and not options.needs_rebuild:
        raise UsageError("--null goes with --needs-rebuild", hint="leave it out")
    chosen = [f"--{name}" for name in ("json", "needs_rebuild", "format") if getattr(options, name)]
    if len(chosen) > 1:
        first, second = (name.replace("_", "-") for name in chosen[:2])
        raise UsageError(f"{first} and {second} don't go together", hint="choose one")


VERB = Verb(
    "find stale bytecode in packages that aren't installed",
    _audit,
    options=(
        Setting(
            "paths", TEXTS, "a package, an archive, or a directory tree of them", value="ARCHIVE|DIR", flags=("paths",)
        ),
        Setting("python", TEXT, "compare with this Python: 3.11, 3.13t, pypy3.11, py311 or a path", value="V"),
        Setting("needs_rebuild", BOOLEAN, "print only the names of archives with stale bytecode"),
        Setting("null", BOOLEAN, "separate the names by NUL"),
        Setting(
            "format",
            one_of("text", "jsonl", "csv"),
            "how to print: text, csv, or jsonl (a JSON object for each archive)",
        ),
        Setting(
            "timeout",
            SECONDS,
            "how long one archive may take; 0: no limit (default: 300)",
            group="limits",
            default=300.0,
        ),
        Setting(
            "max_size", SIZES, "how much one archive may expand to (default: 16GiB)", group="limits", default=16 << 30
        ),
    ),
    paths="",
    defaults={"jobs": 0},  # no run's
)
