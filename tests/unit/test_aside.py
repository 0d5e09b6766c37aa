"""A question that another process answers."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any, Callable

import pytest

from pyctrigger import aside as module
from pyctrigger.aside import Aside


def _raise() -> None:
    raise ValueError("in the other process")


def _interrupted() -> None:
    raise KeyboardInterrupt


#: What is asked, and the answer.
ANSWERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "a value": (lambda: [["", "p", "\udcff"], []], [["", "p", "\udcff"], []]),
    "more than a pipe holds": (lambda: ["x" * 100] * 10_000, ["x" * 100] * 10_000),
    "another process": (os.getppid, os.getpid()),
    "an error": (_raise, None),
    "Ctrl-C": (_interrupted, None),
    "what JSON hasn't": (lambda: [1, {2}], None),
    "its death": (lambda: os.kill(os.getpid(), signal.SIGKILL), None),
    "more than is believed": (lambda: "x" * (16 << 20), None),
    "its exit": (lambda: os._exit(0), None),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_it_answers_or_it_does_not(case: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In silence; and nothing is left of it."""
    ask, expected = ANSWERS[case]
    before = os.listdir("/proc/self/fd")
    asked = Aside(ask)
    assert expected == asked.answer()
    assert len(before) == len(os.listdir("/proc/self/fd"))
    with pytest.raises(ChildProcessError):
        os.waitpid(asked._child, os.WNOHANG)
    assert ("", "") == capfd.readouterr()


def test_children_that_nobody_waits_for() -> None:
    """A caller may ignore SIGCHLD."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert [1] == Aside(lambda: [1]).answer()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_no_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no descriptor stays open."""

    def fork() -> int:
        raise OSError(errno.EAGAIN, "no more")

    monkeypatch.setattr(module, "fork", fork)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="no more"):
        Aside(lambda: 1)
    assert len(before) == len(os.listdir("/proc/self/fd"))
