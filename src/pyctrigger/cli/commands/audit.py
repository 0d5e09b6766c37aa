"""`audit`: the bytecode inside packages that aren't installed, and which of them need a rebuild."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...inspect.audit.archive_report import ArchiveReport, hints_for
from ...inspect.audit.judgement import REASONS
from ...outcome.observer import Observer
from ...run.scope.settings import BOOLEAN, SECONDS, SIZES, TEXT, TEXTS, Setting, one_of
from ..output.text import counted, flush_output, joined_hints, say, seconds, shown
from . import Call, Verb

if TYPE_CHECKING:
    from types import SimpleNamespace

    from ...inspect.audit.audit import AuditReport


def _audit_archives(call: Call, observer: Observer) -> AuditReport:
    """Audit, and print the result of each archive in order. Raises UsageError and what `audit` raises."""
    from ...inspect.audit.audit import AuditRequest, audit, require_paths
    from ...inspect.audit.budget import ArchiveLimits

    options = call.options
    require_paths(tuple(options.paths))
    limits = ArchiveLimits(size=options.max_size, timeout=options.timeout)
    request = AuditRequest(
        tuple(options.paths),
        options.python,
        options.config,
        options.jobs,
        limits,
        keep=options.json,
        scheduler=options.scheduler,
    )

    failures: list[dict[str, str]] = []

    def show(archive: ArchiveReport) -> None:
        if archive.failure is not None:
            failures.append(archive.failure)
        if archive.failure is not None or sys.stdout.isatty():
            observer.finished()  # erase the progress before other output on the same terminal
        _show_archive(archive, options)

    if options.format == "csv":
        say(sys.stdout, _csv_line(_COLUMNS))
    report = audit(request, observer, show)
    if not (options.json or options.needs_rebuild or options.quiet or options.format in ("jsonl", "csv")):
        for line in _summary_lines(report):
            say(sys.stdout, line)
        for hint in joined_hints(hints_for(failures)):
            say(sys.stderr, f"hint: {hint}")
    return report


def _show_archive(archive: ArchiveReport, options: SimpleNamespace) -> None:
    if options.json:
        return
    if options.needs_rebuild and options.null:
        if archive.needs_rebuild:
            _print_name(archive.path)
    else:
        for line in _archive_lines(archive, options):
            say(sys.stdout, line)
    if archive.failure is not None:
        say(sys.stderr, _failure_line(archive.path, archive.failure))


def _summary_lines(report: AuditReport) -> list[str]:
    sums = report.summary
    lines = [
        f"{each['number']} ({each['release']}): "
        f"{counted(each['pycs'], 'pyc')} in {counted(each['archives'], 'archive')}"
        for each in sums["magic_numbers"]
    ]
    parts = [f"{counted(sums['archives'], 'archive')}, {sums['with_bytecode']} with bytecode"]
    if report.interpreter is not None:
        parts.append(f"{sums['needs_rebuild']} to rebuild for {report.interpreter.flavour}")
    parts += _describe_counts(sums["counts"])
    if sums["failed"]:
        parts.append(f"{sums['failed']} not examined")
    return [*lines, f"{', '.join(parts)} in {seconds(report.elapsed_seconds)}"]


def _describe_counts(counts: Mapping[str, int]) -> list[str]:
    return [f"{counts[kind]} {kind}" for kind in _KINDS if counts[kind]]


_KINDS = ("stale", "orphan", "mismatched", "corrupt", "climbing")
_COLUMNS = ("path", "format", "magic_numbers", "releases", "pycs", *_KINDS, "needs_rebuild", "failure")


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
        *(archive.counts[kind] for kind in ("pycs", *_KINDS)),
        "yes" if archive.needs_rebuild else "no",
        shown(f"{failure['kind']}: {failure['message']}") if failure else "",
    ]


def _archive_lines(archive: ArchiveReport, options: SimpleNamespace) -> list[str]:
    """Returns what is printed about an archive: with `-v` each finding, with `-q` nothing without findings."""
    if options.needs_rebuild:
        return [shown(archive.path)] if archive.needs_rebuild else []
    if options.format == "jsonl":
        import json

        return [json.dumps({"schema": 1, **archive.as_dict()})]
    if options.format == "csv":
        return [_csv_line(_csv_row(archive))]
    if not (archive.found or (archive.bytecode and not options.quiet)):
        return []
    held = ", ".join(
        f"{counted(each['pycs'], 'pyc')} for {each['number']} ({each['release']})" for each in archive.bytecode
    )
    found = ", ".join(_describe_counts(archive.counts))
    lines = [f"{shown(archive.path)}: {archive.format}: {held or 'no bytecode'}" + (f": {found}" if found else "")]
    if options.verbose:
        lines += [
            f"  {kind}: {shown(pyc or member or '')}: {REASONS[kind or ''][reason or '']}"
            for kind, reason, pyc, _, member in archive.findings
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


VERB = Verb(
    "find stale bytecode in packages that aren't installed",
    _audit_archives,
    doing="examining",
    options=(
        Setting(
            "paths",
            TEXTS,
            "a package, an archive, or a directory tree of them",
            value="ARCHIVE|DIR|URL",
            flags=("paths",),
        ),
        Setting("python", TEXT, "compare with this Python: 3.11, 3.13t, pypy3.11, py311 or a path", value="V"),
        Setting("scheduler", TEXT, "let the nodes of a Dask cluster examine the URLs", value="ADDRESS", once=True),
        Setting("needs_rebuild", BOOLEAN, "print only the names of archives with stale bytecode"),
        Setting("null", BOOLEAN, "separate the names by NUL"),
        Setting("format", one_of("text", "jsonl", "csv"), "text, csv, or jsonl: a JSON object for each archive"),
        Setting("timeout", SECONDS, "how long one archive may take; 0: no limit (default: 300)", default=300.0),
        Setting("max_size", SIZES, "how much one archive may expand to (default: 16GiB)", default=16 << 30),
    ),
    needs={"needs_rebuild": "python", "config": "python", "null": "needs_rebuild"},
    excludes={"json": ("needs_rebuild", "format"), "needs_rebuild": ("format",)},
    paths="",
    defaults={"jobs": 0},  # no run's
)
