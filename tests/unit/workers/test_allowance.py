"""What one worker may use, and what the slow sources of a run may take together."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.workers import allowance as allowances
from pyctrigger.workers.allowance import Allowance, Limits, is_memory_ours

if TYPE_CHECKING:
    from pathlib import Path

NONE = resource.RLIM_INFINITY


def spent(timeout: float, *seconds: float) -> Allowance:
    """The allowance of a run in which sources took so long."""
    allowance = Allowance(Limits(file_timeout=timeout))
    for each in seconds:
        allowance.spend(each)
    return allowance


#: The limit of one source, what sources took, the limit of those that follow, and whether nothing more is tried.
TAKEN = [
    (60, [], 60, False),
    (60, [5.9] * 1000, 60, False),  # less than a tenth isn't slow
    (60, [60] * 4, 60, False),
    (60, [60] * 5, 1, False),
    (60, [299], 60, False),
    (60, [300], 1, False),
    (60, [6] * 49, 60, False),
    (60, [6] * 50, 1, False),
    (60, [300, 0.89], 1, False),  # with the short limit, less than nine tenths of it isn't slow
    (60, [300, *[1] * 59], 1, False),
    (60, [300, *[1] * 60], 1, True),
    (60, [300, *[0.89] * 1000], 1, False),
    (600, [600] * 5, 10, False),
    (600, [600] * 5 + [10] * 60, 10, True),
    (2, [2] * 5, 1, False),
    (0.5, [0.5] * 5, 0.5, False),  # never more than the whole
    (0.5, [0.5] * 6, 0.5, True),
    (0, [1000] * 1000, 0, False),  # without a limit nothing is slow
]


@pytest.mark.parametrize(("timeout", "seconds", "then", "is_used_up"), TAKEN)
def test_slow_sources_leave_less_to_the_others(
    timeout: float, seconds: list[float], then: float, is_used_up: bool
) -> None:
    """Five whole limits, then one more in short ones, then nothing."""
    allowance = spent(timeout, *seconds)
    assert (then, is_used_up) == (allowance.limits.file_timeout, allowance.is_used_up)


def test_the_moment_of_the_change_is_told_once() -> None:
    """So that running workers get their new limit."""
    allowance = spent(60)
    assert [False] * 4 + [True] + [False] * 70 == [allowance.spend(60) for _ in range(75)]


def test_what_is_not_slow_changes_nothing() -> None:
    """However often."""
    allowance = spent(60, 299)
    assert [False] * 3 == [allowance.spend(seconds) for seconds in (0.0, 1.0, 5.9)]
    assert allowance.spend(6) is True


def test_nothing_else_changes() -> None:
    """Memory and start are what they were."""
    assert Limits(1.0, 7, 8.0) == _with(Limits(60.0, 7, 8.0)).limits


def _with(limits: Limits) -> Allowance:
    allowance = Allowance(limits)
    allowance.spend(300)
    return allowance


@pytest.mark.parametrize(
    ("file_timeout", "wall"), [(60.0, 600.0), (1.0, 60.0), (6.0, 60.0), (6.5, 65.0), (0.0, 3600.0), (7200.0, 72_000.0)]
)
def test_a_source_is_waited_for_ten_times_its_cpu_time(file_timeout: float, wall: float) -> None:
    """At least a minute: sources wait for their turn before one worker; an hour where there is no limit."""
    assert wall == Limits(file_timeout=file_timeout).wall_timeout


def test_limits_of_the_contract() -> None:
    """A minute of CPU, two gigabytes, half a minute to start."""
    assert (60.0, 2 << 30, 30.0) == Limits()


#: What a caller left, by limit (soft, hard), and whether a MemoryError is ours then.
LEFT = [
    ({}, True),
    ({"RLIMIT_AS": (1 << 40, 1 << 40)}, True),
    ({"RLIMIT_AS": (1 << 20, NONE)}, True),  # a worker raises it to what is left
    ({"RLIMIT_AS": (2 << 30, 2 << 30)}, True),
    ({"RLIMIT_AS": (1 << 20, (2 << 30) - 1)}, False),
    ({"RLIMIT_DATA": (2 << 30, NONE)}, True),
    ({"RLIMIT_DATA": ((2 << 30) - 1, NONE)}, False),
    ({"RLIMIT_STACK": (8 << 20, NONE)}, True),
    ({"RLIMIT_STACK": ((8 << 20) - 1, NONE)}, False),
]


@pytest.mark.parametrize(("left", "expected"), LEFT)
def test_memory_is_ours_unless_a_caller_left_less(
    monkeypatch: pytest.MonkeyPatch, left: dict[str, tuple[int, int]], expected: bool
) -> None:
    """`ulimit -v` by its hard limit, since a worker raises its own; -d and -s by the soft ones."""
    given = {getattr(resource, name): pair for name, pair in left.items()}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: given.get(kind, (NONE, NONE)))
    assert expected is is_memory_ours(Limits(memory=2 << 30))


@pytest.mark.parametrize(("text", "expected"), [("0\n", True), ("1\n", True), ("2\n", False), (None, True)])
def test_memory_is_everybodys_without_overcommitment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None, expected: bool
) -> None:
    """Then other processes count as well; a system that isn't Linux has no such setting."""
    if text is not None:
        write_tree(tmp_path, {"proc/sys/vm/overcommit_memory": text})
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (NONE, NONE))
    monkeypatch.setattr(allowances, "open", lambda path, mode: (tmp_path / path.lstrip("/")).open(mode), raising=False)
    assert expected is is_memory_ours(Limits())


def test_limits_that_can_not_be_read_may_be_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a lack of memory isn't known to be ours."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: os.kill(1 << 30, 0))
    assert is_memory_ours(Limits()) is False


def test_memory_without_a_limit_is_never_ours() -> None:
    """Then it is the machine's."""
    assert is_memory_ours(Limits(memory=0)) is False
