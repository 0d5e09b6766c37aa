"""Pools: each job comes back once with its own answer, whatever its worker does."""

from __future__ import annotations

import os
import resource
import time
from itertools import repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from processes import children_of
from pyctrigger.errors import InterpreterError
from pyctrigger.workers import pace, wire
from pyctrigger.workers import pool as pools
from pyctrigger.workers.allowance import Allowance, Limits, is_memory_ours
from pyctrigger.workers.pool import SLOW, UNTRIED, Apart, Duty, Lost, Pool
from scripted_workers import (
    COMPILES,
    CRASHES,
    HANDSHAKE,
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
MORE = Lost("memory", "needs more than 2048 MiB", 2 << 30)
TOO_LITTLE = Lost("memory", "this machine, or a limit that we were started with, has too little for it", 0)
MEMORY = MORE if is_memory_ours(Limits()) else TOO_LITTLE
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


@pytest.mark.parametrize("most", [1, 8])
def test_no_more_jobs_wait_than_the_caller_allows(tmp_path: Path, most: int) -> None:
    """Those after them are taken when there is room again."""
    taken = 0

    def jobs() -> Iterator[Job]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield job(COMPILES, number)

    with Pool(scripted(tmp_path), Limits(), 1, max_jobs=lambda: most) as pool:
        waiting = [taken - done for done, _ in enumerate(pool.map(jobs()))]
    assert 30 == len(waiting)
    assert most >= max(waiting)
    assert most == waiting[0]


#: What a worker of one source does, and the answer of a pool that does only what usual workers do.
USUALLY: dict[str, tuple[bytes, object]] = {
    "compiles": (COMPILES, CODE),
    "fails": (b"failed(0, b'SyntaxError')", wire.Failed("syntax", 7, "SyntaxError")),
    "crashes": (CRASHES, Apart(wire.USUAL, is_retry=True)),
    "is too large": (NEEDS_MEMORY, Apart(wire.USUAL, is_retry=True)),
    "needs a fork": (NEEDS_FORK, Apart(wire.Setup(forks=True), is_retry=False)),
    "needs a codec": (b"send(b'\\3cp1252')", Apart(wire.Setup(codec="cp1252"), is_retry=False)),
    "is slow": (b"os.kill(os.getpid(), 27)", SLOW),
}


@pytest.mark.parametrize("name", USUALLY)
def test_what_is_not_usual_is_left(tmp_path: Path, name: str) -> None:
    """Without a second try, and the others are done."""
    source, expected = USUALLY[name]
    with Pool(scripted(tmp_path), Limits(), 1, duty=Duty.USUAL) as pool:
        jobs = [job(COMPILES, 1), job(source, 2), job(COMPILES, 3)]
        assert {1: CODE, 2: expected, 3: CODE} == {each.context: answer for each, answer in pool.map(jobs)}


def test_what_others_left_is_done_by_one_worker_at_a_time(tmp_path: Path) -> None:
    """Each kind in turn, and each of its sources by the worker that it needs; a second try has one of its own."""
    needs = [wire.Setup(codec="cp1252"), wire.Setup(forks=True), wire.USUAL] * 3
    jobs = [job(b"time.sleep(0.05); " + TELLS_ARGUMENTS, number) for number in range(10)]
    for each, setup in zip(jobs, needs):
        each.setup = setup
    jobs[8].is_retry = True
    jobs[9].request = job(CRASHES).request
    most = 0

    with Pool(scripted(tmp_path), Limits(), 3, duty=Duty.APART) as pool:
        answers: dict[object, object] = {}
        for each, answer in pool.map(jobs):
            answers[each.context] = answer
            most = max(most, len(children_of(os.getpid())))

    assert 1 == most
    assert SEGFAULT == answers.pop(9)
    told = {number: eval(bodies(answer)[0])[-2:] for number, answer in answers.items()}
    assert {number: (setup.codec, f"{setup.forks:d}") for number, setup in enumerate(needs)} == told


def test_a_special_worker_serves_all_sources_that_need_it(tmp_path: Path) -> None:
    """Another codec ends it; one that crashes there is tried alone, with its setup."""
    tells = b"if arguments[-2] != '%s': send(b'\\3%s')\nelse: compiled(b'%%d' %% os.getpid())"
    crashes = b"if arguments[-2] != 'one': send(b'\\3one')\nelse: os.kill(os.getpid(), 11)"
    kinds = [b"one", b"one", b"two", b"two"]
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        found = [bodies(pool.ask(job(tells % (kind, kind)))) for kind in kinds]
        assert (True, True, 2) == (found[0] == found[1], found[2] == found[3], len({pid for (pid,) in found}))
        assert 2 == len(children_of(os.getpid()))
        forked = b"if arguments[-1] == '0': send(b'\\2')\nelse: " + TELLS_PID
        first = bodies(pool.ask(job(forked)))
        assert b"code" in bodies(pool.ask(job(b"if arguments[-2] != 'one': send(b'\\3one')\nelse: compiled()")))
        assert first == bodies(pool.ask(job(forked)))
        assert ("", "0") == eval(bodies(pool.ask(job(TELLS_ARGUMENTS)))[0])[-2:]
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


def test_a_job_may_depend_on_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None means that the next one isn't known yet."""
    answered: list[object] = []

    def draw() -> Iterator[Job | None]:
        yield job(COMPILES, "first")
        while not answered:
            yield None
        yield from (None, None)  # its worker is idle
        yield job(COMPILES, ("after", *answered))

    monkeypatch.setattr(pools, "_CHECK_INTERVAL", 0.03)
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        for each, _ in pool.map(draw()):
            answered.append(each.context)
    assert ["first", ("after", "first")] == answered


@pytest.mark.parametrize(("options", "hashes"), [({}, "0"), ({"hashes": True}, "1")])
def test_a_pool_warms_up_once(tmp_path: Path, options: dict[str, Any], hashes: str) -> None:
    """That worker gets the first jobs; what its system refuses is known then."""
    with Pool(scripted(tmp_path), Limits(), 2, leases=str(tmp_path / "leases"), **options) as pool:
        pool.warm_up()
        pool.warm_up()
        (started,) = children_of(os.getpid())
        assert set() == pool.lacks
        assert [b"%d" % started] == bodies(pool.ask(job(TELLS_PID)))
        assert ({"unshare"}, hashes) == (pool.lacks, eval(bodies(pool.ask(job(TELLS_ARGUMENTS)))[0])[4])
        assert os.geteuid() != 0 or 1 == len(os.listdir(tmp_path / "leases"))


def test_slow_sources_use_up_the_time_of_all(tmp_path: Path) -> None:
    """By what they say that they took; the rest isn't tried, whether a worker has it or not."""
    slow = b"time.sleep(0.03); compiled(b'code', 30_000)"
    allowance = Allowance(Limits(file_timeout=0.02))

    def draw() -> Iterator[Job | None]:
        yield from (job(slow, 0), job(b"time.sleep(9)", 1), job(COMPILES, 2))
        while not allowance.is_used_up:
            yield None
        yield None
        yield job(COMPILES, 3)

    with Pool(scripted(tmp_path), allowance.limits, 1, allowance=allowance) as pool:
        assert [[b"code"]] * 4 == [bodies(pool.ask(job(slow))) for _ in range(4)]
        first, *others = ((each.context, answer) for each, answer in pool.map(draw()))
        assert [] == children_of(os.getpid())
    assert (0, [b"code"], [(number, UNTRIED) for number in (1, 2, 3)]) == (first[0], bodies(first[1]), others)
    assert allowance.is_used_up is True


def test_no_source_is_blamed_for_new_limits(tmp_path: Path) -> None:
    """Its worker was ended by us, since the one before took the last of the time."""
    allowance = Allowance(Limits(file_timeout=0.02))
    with Pool(scripted(tmp_path), allowance.limits, 1, allowance=allowance) as pool:
        jobs = [job(b"time.sleep(0.2); compiled(b'code', 200_000)"), job(b"time.sleep(0.05); compiled()")]
        assert 2 == len([answer for _, answer in pool.map(jobs) if isinstance(answer, wire.Compiled)])
    assert [False, False] == [each.is_retry for each in jobs]


def test_an_overdue_source_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the next check of all workers; an idle worker is never overdue, one that doesn't start always."""
    monkeypatch.setattr(pools, "_CHECK_INTERVAL", 5)
    monkeypatch.setattr(Limits, "wall_timeout", 0.4)
    began = time.monotonic()
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        assert Lost("timeout", "no answer within 0.4 s") == pool.ask(job(b"time.sleep(9)"))
        assert time.monotonic() - began < 2
        idle = bodies(pool.ask(job(TELLS_PID)))
        time.sleep(0.5)
        assert idle == bodies(pool.ask(job(TELLS_PID)))
    with Pool(scripted(tmp_path, "time.sleep(9)"), Limits(start_timeout=0.1), 1) as pool:
        with pytest.raises(InterpreterError, match="it was not ready in time"):
            list(pool.map(repeat(None)))
        assert time.monotonic() - began < 4


def test_workers_are_checked_while_they_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that live go on, and what they have sent before they ended is read to its end."""
    monkeypatch.setattr(pools, "_CHECK_INTERVAL", 0.03)
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        jobs = [job(b"time.sleep(0.15); compiled()"), job(b"compiled(b'x' * 900_000, first=0x80); os._exit(0)")]
        assert [[b"code"], [b"x" * 900_000]] == [bodies(answer) for _, answer in pool.map(jobs)]
    assert [False, False] == [each.is_retry for each in jobs]


def test_sources_are_tried_again_one_by_one(tmp_path: Path) -> None:
    """Two that crash at once: neither is to blame for the other."""
    source = (
        b"if first_time('%d'): os.kill(os.getpid(), 11)\nos.mkdir('%s'); time.sleep(0.05); os.rmdir('%s'); compiled()"
    )
    alone = os.fsencode(tmp_path / "alone")
    with Pool(scripted(tmp_path), Limits(), 2) as pool:
        jobs = [job(source % (number, alone, alone), number, 200_000) for number in range(2)]
        assert [CODE, CODE] == [answer for _, answer in pool.map(jobs)]
    assert [True, True] == [each.is_retry for each in jobs]


@pytest.mark.parametrize(("size", "length", "count", "most"), [(1, 0, 4, 1), (2, 150_000, 7, 3)])
def test_what_a_lost_worker_had_goes_to_as_many_as_before(
    tmp_path: Path, size: int, length: int, count: int, most: int
) -> None:
    """To a new one in its place, and to the one that has least to do."""
    jobs = [job(CRASHES, None, length), *(job(b"time.sleep(0.01);" + TELLS_PID, 1, length) for _ in range(count))]
    with Pool(scripted(tmp_path), Limits(), size) as pool:
        answers = [answer for each, answer in pool.map(jobs) if each.context]
    assert (count, True) == (len(answers), len({bodies(answer)[0] for answer in answers}) <= most)


@pytest.mark.parametrize(
    ("implementation", "expected"),
    [("pypy", MEMORY), ("cpython", Lost("crash", "the compiler ended: killed by SIGABRT"))],
)
def test_a_source_that_makes_its_worker_abort(tmp_path: Path, implementation: str, expected: Lost) -> None:
    """Is too large for PyPy, and bad for others; either is tried twice."""
    with Pool(scripted(tmp_path, implementation=implementation), Limits(), 1) as pool:
        assert expected == pool.ask(job(b"os.abort()"))
        assert CODE == pool.ask(job(ONCE % b"os.abort()"))


@pytest.mark.parametrize("stack", [None, 4 << 20])
def test_a_limit_is_ours_or_may_be_a_callers(tmp_path: Path, stack: int | None) -> None:
    """Who asks for less stack than usual may have caused a lack of memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (stack or soft, hard))
    try:
        expected = MORE if is_memory_ours(Limits()) else TOO_LITTLE
        with Pool(scripted(tmp_path), Limits(), 1) as pool:
            assert expected == pool.ask(job(NEEDS_MEMORY))
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


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
    burns = b"while time.process_time() < 0.3: pass\nos.kill(os.getpid(), 27)"
    with Pool(scripted(tmp_path), Limits(file_timeout=0.2), 1) as pool:
        for source, limit in ((burns, 0.2), (b"os.kill(os.getpid(), 27)", 0)):
            assert Lost("timeout", "more than 0.2 s of CPU time", limit) == pool.ask(job(source))


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


