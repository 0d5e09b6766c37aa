"""Workers of one owner at a time, within the limits of the configuration and the call."""

from __future__ import annotations

import os
from itertools import repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from processes import children_of
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.apply import workers as module
from pyctrigger.run.apply.workers import ITS_OWN_WAY, LARGEST_FIRST, Order, Workers
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Running
from pyctrigger.workers.pool import UNTRIED, Duty
from scripted_workers import COMPILES, TELLS_ARGUMENTS, TELLS_PID, bodies, job, scripted
from unit.run.plan.trees import wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
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


#: The configuration, and the order.
ORDERS = [
    (Settings(), LARGEST_FIRST),
    (Settings(store_url="local"), ITS_OWN_WAY),
    (Settings(store_url="/var/cache/codes"), ITS_OWN_WAY),
    (Settings(store_url="local", store_write=False), LARGEST_FIRST),
    (Settings(store_url="redis://host"), LARGEST_FIRST),
]


@pytest.mark.parametrize(("settings", "expected"), ORDERS)
def test_a_run_goes_its_own_way_where_it_fills_a_store(tmp_path: Path, settings: Settings, expected: Order) -> None:
    """Which other runs may fill at the same time; so do its lanes."""
    with workers_of(tmp_path, settings) as workers:
        lane = workers.of_a_lane(Duty.USUAL)
        assert [expected] * 2 == [workers.order, lane.order]
        dealt = iter([None])
        assert dealt is lane.arranged(dealt)  # it has its pieces in this order


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


# -- the order of their work -------------------------------------------------------------------------------------------


def test_the_largest_comes_first() -> None:
    """Usually."""
    assert [9, 5, 5, 1, 0] == sorted([5, 0, 9, 1, 5], key=LARGEST_FIRST.rank)


def test_where_a_run_goes_its_own_way_a_large_one_tends_to_come_early() -> None:
    """Nine of ten, if it is ten times as large, and not always."""
    early = sum(ITS_OWN_WAY.rank(1000) < ITS_OWN_WAY.rank(100) for _ in range(1000))
    assert 900 < early < 1000
    assert ITS_OWN_WAY.rank(0) >= 0


def test_few_sources_are_taken_from_the_plan_at_a_time() -> None:
    """Eight for each that is given out, until 256 wait, and then eight for as many."""
    taken: list[int] = []

    def tasks() -> Iterator[Any]:
        for number in range(400):
            taken.append(number)
            yield None, SimpleNamespace(size=number % 100)

    found = LARGEST_FIRST.arrange(tasks())
    sizes, counts = [], []
    for task in found:
        assert task is not None
        sizes.append(task[1].size)
        counts.append(len(taken))
    assert ([7, 15, 23], [8, 16, 24]) == (sizes[:3], counts[:3])
    assert [8] * 36 == [after - before for before, after in zip(counts, counts[1:37])]
    assert [*[0] * 42, *[8] * 6] == sorted(after - before for before, after in zip(counts[40:], counts[41:89]))
    assert sorted(number % 100 for number in range(400)) == sorted(sizes)


def test_eight_sources_are_given_out_before_a_plan_that_pauses_is_asked_again() -> None:
    """The largest of those that have come, and then None as long as nothing comes."""
    tasks: list[Any] = [*((None, SimpleNamespace(size=size)) for size in range(10)), *[None] * 5]
    found = [task and task[1].size for task in LARGEST_FIRST.arrange(iter(tasks))]
    assert [7, 9, 8, 6, 5, 4, 3, 2, 1, 0, None, None, None] == found


def test_a_run_that_goes_its_own_way_gives_out_all_tasks() -> None:
    """In another order each time, although the plan has few of them at first."""
    tasks: list[Any] = [(None, SimpleNamespace(size=1, number=number)) for number in range(1000)]
    orders = [[tasks.index(task) for task in ITS_OWN_WAY.arrange(iter(tasks))] for _ in range(2)]
    assert [list(range(1000))] * 2 == [sorted(each) for each in orders]
    assert sum(one == other for one, other in zip(*orders)) < 200
