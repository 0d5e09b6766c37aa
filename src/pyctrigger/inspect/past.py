"""Reads the history: the newest runs, or those that were asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..errors import RightsError, UsageError
from ..outcome.outcome import path_fields
from ..outcome.report import Report, as_printable
from ..run.scope.request import Request, Running, Scope, Work
from ..run.scope.stored import open_known
from ..state.history import FORMER_NAMES, History, PastRun

_LAST = "last"


class HistoryReport(Report):
    """The answer to `history`."""

    def __init__(self, *, is_list: bool) -> None:
        super().__init__("history")
        self.is_list = is_list
        self.past: list[PastRun] = []
        #: What to say instead of an empty list.
        self.why_empty = "no run is recorded"

    @property
    def has_answer(self) -> bool:
        return bool(self.past) or not self.errors

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "history": [_fields(run) for run in self.past]}


def read_history(
    root: str | None, state_dir: str | None, wanted: Sequence[str], *, limit: int, failed: bool
) -> HistoryReport:
    """Returns the runs with the numbers `wanted`, else the newest, at most `limit` (0: all).

    Raises UsageError and RefusedError.
    """
    require_readable(state_dir)
    base = open_known(Request(Work.EXPLAIN, Scope(root=root), running=Running(state_dir=state_dir)))[0].base
    report = HistoryReport(is_list=not wanted)
    runs = History(base).runs(report.notices.append) if base is not None else []
    is_unread = bool(report.notices)
    former = [path for name in FORMER_NAMES if base and os.path.lexists(path := os.path.join(base, name))]
    if former:
        report.notices.append(f"what release 0.1.0 recorded isn't shown; it is in {' and '.join(former)}")
    if not wanted:
        found = [run for run in reversed(runs) if not failed or run.outcome in ("failed", "error", "interrupted")]
        report.past = found[: limit or None]
        if runs:
            report.why_empty = "no recorded run failed"
        elif is_unread:
            report.why_empty = ""  # the notice says so
        return report
    for text in wanted:
        number = runs[-1].number if text == _LAST and runs else int(text) if text.isdigit() and len(text) < 16 else -1
        run = next((run for run in runs if run.number == number), None)
        if run is not None:
            report.past += [] if run in report.past else [run]
            continue
        known = f"it has runs {runs[0].number} to {runs[-1].number}" if runs else "none is recorded"
        report.errors.append(UsageError(f"no run {text or repr(text)} in the history", hint=known))
    return report


def require_readable(state_dir: str | None) -> None:
    """Raise RightsError or UsageError for state that was named, is there, and can't be read: that isn't none."""
    if state_dir is None:
        return
    try:
        os.scandir(state_dir).close()
    except FileNotFoundError:
        pass
    except PermissionError as error:
        raise RightsError(f"--state-dir {state_dir}: {error.strerror}") from error
    except OSError as error:
        raise UsageError(f"--state-dir {state_dir}: {error.strerror}", hint="name a directory") from error


def _fields(run: PastRun) -> dict[str, Any]:
    """Returns a run for JSON: paths that aren't text have their bytes beside them."""
    fields = run._asdict()
    del fields["birth"]
    fields["outcome"] = run.outcome
    fields["paths"] = None if run.paths is None else [path_fields("path", path) for path in run.paths]
    fields["errors"] = [{"code": code, "message": message} for code, message in run.errors]
    fields["flavours"] = [
        {
            **each._asdict(),
            **path_fields("prefix", each.prefix),
            "failures": [
                {**path_fields("path", path), "kind": kind, "message": message} for path, kind, message in each.failures
            ],
        }
        for each in run.flavours
    ]
    printable: dict[str, Any] = as_printable(fields)
    return printable
