"""One worker: what its program gets, what goes through its pipes, and how it ends."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from confinement import wait_for
from frames import READY, framed
from processes import children_of
from pyctrigger.errors import InterpreterChangedError, InterpreterError
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.rights import Rights
from pyctrigger.workers import warming, wire, worker
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.wire import USUAL, Setup, WireError
from pyctrigger.workers.worker import Worker, dont_wait, widen
from scripted_workers import COMPILES, TELLS_ARGUMENTS, bodies, job, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyctrigger.interpreter.interpreter import Interpreter

F_GETPIPE_SZ = 1032
USUAL_LIMITS = Limits()


@contextmanager
def started(
    interpreter: Interpreter,
    limits: Limits = USUAL_LIMITS,
    setup: Setup = USUAL,
    *,
    hashes: bool = False,
    program: str = "compile",
    leases: str | None = None,
) -> Iterator[Worker]:
    """A worker, which is reaped in the end."""
    made = Worker(interpreter, limits, setup, hashes=hashes, program=program, leases=leases)
    try:
        yield made
    finally:
        made.kill()
        made.reap()


def serve(made: Worker, *, until: int = 1) -> list[bytes]:
    """Do what a pool does, until so many frames are there."""
    frames: list[bytes] = []
    while len(frames) < until:
        poller = select.poll()
        for descriptor, event in made.events().items():
            poller.register(descriptor, event)
        for descriptor, _ in poller.poll(5000) or pytest.fail("nothing happens"):
            if descriptor == made.input:
                made.pump_in()
            elif descriptor == made.stderr:
                made.drain_stderr()
            else:
                frames += map(bytes, made.pump_out())
    return frames


def make_ready(made: Worker) -> tuple[str, ...]:
    """Wait for its first frame. Returns what its system lacks."""
    (payload,) = serve(made)
    return made.handle_handshake(payload)


def asked(made: Worker, source: bytes, size: int = 0) -> bytes:
    """What a worker that is ready answers."""
    made.send(job(source, size=size))
    (payload,) = serve(made)
    made.answered()
    return bodies(wire.parse_reply(payload)[0])[0]


WARM = 1 + len(warming._OTHERS)
#: Facts about the interpreter, what the worker is made for, and what its program sees of that: its files but one,
#: sources that warm it up, the seed of its hashes, memory, processor time, hashes, codec, and whether it forks.
PROGRAMS: list[tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]] = [
    ({}, {}, (2, 0, None, str(2 << 30), "60.0", "0", "", "0")),
    ({}, {"hashes": True, "limits": Limits(7.5, 3 << 30)}, (2, 0, None, str(3 << 30), "7.5", "1", "", "0")),
    ({}, {"setup": Setup(True, "cp437")}, (2, 0, None, str(2 << 30), "60.0", "0", "cp437", "1")),
    ({"version": (3, 10, 1)}, {}, (3, WARM, "0", str(2 << 30), "60.0", "0", "", "0")),
    ({"version": (3, 10, 1)}, {"program": "compare"}, (2, 0, None, str(2 << 30), "60.0", "0", "", "0")),
    ({"version": (3, 10, 1), "implementation": "pypy"}, {}, (2, 0, None, str(2 << 30), "60.0", "0", "", "0")),
]


@pytest.mark.parametrize(("facts", "options", "expected"), PROGRAMS)
def test_what_the_program_of_a_worker_is_told(
    tmp_path: Path, facts: dict[str, Any], options: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    """Its limits and its setup; up to 3.10 with a warm-up before the first source, and a seed."""
    with started(scripted(tmp_path, **facts), **options) as made:
        make_ready(made)
        (more, warmed), seed, memory, seconds, hashes, _, codec, forks = eval(asked(made, TELLS_ARGUMENTS))
        assert options.get("setup", USUAL) == made.setup
        assert (False, False, False) == (made.retiring, made.overdue, made.garbled)
    assert expected == (more, warmed, seed, memory, seconds, hashes, codec, forks)


def test_a_worker_has_its_limit_and_its_lifeline(tmp_path: Path) -> None:
    """Memory is bounded before it gets anything; besides its streams it has a pipe, which its host never writes to."""
    tells = b"""
