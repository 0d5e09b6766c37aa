"""The record of a run: what was asked, what came of it, and how much of that fits into a line."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import InterpreterError, PyctriggerError, UsageError
from pyctrigger.outcome.outcome import Failure
from pyctrigger.outcome.report import FlavourReport, Report
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.recording import Recording, first_that_fit
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Transaction, Work
from pyctrigger.state.history import History, PastFlavour, PastRun, birth_of
from pyctrigger.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1024


def recorded(top: Path, request: Request, report: Report | None = None) -> PastRun:
    """What the history has of a run."""
    notices: list[str] = []
    recording = Recording(request, Store(str(top / "state"), notices.append), 5.0, notices.append)
    recording.begin()
    if report is not None:
        recording.end(report)
    (run,) = History(str(top / "state")).runs()
    assert [] == notices
    return run


#: A request, and what of it is recorded.
ASKED: list[tuple[Request, dict[str, Any]]] = [
    (Request(Work.RUN), {"command": "run", "options": {}, "paths": None, "path_count": 0, "hook": False}),
    (
        Request(Work.RUN, transaction=Transaction(("/a", "", "/b"), "upgrade", "dpkg"), running=Running(hook=True)),
        {
            "event": "upgrade",
            "manager": "dpkg",
            "hook": True,
            "paths": ("/a", "/b"),
            "path_count": 2,
            "options": {},
        },
    ),
    (Request(Work.RUN, transaction=Transaction(())), {"paths": (), "path_count": 0}),
    (
        Request(
            Work.REPAIR,
            Scope(("3.11",), stdlib=True),
            Bytecode((0, 2), InvalidationMode.CHECKED_HASH),
            running=Running(state_dir="/s", jobs=3),
        ),
        {
            "command": "repair",
            "options": {
                "pythons": ["3.11"],
                "stdlib": True,
                "optimize": [0, 2],
                "invalidation_mode": "checked-hash",
                "jobs": 3,
            },
        },
    ),
    (
        Request(Work.RUN, transaction=Transaction(("/" + "x" * 4095, "/" + "y" * 4095, "/z"))),
        {"paths": ("/" + "x" * 4095, "/" + "y" * 4095), "path_count": 3},
    ),
]


@pytest.mark.parametrize(("request_", "expected"), ASKED)
def test_what_was_asked_for(tmp_path: Path, request_: Request, expected: dict[str, Any]) -> None:
    """Paths without the empty one, up to eight kibibytes; other options where they aren't the defaults."""
    run = recorded(tmp_path, request_)
    assert expected == {name: getattr(run, name) for name in expected}
    assert (5.0, None, os.getpid(), birth_of(os.getpid())) == (run.began, run.ended, run.pid, run.birth)


def reported(*runs: FlavourReport, errors: tuple[PyctriggerError, ...] = ()) -> Report:
    """A report with these parts."""
    report = Report("run")
    report.runs += runs
    report.errors += errors
    return report


def flavour(*failures: Failure, **fields: Any) -> FlavourReport:
    """One flavour's part."""
    run = FlavourReport("py311", "i", None, fields.pop("prefix", None))
    for failure in failures:
        run.tally.fail(failure)
    vars(run).update(fields)
    return run


def io(path: str, message: str = "m", *, needs_root: bool = False) -> Failure:
    """A failure of one file."""
    return Failure(path, "io", message, needs_root=needs_root)


