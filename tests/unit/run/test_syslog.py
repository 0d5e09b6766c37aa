"""The line in the system's log: what it names, how long it may be, and that nobody waits for it."""

from __future__ import annotations

import syslog
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure
from pyctrigger.outcome.report import FlavourReport, Report
from pyctrigger.run import syslog as module
from pyctrigger.run.scope.request import Request, Running, Transaction, Work
from pyctrigger.run.syslog import logged

if TYPE_CHECKING:
    from pyctrigger.run.operation import Operation

HOOK = Request(Work.RUN, transaction=Transaction((), "upgrade", "dpkg"), running=Running(hook=True))
RUN = Request(Work.RUN)


class Heard(Observer):
    """Keeps notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


class Call:
    """A call that is logged, with its request, its report and its observer."""

    def __init__(self, request: Request = RUN) -> None:
        self.request, self.report, self.heard = request, Report("run"), Heard()
        self.observer: Observer = self.heard

    def flavour(self, *failures: Failure, seconds: float = 0.5, **counts: int) -> FlavourReport:
        """Add a flavour's part to the report."""
        run = FlavourReport("py311", "i", None)
        run.elapsed_seconds = seconds
        run.tally.failures += failures
        for name, count in counts.items():
            setattr(run.tally.counts, name, count)
        self.report.runs.append(run)
        return run

    def log(self, *notices: str, error: BaseException | None = None) -> None:
        """Let it end."""
        with logged(cast("Operation", self)):
            for notice in notices:
                self.observer.notice(notice)
            if error is not None:
                raise error


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What syslog(3) got."""
    found: list[Any] = []
    monkeypatch.setattr(syslog, "openlog", lambda *values: found.append(values))
    monkeypatch.setattr(syslog, "syslog", lambda *values: found.append(values))
    monkeypatch.setattr(syslog, "closelog", lambda: found.append("closed"))
    return found


OPENED = ("pyctrigger", syslog.LOG_PID, syslog.LOG_DAEMON)


@pytest.mark.parametrize(("request_", "expected"), [(RUN, "run: "), (HOOK, "run --hook dpkg upgrade: ")])
def test_a_line_begins_with_what_was_asked_for(lines: list[Any], request_: Request, expected: str) -> None:
    """And says that nothing was to be done."""
    Call(request_).log()
    assert [OPENED, (syslog.LOG_INFO, f"{expected}nothing to do"), "closed"] == lines


def test_a_line_has_numbers_reasons_and_notices(lines: list[Any]) -> None:
    """In this order, and each notice once; it is passed on, too."""
    call = Call()
    call.flavour(seconds=1.234)
    run = call.flavour(Failure("/a\nb", "io", "full"), compiled=3, removed_directories=1)
    run.tally.unexamined.append(Failure("/c", "refused", "closed"))
    run.tally.notices += ["two", "three"]
    call.report.notices += ["one", "two"]
    call.log("zero", "one")
    (_, (priority, line), _) = lines
    pieces = [
        "run: py311: nothing to do in 1.23 s",
        "py311: 3 compiled, 1 removed directories in 0.50 s",
        r"/a\nb: io: full",
        "/c: refused: closed",
        *("zero", "one", "two", "three"),
    ]
    assert (syslog.LOG_WARNING, "; ".join(pieces), ["zero", "one"]) == (priority, line, call.heard.notices)


def test_errors_of_single_flavours_are_errors(lines: list[Any]) -> None:
    """After the numbers."""
    call = Call()
    call.flavour(fresh=2)
    call.report.errors.append(UsageError("broken"))
    call.log()
    assert (syslog.LOG_ERR, "run: py311: 2 fresh in 0.50 s; error: broken") == lines[1]


@pytest.mark.parametrize(
    ("error", "reason"), [(UsageError("broken"), "broken"), (KeyboardInterrupt(), "ended by KeyboardInterrupt")]
)
def test_a_call_that_ends_in_an_exception(lines: list[Any], error: BaseException, reason: str) -> None:
    """It is raised all the same."""
    call = Call()
    call.report.notices.append("two")
    with pytest.raises(type(error)):
        call.log("one", error=error)
    assert [OPENED, (syslog.LOG_ERR, f"run: error: {reason}; one; two"), "closed"] == lines


#: Notices, and the line's end.
LENGTHS: list[tuple[list[str], str]] = [
    (["x" * 600], "x" * 600),
    (["x" * 300 + "y" + "z" * 300], "x" * 300 + "[...]" + "z" * 300),
    (["é" * 301], "é" * 150 + "[...]" + "é" * 150),
    (["x" + "é" * 300], "x" + "é" * 149 + "[...]" + "é" * 150),
    (["a" * 599, "b" * 599, "c" * 599, "d" * 90], "; ".join(["a" * 599, "b" * 599, "c" * 599, "d" * 90])),
    (["a" * 599, "b" * 599, "c" * 599, "d" * 91], "; ".join(["a" * 599, "b" * 599, "c" * 599, "and 1 more"])),
    (
        ["a" * 599, "b" * 599, "é" * 299, "e" * 200, "f"],
        "; ".join(["a" * 599, "b" * 599, "é" * 299, "and 2 more"]),
    ),
    (["a\x00b\x1b\udcff"], r"a\x00b\x1b\xff"),
]


@pytest.mark.parametrize(("notices", "expected"), LENGTHS, ids=[str(row) for row in range(len(LENGTHS))])
def test_a_line_has_at_most_what_a_receiver_takes(lines: list[Any], notices: list[str], expected: str) -> None:
    """As many whole pieces as fit, of a long one both ends, and no control characters."""
    Call().log(*notices)
    assert f"run: {expected}" == lines[1][1]


def test_a_daemon_that_takes_nothing_isnt_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said."""
    ended, are_waited_for = threading.Event(), list[bool]()

    def take_nothing(*_: object) -> None:
        are_waited_for.append(not threading.current_thread().daemon)
        ended.wait(30)

    monkeypatch.setattr(syslog, "syslog", take_nothing)
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    call = Call()
    call.log()
    ended.set()
    reason = "the system's log accepted nothing within 0.05 s; check that its daemon runs, or set log to none"
    assert ([reason], [False]) == (call.report.notices, are_waited_for)


def test_other_events_go_to_the_observer(lines: list[Any]) -> None:
    """As they are."""
    call = Call()
    observer = call.observer
    with logged(cast("Operation", call)):
        assert observer.compiled == call.observer.compiled
        assert call.observer is not observer
