"""Pools: each job comes back once with its own answer, whatever its worker does."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from confinement import children_of
from pyctrigger.errors import InterpreterError
from pyctrigger.workers import pool as pools
from pyctrigger.workers import wire
from pyctrigger.workers.allowance import Allowance, Limits, is_memory_ours
from pyctrigger.workers.pool import UNTRIED, Lost, Pool
from scripted_workers import (
    COMPILES,
    CRASHES,
    NEEDS_FORK,
    NEEDS_MEMORY,
    RETIRES,
    RUBBISH,
    TELLS_ARGUMENTS,
    TELLS_PID,
    bodies,
    job,
    scripted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyctrigger.workers.worker import Job

CODE = wire.Compiled(bytes(8), (wire.LevelAnswer(wire.BODY, b"code", 5),))
SEGFAULT = Lost("crash", "the compiler ended: killed by SIGSEGV")
KILLED = Lost("crash", "the compiler ended: killed by SIGKILL")
MEMORY = Lost("memory", "MemoryError", (2 << 30) if is_memory_ours(Limits()) else 0)
ONCE = b"first_time('tried') and (%s) or compiled()"

#: What the worker of one source does, and the answer.
SOURCES = {
    "compiles": (COMPILES, CODE),
    "fails": (b"failed(0, b'SyntaxError')", wire.Failed("syntax", 7, "SyntaxError")),
    "retires": (RETIRES, CODE),
    "ends after its answer": (b"compiled(); os._exit(3)", CODE),
    "crashes": (CRASHES, SEGFAULT),
    "crashes once": (ONCE % CRASHES, CODE),
    "exits": (b"os._exit(3)", Lost("crash", "the compiler ended: exit status 3")),
    "is too large": (NEEDS_MEMORY, MEMORY),
    "is too large once": (ONCE % b"[%s]" % NEEDS_MEMORY, CODE),
    "is answered with rubbish": (RUBBISH, KILLED),
    "is answered with rubbish once": (ONCE % b"[%s]" % RUBBISH, CODE),
    "is answered with nothing": (b"send(b'')", KILLED),
    "is answered too long": (b"os.write(1, b'\\xff' * 4)", KILLED),
    "always needs a fork": (NEEDS_FORK, KILLED),
    "always needs a codec": (b"send(b'\\3cp1252')", KILLED),
    "a stray signal": (b"os.kill(os.getpid(), 27)", Lost("timeout", "more than 60 s of CPU time")),
}


@pytest.fixture(scope="module", autouse=True)
def _network(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What all workers share is made with the first one and stays open."""
    with Pool(scripted(tmp_path_factory.mktemp("first")), Limits(), 1) as pool:
        pool.warm_up()


@pytest.mark.parametrize("name", SOURCES)
def test_what_one_source_does_costs_itself_alone(tmp_path: Path, name: str) -> None:
    """Those before and after it are compiled, and nothing is left: no process, no descriptor."""
    source, expected = SOURCES[name]
    before = (children_of(os.getpid()), len(os.listdir("/proc/self/fd")))
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        jobs = [job(COMPILES, 1), job(source, 2), job(COMPILES, 3), job(COMPILES, 4)]
        answers = {each.context: answer for each, answer in pool.map(jobs)}
        assert {1: CODE, 2: expected, 3: CODE, 4: CODE} == answers
        assert CODE == pool.ask(job(COMPILES))
    assert before == (children_of(os.getpid()), len(os.listdir("/proc/self/fd")))


#: Sources in their order, and the codec and the fork that the worker of each had at last.
NEEDS = b"if arguments[-2:] != ['%s', '%d']: send(b'%s')\nelse: compiled(repr(arguments[-2:]).encode())"
SETUPS: list[tuple[list[bytes], list[tuple[str, str]]]] = [
    ([TELLS_ARGUMENTS], [("", "0")]),
    ([NEEDS % (b"", 1, b"\\2")] * 2, [("", "1")] * 2),
    ([NEEDS % (b"cp1252", 0, b"\\3cp1252")] * 2, [("cp1252", "0")] * 2),
    (
        [NEEDS % (b"cp1252", 0, b"\\3cp1252"), NEEDS % (b"", 1, b"\\2"), NEEDS % (b"cp437", 0, b"\\3cp437")],
        [("cp1252", "0"), ("", "1"), ("cp437", "0")],
    ),
    (
        [
            b"send(b'\\3cp437' if arguments[-2] == '' else b'\\2') if arguments[-2:] != ['cp437', '1'] else %s"
            % (TELLS_ARGUMENTS)
        ],
        [("cp437", "1")],
    ),
]