@pytest.mark.parametrize("forks", [False, True])
def test_workers_that_always_end_are_an_error(tmp_path: Path, forks: bool) -> None:
    """Usual ones without work, and those of a kind that never starts while usual ones do."""
    starts = tmp_path / "starts"
    starts.mkdir()
    leaves = f"os.mkdir('{starts}/%d' % os.getpid()); os.write(1, {HANDSHAKE!r} * (not {forks})); sys.exit()"
    interpreter = scripted(tmp_path, f"if arguments[-1] == '{forks:d}': {leaves}")
    with Pool(interpreter, Limits(), 1) as pool:
        jobs = [job(NEEDS_FORK)] if forks else repeat(None)
        with pytest.raises(InterpreterError, match="workers end for no known reason"):
            list(pool.map(jobs))
    assert 3 == len(os.listdir(starts))


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
    leaves = b"if os.fork(): os._exit(7)\ntime.sleep(3)"
    began = time.monotonic()
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        assert Lost("crash", "the compiler ended: exit status 7") == pool.ask(job(leaves))
    assert time.monotonic() - began < 2.5


def test_a_host_sleeps_while_workers_have_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while they start, nor for a few small sources."""
    slices: list[float] = []

    def sleep(seconds: float) -> None:
        slices.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr(pace, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    with Pool(scripted(tmp_path), Limits(), 1) as pool:
        few, many = ([job(b"compiled(b'code', 2000)", number, 2000) for number in range(most)] for most in (15, 200))
        assert 15 == len(list(pool.map(few)))
        assert [] == slices
        many[100:100] = [job(b"time.sleep(0.05); compiled(b'code', 2000)", 200, 2000)]
        assert 201 == len(list(pool.map(many)))
    assert slices