import resource, stat
is_pipe = stat.S_ISFIFO(os.fstat(int(lifeline)).st_mode)
compiled(repr((resource.getrlimit(resource.RLIMIT_AS)[0], is_pipe, int(lifeline) > 2)).encode())
"""
    with started(scripted(tmp_path), Limits(memory=3 << 30)) as made:
        make_ready(made)
        assert (3 << 30, True, True) == eval(asked(made, tells))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leases accounts")
def test_a_workers_account_is_leased_until_it_is_reaped(tmp_path: Path) -> None:
    """By a file with its number; one that can't be started keeps none, nor a descriptor."""
    place = tmp_path / "leases"
    interpreter = scripted(tmp_path)
    with started(interpreter, leases=str(place)) as made:
        make_ready(made)
        leased = eval(asked(made, TELLS_ARGUMENTS))[5]
        assert [f"{leased}.account"] == os.listdir(place)
        limits = resource.prlimit(children_of(os.getpid())[0], resource.RLIMIT_NPROC)
        assert (2, 2) == limits
    assert [] == os.listdir(place)
    os.unlink(interpreter.executable)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InterpreterError, match="can't be started: No such file"), started(interpreter):
        pass
    with pytest.raises(InterpreterError), started(interpreter, leases=str(place)):
        pass
    assert ([], before) == (os.listdir(place), len(os.listdir("/proc/self/fd")))


