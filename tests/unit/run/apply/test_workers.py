"""Workers of one owner at a time, within the limits of the configuration and the call."""

from __future__ import annotations

import os
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest

from processes import children_of
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.apply import workers as module
from pyctrigger.run.apply.workers import Workers
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Running
from pyctrigger.workers.pool import UNTRIED
from scripted_workers import COMPILES, TELLS_ARGUMENTS, TELLS_PID, bodies, job, scripted
from unit.run.plan.trees import wanted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the accounts of workers are leased, instead of the system's directory."""
    place = tmp_path / "leases"
    monkeypatch.setattr(module, "lock_directory", lambda: str(place))
    return place


SETTINGS, RUNNING, TIMESTAMP = Settings(), Running(), InvalidationMode.TIMESTAMP


def workers_of(
    place: Path,
    settings: Settings = SETTINGS,
    running: Running = RUNNING,
    mode: InvalidationMode = TIMESTAMP,
    **options: Any,
) -> Workers:
    """Those of a scripted interpreter."""
    return Workers(scripted(place, version=(3, 10, 0)), settings, running, wanted(mode=mode), **options)


#: The configuration, the mode, and what a worker is told: the memory and time that it may use, and whether it hashes.
TOLD: list[tuple[Settings, InvalidationMode, tuple[str, str, str]]] = [
    (SETTINGS, TIMESTAMP, (str(2 << 30), "60", "0")),
    (Settings(memory_limit=1 << 30, file_timeout=7.5), TIMESTAMP, (str(1 << 30), "7.5", "0")),
    (SETTINGS, InvalidationMode.CHECKED_HASH, (str(2 << 30), "60", "1")),
    (SETTINGS, InvalidationMode.UNCHECKED_HASH, (str(2 << 30), "60", "1")),
]


@pytest.mark.parametrize(("settings", "mode", "expected"), TOLD)
@pytest.mark.parametrize("proves", [True, False])
def test_a_worker_has_its_limits_and_its_program(
    tmp_path: Path, settings: Settings, mode: InvalidationMode, expected: tuple[str, str, str], proves: bool
) -> None:
    """One that compiles for 3.10 is warmed up; one that proves isn't."""
    with workers_of(tmp_path, settings, mode=mode, proves=proves) as workers:
        told = eval(bodies(workers.pool_for(7).ask(job(TELLS_ARGUMENTS)))[0])
    (_, warmed), _, memory, seconds, hashes, *_ = told
    assert (expected, not proves) == ((memory, seconds, hashes), warmed > 0)


@pytest.mark.parametrize("is_stateless", [True, False])
def test_roots_workers_have_accounts_of_their_own(tmp_path: Path, leases: Path, is_stateless: bool) -> None:
    """Which are leased where there is state."""
    with workers_of(tmp_path, running=Running(stateless=is_stateless)) as workers:
        workers.pool_for(7).warm_up()
        assert (os.geteuid() == 0 and not is_stateless) == leases.is_dir()


#: The workers that are configured, those that the call asks for, and how many there are.
COUNTS = [(2, None, 2), (3, 1, 1), (1, 2, 2), (2, 0, 1)]


@pytest.mark.parametrize(("configured", "asked", "count"), COUNTS)
def test_there_are_as_many_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: int, asked: int | None, count: int
) -> None:
    """By the call, or else by the configuration; for the machine one is enough, and for a proof."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    settings, running, slow = Settings(jobs=configured), Running(jobs=asked), b"time.sleep(0.002);" + TELLS_PID
    for options, expected in (({}, count), ({"proves": True}, 1)):
        with workers_of(tmp_path, settings, running, TIMESTAMP, **options) as workers:
            answers = workers.pool_for(7).map([job(slow, number, 300_000) for number in range(8)])
            assert expected == len({bodies(answer)[0] for _, answer in answers})


def test_another_owner_has_other_workers(tmp_path: Path) -> None:
    """Those of the one before end first, and all at the end."""
    before = set(children_of(os.getpid()))
    with workers_of(tmp_path) as workers:
        pool = workers.pool_for(7)
        pool.warm_up()
        (started,) = set(children_of(os.getpid())) - before
        assert pool is workers.pool_for(7)
        other = workers.pool_for(8)
        other.warm_up()
        assert (True, True) == (other is not pool, other is workers.pool_for(8))
        (another,) = set(children_of(os.getpid())) - before
        assert started != another
    assert before == set(children_of(os.getpid()))
    with workers:
        assert other is not workers.pool_for(8)


def test_slow_sources_of_all_owners_have_a_time_together(tmp_path: Path) -> None:
    """And those of another run have theirs."""
    slow, settings = b"time.sleep(0.03); compiled(b'code', 30_000)", Settings(file_timeout=0.02)
    with workers_of(tmp_path, settings) as workers:
        answers = [answer for _, answer in workers.pool_for(7).map(map(job, repeat(slow, 40)))]
        assert [UNTRIED] * 2 == [answers[-1], workers.pool_for(8).ask(job(COMPILES))]
    with workers_of(tmp_path, settings) as workers:
        assert [b"code"] == bodies(workers.pool_for(8).ask(job(COMPILES)))