@pytest.mark.parametrize(("sources", "expected"), SETUPS)
def test_a_source_is_compiled_by_the_worker_that_it_needs(
    tmp_path: Path, sources: list[bytes], expected: list[tuple[str, str]]
) -> None:
    """One that forks, or has its codec; usual ones go on meanwhile."""
    jobs = [job(source, number) for number, source in enumerate(sources)]
    usual = [job(COMPILES, "usual") for _ in range(3)]
    with Pool(scripted(tmp_path), Limits(), 2) as pool:
        answers = [(each.context, answer) for each, answer in pool.map([*jobs, *usual])]
        assert len(children_of(os.getpid())) <= 3
    assert [CODE] * 3 == [answer for context, answer in answers if context == "usual"]
    found = {context: bodies(answer)[0].decode() for context, answer in answers if context != "usual"}
    assert expected == [tuple(eval(found[number])[-2:]) for number in range(len(sources))]


def test_a_special_worker_serves_all_sources_that_need_it(tmp_path: Path) -> None:
    """Another codec ends it; one that crashes there is tried alone, with its setup."""
    tells = b"if arguments[-2] != '%s': send(b'\\3%s')\nelse: compiled(b'%%d' %% os.getpid())"
    crashes = b"if arguments[-2] != 'one': send(b'\\3one')\nelse: os.kill(os.getpid(), 11)"
    kinds = [b"one", b"one", b"two", b"two"]
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        found = [bodies(pool.ask(job(tells % (kind, kind)))) for kind in kinds]
        assert (True, True, 2) == (found[0] == found[1], found[2] == found[3], len({pid for (pid,) in found}))
        assert 2 == len(children_of(os.getpid()))
        assert SEGFAULT == pool.ask(job(crashes))


@pytest.mark.parametrize(
    ("size", "length", "count", "workers"),
    [(1, 300_000, 8, 1), (2, 300_000, 8, 2), (3, 300_000, 12, 3), (0, 100, 2, 1), (3, 100, 200, 1), (3, 2000, 100, 2)],
)
def test_workers_are_started_while_there_is_work_for_them(
    tmp_path: Path, size: int, length: int, count: int, workers: int
) -> None:
    """Each has a hundred kilobytes before another one is worth it."""
    with Pool(scripted(tmp_path), Limits(), size) as pool:
        jobs = [job(b"time.sleep(0.002);" + TELLS_PID, number, length) for number in range(count)]
        answers = list(pool.map(jobs))
        assert workers == len(children_of(os.getpid()))
    assert sorted(range(count)) == sorted(each.context for each, _ in answers)  # type: ignore[type-var]
    assert workers == len({bodies(answer)[0] for _, answer in answers})


@pytest.mark.parametrize(("length", "most"), [(16, 256), (1 << 18, 2), (1 << 20, 1)])
def test_few_sources_are_taken_before_they_can_be_compiled(tmp_path: Path, length: int, most: int) -> None:
    """By number and by bytes; the next ones when there is room."""
    taken: list[int] = []

    def draw() -> Iterator[Job]:
        for number in range(300 if most > 9 else 5):
            taken.append(number)
            yield job(b"time.sleep(0.05); compiled()" if number == 0 else COMPILES, number, length)

    ahead = []
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        for done, _ in enumerate(pool.map(draw())):
            ahead.append(len(taken) - done)
    assert (most, len(taken)) == (max(ahead), len(ahead))


def test_a_job_may_depend_on_an_answer(tmp_path: Path) -> None:
    """None means that the next one isn't known yet."""
    answered: list[object] = []

    def draw() -> Iterator[Job | None]:
        yield job(COMPILES, "first")
        while not answered:
            yield None
        yield job(COMPILES, ("after", *answered))

    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        answered.extend(each.context for each, _ in pool.map(draw()))
    assert ["first", ("after",)] == answered or ["first", ("after", "first")] == answered


def test_a_pool_warms_up_once(tmp_path: Path) -> None:
    """That worker gets the first jobs; what its system refuses is known then."""
    with Pool(scripted(tmp_path), Limits(), 2, hashes=True) as pool:
        pool.warm_up()
        pool.warm_up()
        (started,) = children_of(os.getpid())
        assert set() == pool.lacks
        assert [b"%d" % started] == bodies(pool.ask(job(TELLS_PID)))
        assert ({"unshare"}, "1") == (pool.lacks, eval(bodies(pool.ask(job(TELLS_ARGUMENTS)))[0])[4])


def test_slow_sources_use_up_the_time_of_all(tmp_path: Path) -> None:
    """By what they say that they took; the rest isn't tried, whether a worker has it or not."""
    slow = b"time.sleep(0.03); compiled(b'code', 30_000)"
    allowance = Allowance(Limits(file_timeout=0.02))
    jobs: list[Any] = [job(slow, 0), job(b"time.sleep(9)", 1), job(COMPILES, 2), None, job(COMPILES, 3)]
    with Pool(scripted(tmp_path), allowance.limits, 1, allowance=allowance) as pool:
        assert [[b"code"]] * 4 == [bodies(pool.ask(job(slow))) for _ in range(4)]
        first, *others = ((each.context, answer) for each, answer in pool.map(jobs))
        assert [] == children_of(os.getpid())
    assert (0, [b"code"], [(number, UNTRIED) for number in (1, 2, 3)]) == (first[0], bodies(first[1]), others)
    assert allowance.is_used_up is True