def test_a_process_without_descriptors_starts_no_worker(tmp_path: Path) -> None:
    """It is an error with a hint."""
    interpreter = scripted(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(InterpreterError) as raised:
            Worker(interpreter, Limits(), USUAL, hashes=False, program="compile", leases=None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (f"{interpreter.executable} can't be started: Too many open files", "raise the limit of open files") == (
        raised.value.message,
        raised.value.hint,
    )


def test_pipes_of_a_worker(tmp_path: Path) -> None:
    """Wide, so that nobody waits for the other; reading never waits."""
    with started(scripted(tmp_path, "time.sleep(9)")) as made:
        sizes = [fcntl.fcntl(pipe, F_GETPIPE_SZ) for pipe in (made.input, made.output, made.stderr)]
        assert ([1 << 19, 1 << 20, 1 << 16], 1 << 19) == (sizes, made.room)
        assert [] == list(made.pump_out())
        made.drain_stderr()
        assert {made.output: select.POLLIN, made.stderr: select.POLLIN} == made.events()
        for _ in range(3):
            made.send(job(COMPILES, size=300_000))
        made.pump_in()
        made.pump_in()  # it is full
        assert {made.output: select.POLLIN, made.stderr: select.POLLIN, made.input: select.POLLOUT} == made.events()


@pytest.mark.parametrize("sizes", [[0] * 700, [1 << 21], [70_000] * 30, [1 << 20, 0, 1 << 20, 0]])
def test_all_that_is_sent_arrives(tmp_path: Path, sizes: list[int]) -> None:
    """In its order, however many pieces that makes; answers come in the same order."""
    checks = b"import zlib; compiled(b'%d' % zlib.crc32(request))"
    jobs = [job(b"%s;%d" % (checks, number), number, size) for number, size in enumerate(sizes)]
    with started(scripted(tmp_path)) as made:
        make_ready(made)
        for each in jobs:
            made.send(each)
        assert (sum(each.size for each in jobs), len(jobs)) == (made.outstanding, len(made.jobs))
        answers = serve(made, until=len(jobs))
        assert jobs == [made.answered()[0] for _ in jobs]
        assert (0, 0) == (made.outstanding, len(made.jobs))
    expected = [zlib.crc32(b"".join(map(bytes, each.request))[4:]) for each in jobs]
    assert expected == [int(bodies(wire.parse_reply(answer)[0])[0]) for answer in answers]


def test_a_job_and_its_size() -> None:
    """All bytes of its frame; it wasn't tried yet, and any worker will do."""
    made = job(b"x = 1", "context")
    assert (4 + 16 + 5, "context", False, USUAL) == (made.size, made.context, made.is_retry, made.setup)


@pytest.mark.parametrize(("extra", "is_fine"), [(0, True), (1, False)])
def test_the_longest_answer_is_that_of_the_largest_source(tmp_path: Path, extra: int, is_fine: bool) -> None:
    """Nothing that is longer is read, let alone believed."""
    smaller, larger = job(COMPILES), job(b"os.write(1, (%s).to_bytes(4, 'little')); time.sleep(9)", size=500)
    length = wire.largest_answer(larger.size) + extra
    larger = job(b"os.write(1, (%d).to_bytes(4, 'little')); time.sleep(9)" % length, size=500)
    with started(scripted(tmp_path)) as made:
        make_ready(made)
        made.send(larger)
        made.send(smaller)
        made.pump_in()
        assert select.select([made.output], [], [], 5)[0]
        if is_fine:
            assert [] == list(made.pump_out())
        else:
            with pytest.raises(WireError, match="a frame that is too long"):
                list(made.pump_out())


@pytest.mark.parametrize(("extra", "is_fine"), [(0, True), (1, False)])
def test_a_handshake_is_no_longer_than_the_shortest_answer(tmp_path: Path, extra: int, is_fine: bool) -> None:
    """Nothing was asked yet."""
    length = wire.largest_answer(0) + extra
    with started(scripted(tmp_path, handshake=length.to_bytes(4, "little"))) as made:
        assert select.select([made.output], [], [], 5)[0]
        if is_fine:
            assert [] == list(made.pump_out())
        else:
            with pytest.raises(WireError, match="a frame that is too long"):
                list(made.pump_out())


def test_each_step_has_a_deadline_of_its_own(tmp_path: Path) -> None:
    """The start, and then each source from its turn on; those that wait don't change that."""

    def seconds_left() -> float:
        return made.deadline - time.monotonic()

    limits = Limits(file_timeout=100.0, start_timeout=50.0)
    with started(scripted(tmp_path), limits) as made:
        assert pytest.approx(50, abs=2) == seconds_left()
        made.send(job(b"time.sleep(9)"))
        assert pytest.approx(50, abs=2) == seconds_left()
        assert (False, ("unshare",), True) == (made.is_ready, make_ready(made), made.is_ready)
        assert pytest.approx(1000, abs=2) == seconds_left()
        made.deadline -= 100
        assert pytest.approx(100, abs=2) == made.busy_for
        made.send(job(b"time.sleep(9)"))
        assert pytest.approx(900, abs=2) == seconds_left()
        made.answered()
        assert pytest.approx(1000, abs=2) == seconds_left()
        made.answered()
        made.deadline -= 100
        made.send(job(COMPILES))
        assert pytest.approx(1000, abs=2) == seconds_left()


def test_what_a_worker_says_before_it_is_ready_is_kept(tmp_path: Path) -> None:
    """The last of it, for the message; later on it is only read, and closed when the worker closes it."""
    beginning = "os.write(2, b'first' + b'x' * 5000); os.write(2, b'last')"
    closes = b"os.write(2, b'more'); os.close(2); compiled()"
    with started(scripted(tmp_path, beginning)) as made:
        make_ready(made)
        while select.select([made.stderr], [], [], 0)[0]:
            made.drain_stderr()
        made.is_ready = False
        made._stderr = made._stderr.replace(b"x", b"")
        assert made.failed_start(1).message.endswith("exit status 1, it said: last")
        made.is_ready = True
        asked(made, closes)
        while made.stderr >= 0:
            made.drain_stderr()
        assert ({made.output: select.POLLIN}, b"last") == (made.events(), made._stderr)
        assert b"code" == asked(made, COMPILES)


#: Bytes of a handshake, and the error.
HANDSHAKES: list[tuple[bytes, type[Exception], str]] = [
    (READY + b"\1\2\r\ntag", InterpreterChangedError, "has changed: magic number 01020d0a, it was 6d616769"),
    (READY + b"magiother", InterpreterChangedError, "has changed: magic number 6d616769, it was 6d616769"),
    (b"rubbish", WireError, "not the handshake of a worker"),
]


@pytest.mark.parametrize(("payload", "kind", "message"), HANDSHAKES)
def test_a_worker_of_another_interpreter(tmp_path: Path, payload: bytes, kind: type[Exception], message: str) -> None:
    """Is an error; the plan has to be made again."""
    interpreter = scripted(tmp_path, handshake=framed(payload))
    with started(interpreter) as made, pytest.raises(kind) as raised:
        make_ready(made)
    assert str(raised.value).partition("; ")[0] == (
        f"{interpreter.executable} {message}" if kind is InterpreterChangedError else message
    )


#: How a worker ends, and what is returned.
ENDS = {
    "by itself": (b"compiled()", 0),
    "with a status": (b"compiled(); os._exit(7)", 7),
    "by a signal": (b"compiled(); os.kill(os.getpid(), 15)", -15),
    "not, though its input has": (b"compiled(); time.sleep(9)", -9),
    "not, and ignores signals": (b"import signal; signal.signal(15, signal.SIG_IGN); compiled(); time.sleep(9)", -9),
}


@pytest.mark.parametrize("name", ENDS)
def test_how_a_worker_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """When its input is closed, or a little later; nothing is left of it."""
    monkeypatch.setattr(worker, "_END_TIMEOUT", 0.2)
    source, expected = ENDS[name]
    interpreter = scripted(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    made = Worker(interpreter, Limits(), USUAL, hashes=False, program="compile", leases=None)
    make_ready(made)
    assert (b"code", expected) == (asked(made, source), made.reap())
    assert (before, []) == (len(os.listdir("/proc/self/fd")), children_of(os.getpid()))


def test_a_worker_that_has_ended_is_seen(tmp_path: Path) -> None:
    """Its output ends, and nothing more can be sent; that is no error until it is read."""
    with started(scripted(tmp_path)) as made:
        make_ready(made)
        assert False is made.has_ended
        made.kill()
        assert select.select([made.output], [], [], 5)[0]
        made.send(job(COMPILES))
        made.pump_in()
        with pytest.raises(EOFError):
            list(made.pump_out())
        assert wait_for(lambda: made.has_ended)


#: The limit of one source, seconds since it began, exit status, and whether that is its processor time.
TIMES = [
    (60.0, 0.0, -signal.SIGPROF, True),
    (0.0, 0.0, -signal.SIGPROF, True),
    (60.0, 0.0, -signal.SIGKILL, False),
    (60.0, 99.0, -signal.SIGKILL, False),
    (60.0, 99.0, 1, False),
    (60.0, 59.0, 0, False),
    (60.0, 60.5, 0, True),  # a program that uses the library reaps all children
    (0.5, 0.75, 0, True),
    (0.0, 99.0, 0, False),
]


@pytest.mark.parametrize(("limit", "seconds", "status", "expected"), TIMES)
def test_whether_a_source_ran_out_of_time(
    tmp_path: Path, limit: float, seconds: float, status: int, expected: bool
) -> None:
    """By the signal of its timer; where the status is unknown, by the clock."""
    with started(scripted(tmp_path), Limits(file_timeout=limit)) as made:
        make_ready(made)
        made.deadline -= seconds
        assert expected is made.ran_out_of_time(status)


@pytest.mark.parametrize(
    ("implementation", "program", "status", "expected"),
    [
        ("pypy", "compile", -signal.SIGABRT, True),
        ("pypy", "compile", -signal.SIGSEGV, False),
        ("pypy", "compile", signal.SIGABRT, False),
        ("pypy", "compare", -signal.SIGABRT, False),  # it loads what it is given
        ("cpython", "compile", -signal.SIGABRT, False),
    ],
)
def test_whether_a_source_ran_out_of_memory(
    tmp_path: Path, implementation: str, program: str, status: int, expected: bool
) -> None:
    """PyPy aborts where CPython raises an error."""
    with started(scripted(tmp_path, implementation=implementation), program=program) as made:
        assert expected is made.ran_out_of_memory(status)


COMPLETE = "check that the interpreter's standard library is complete and readable"
OPEN = "let %s read and execute it and its standard library, or name another interpreter with --python PATH"
#: Rights of a worker, what is known of it, its exit status, and message and hint.
FAILURES: list[tuple[Rights, dict[str, Any], int, str, str]] = [
    (Rights(), {}, 3, "can't run a worker: exit status 3", COMPLETE),
    (Rights(), {"overdue": True}, -9, "can't run a worker: it was not ready in time", COMPLETE),
    (Rights(), {"garbled": True}, -9, "can't run a worker: it sent an invalid answer", COMPLETE),
    (Rights(), {}, -9, "can't run a worker: killed by SIGKILL", COMPLETE),
    (Rights(), {"_stderr": b"oh"}, 1, "can't run a worker: exit status 1, it said: oh", COMPLETE),
    (Rights(Account(7, 7)), {}, 1, "can't run a worker as account 7: exit status 1", OPEN % "that account"),
    (Rights(Account(7, 7), 7), {}, 1, "can't run a worker: exit status 1", OPEN % "everybody"),
]


@pytest.mark.parametrize(("rights", "facts", "status", "message", "hint"), FAILURES)
def test_how_a_start_failed(
    tmp_path: Path, rights: Rights, facts: dict[str, Any], status: int, message: str, hint: str
) -> None:
    """In words, with what to do."""
    interpreter = scripted(tmp_path)
    with started(interpreter) as made:
        vars(made).update(_rights=rights, **facts)
        error = made.failed_start(status)
        assert (f"{interpreter.executable} {message}", hint) == (error.message, error.hint)


@pytest.mark.parametrize(
    ("rights", "who", "hint"),
    [
        (Rights(), f"account {os.geteuid()}", OPEN % "that account"),
        (Rights(Account(7, 7)), "account 7", OPEN % "that account"),
        (Rights(Account(7, 7), 7), "an unprivileged account", OPEN % "everybody"),
        (Rights(leased=7), "an unprivileged account", OPEN % "that account"),
        (Rights(leased=0), "an unprivileged account", OPEN % "that account"),
    ],
)
def test_who_can_not_read_the_library(tmp_path: Path, rights: Rights, who: str, hint: str) -> None:
    """And for whom to open it."""
    interpreter = scripted(tmp_path)
    with started(interpreter) as made:
        made._rights = rights
        error = made.unreadable_library()
        expected = f"{interpreter.executable}: {who} can't read all of its standard library"
        assert (expected, hint) == (error.message, error.hint)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A reading and a writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_is_widened(pipe: tuple[int, int]) -> None:
    """As the kernel says; where it refuses, the pipe holds what it held."""
    assert widen(pipe[1], 1 << 18) == fcntl.fcntl(pipe[1], F_GETPIPE_SZ)
    assert widen(pipe[1], 1 << 18) >= 1 << 18
    assert widen(pipe[1], 1 << 40 >> 9) == 1 << 16


def test_reads_return_at_once(pipe: tuple[int, int]) -> None:
    """With BlockingIOError from an empty pipe; other flags stay."""
    before = fcntl.fcntl(pipe[0], fcntl.F_GETFL)
    dont_wait(pipe[0])
    assert before | os.O_NONBLOCK == fcntl.fcntl(pipe[0], fcntl.F_GETFL)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)