NOTHING = PastFlavour("py311", "i", {}, (), 0, 0, 0.0)
ONE = NOTHING._replace(counts={"failed": 1}, failures=(("/a", "io", "m"),), failure_count=1, exit_code=1)
LONG = "/" + "x" * (8 * KIB - 2)
#: A flavour's part of a report, and of the record.
DONE: dict[str, tuple[FlavourReport, PastFlavour]] = {
    "nothing": (flavour(), NOTHING),
    "an environment": (flavour(prefix="/e"), NOTHING._replace(prefix="/e")),
    "rounded": (flavour(elapsed_seconds=1.23456), NOTHING._replace(elapsed_seconds=1.235)),
    "deferred": (flavour(deferred=True, taken_over=3), NOTHING._replace(deferred=True, taken_over=3)),
    "a failure": (flavour(io("/a")), ONE),
    "denied": (flavour(io("/a", needs_root=True)), ONE._replace(is_denied=True)),
    "denied, and ended": (
        flavour(io("/a", needs_root=True), error=InterpreterError("x")),
        ONE._replace(exit_code=InterpreterError("x").exit_code),
    ),
    "partly denied": (
        flavour(io("/a"), io("/b", needs_root=True)),
        ONE._replace(counts={"failed": 2}, failures=(("/a", "io", "m"), ("/b", "io", "m")), failure_count=2),
    ),
    "a long message": (
        flavour(io("/a", "y" * 501 + "\n")),
        ONE._replace(failures=(("/a", "io", "y" * 500),)),
    ),
    "more than fits": (
        flavour(io(LONG), io(LONG), io("/a")),
        ONE._replace(counts={"failed": 3}, failures=((LONG, "io", "m"),) * 2, failure_count=3),
    ),
}


@pytest.mark.parametrize("case", DONE)
def test_what_came_of_it(tmp_path: Path, case: str) -> None:
    """By flavour, cut to size; the numbers count all."""
    run, expected = DONE[case]
    start = time.time()
    past = recorded(tmp_path, Request(Work.RUN), reported(run))
    assert (expected,) == past.flavours
    assert past.ended is not None
    assert start <= past.ended <= time.time()


def test_what_couldnt_be_examined_is_a_failure_of_the_record(tmp_path: Path) -> None:
    """Beside those of files."""
    run = flavour(io("/a"))
    run.tally.unexamined.append(io("/b"))
    (past,) = recorded(tmp_path, Request(Work.RUN), reported(run)).flavours
    assert (2, 3, ["/a", "/b"]) == (past.failure_count, past.exit_code, [path for path, *_ in past.failures])
    run.tally.counts.failed = 7
    (past,) = recorded(tmp_path / "other", Request(Work.RUN), reported(run)).flavours
    assert 7 == past.failure_count


def test_flavours_share_the_room(tmp_path: Path) -> None:
    """Each has its part."""
    first, second = flavour(io(LONG), io("/a")), flavour(io("/b"))
    past = recorded(tmp_path, Request(Work.RUN), reported(first, second)).flavours
    assert [[LONG], ["/b"]] == [[path for path, *_ in each.failures] for each in past]


def test_errors_that_ended_it(tmp_path: Path) -> None:
    """With their exit codes, as many as fit."""
    errors = (UsageError("a" * 600), *(InterpreterError(f"{number}" * 500) for number in range(9)))
    past = recorded(tmp_path, Request(Work.RUN), reported(errors=errors))
    codes = [UsageError("").exit_code] + [InterpreterError("").exit_code] * 7
    assert codes == [code for code, _ in past.errors]
    assert ["a" * 500, *(f"{number}" * 500 for number in range(7))] == [text for _, text in past.errors]
    assert max(codes) == past.exit_code


def test_a_history_that_cant_be_kept(tmp_path: Path) -> None:
    """Is said once; without state there is none."""
    notices: list[str] = []
    (tmp_path / "state/history.sqlite").mkdir(parents=True)
    for base in (None, str(tmp_path / "state")):
        recording = Recording(Request(Work.RUN), Store(base, notices.append), 5.0, notices.append)
        recording.begin()
        recording.end(reported())
    assert [f"the history isn't kept: {tmp_path}/state: Is a directory"] == notices


@pytest.mark.parametrize(("room", "expected"), [(0, []), (1, ["a"]), (3, ["a", "bb"]), (5, ["a", "bb"]), (6, None)])
def test_as_many_as_fit(room: int, expected: list[str] | None) -> None:
    """The first ones, and no smaller one after them."""
    assert (expected if expected is not None else ["a", "bb", "ccc"]) == first_that_fit(["a", "bb", "ccc"], room, len)