def test_an_overdue_source_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts with the whole limit; those after it wait for their own turn."""
    monkeypatch.setattr(Limits, "wall_timeout", 0.3)
    allowance = Allowance(Limits(file_timeout=0.07))
    with Pool(scripted(tmp_path), allowance.limits, 1, allowance=allowance) as pool:
        jobs = [job(COMPILES), job(b"time.sleep(9)"), *[job(b"time.sleep(0.1); compiled()")] * 2]
        answers = [answer for _, answer in pool.map(jobs)]
    overdue = Lost("timeout", "no answer within 0.3 s")
    assert ([CODE, overdue, CODE, CODE], 0.35 - 0.3) == (answers[:4], pytest.approx(allowance._left, abs=0.06))


def test_a_source_that_uses_up_its_processor_time(tmp_path: Path) -> None:
    """Is lost by our limit if it has used as much; and counts with the whole limit."""
    burns = b"while time.process_time() < 0.15: pass\nos.kill(os.getpid(), 27)"
    with Pool(scripted(tmp_path), Limits(file_timeout=0.1), 1) as pool:
        assert Lost("timeout", "more than 0.1 s of CPU time", 0.1) == pool.ask(job(burns))


#: What workers do when they start, what is wrong with them, and the error.
STARTS = [
    ("sys.exit(3)", "exit status 3"),
    ("os.write(2, b'no library'); sys.exit(0)", "exit status 0, it said: no library"),
    ("os.write(1, b'hello, world')", "it sent an invalid answer"),
    ("time.sleep(9)", "it was not ready in time"),
]


@pytest.mark.parametrize(("beginning", "reason"), STARTS)
def test_a_first_worker_that_does_not_start_is_an_error(tmp_path: Path, beginning: str, reason: str) -> None:
    """Nothing more is tried."""
    broken = scripted(tmp_path, beginning)
    with Pool(broken, Limits(start_timeout=0.4), 2) as pool, pytest.raises(InterpreterError) as raised:
        pool.ask(job(COMPILES))
    assert f"{broken.executable} can't run a worker: {reason}" == raised.value.message


def test_workers_that_do_not_start_any_more(tmp_path: Path) -> None:
    """One or two may have been killed; three in a row are an error."""
    starts, broken, for_good = (tmp_path / name for name in ("starts", "broken", "for good"))
    starts.mkdir()
    beginning = f"""
if os.path.exists({str(broken)!r}):
    os.mkdir("{starts}/%d" % os.getpid())
    if len(os.listdir({str(starts)!r})) < 3 or os.path.exists({str(for_good)!r}):
        sys.exit(1)
"""
    interpreter = scripted(tmp_path, beginning)
    with Pool(interpreter, Limits(), 1) as pool:
        assert CODE == pool.ask(job(COMPILES))
        broken.touch()
        assert SEGFAULT == pool.ask(job(CRASHES))
        assert CODE == pool.ask(job(COMPILES))
        for_good.touch()
        before = len(os.listdir(starts))
        with pytest.raises(InterpreterError, match="workers end for no known reason") as raised:
            list(pool.map([job(RETIRES), job(COMPILES)]))
    assert f"{interpreter.executable}: workers end for no known reason" == raised.value.message
    assert "check whether something kills them (dmesg), or name another interpreter with --python PATH" == (
        raised.value.hint
    )
    assert (4, 3) == (before, len(os.listdir(starts)) - before)


def test_fewer_workers_are_enough(tmp_path: Path) -> None:
    """If there is no room for another one; without any it is an error."""
    interpreter = scripted(tmp_path)
    with Pool(interpreter, Limits(), 3) as pool:
        first = bodies(pool.ask(job(TELLS_PID)))
        os.unlink(interpreter.executable)
        jobs = [job(TELLS_PID, number, 300_000) for number in range(8)]
        assert [first] * 8 == [bodies(answer) for _, answer in pool.map(jobs)]
    with Pool(interpreter, Limits(), 3) as pool, pytest.raises(InterpreterError, match="No such file"):
        pool.ask(job(COMPILES))


def test_a_library_that_can_not_be_read_is_no_fault_of_a_source(tmp_path: Path) -> None:
    """It ends all work."""
    with Pool(scripted(tmp_path), Limits(), 1) as pool, pytest.raises(InterpreterError, match="can't read all of its"):
        pool.ask(job(b"failed(5, b'OSError')"))


def test_a_worker_that_ends_with_its_pipes_open_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have them."""
    monkeypatch.setattr(pools, "_CHECK_INTERVAL", 0.05)
    leaves = b"if os.fork(): os._exit(7)\ntime.sleep(0.5)"
    began = time.monotonic()
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        assert Lost("crash", "the compiler ended: exit status 7") == pool.ask(job(leaves))
    assert time.monotonic() - began < 0.45


def test_a_host_sleeps_while_workers_have_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For half of their work, once it is known how long that takes."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        sources = [job(b"time.sleep(0.002); compiled(b'code', 2000)", number, 1000) for number in range(20)]
        assert 20 == len(list(pool.map(sources)))
    assert (True, True) == (pauses[0] == 0, max(pauses) > 0.005)
