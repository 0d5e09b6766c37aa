"""Real workers: what they answer, what ends them, and what is left of them."""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from confinement import PATIENCE, SLOW, wait_for
from conftest import absent
from frames import READY, framed, packed_reply
from processes import children_of
from pyctrigger.errors import InterpreterChangedError, InterpreterError
from pyctrigger.interpreter.probe import probe
from pyctrigger.workers import wire
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.pool import Answer, Lost, Pool
from pyctrigger.workers.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter as Found
    from pyctrigger.interpreter.interpreter import Interpreter

# ----------------------------------------------------------------------------------------------------- real workers


@pytest.fixture(scope="session")
def target(newest: Found) -> Interpreter:
    """The newest CPython, probed."""
    return probe(newest.path).interpreter


@pytest.fixture(scope="session")
def oldest(interpreters: list[Found]) -> Interpreter:
    """The oldest CPython, probed: what is slow there stays slow."""
    found = next(each for each in interpreters if each.implementation == "cpython")
    return probe(found.path).interpreter


@pytest.fixture(scope="session")
def network(target: Interpreter) -> None:
    """What all workers of a process share is made with the first one and stays open: their empty network."""
    with Pool(target, Limits(), 1) as pool:
        assert len(list(pool.map(sources(1)))) == 1


@pytest.fixture(autouse=True)
def nothing_is_left(network: None) -> Iterator[None]:
    """No child, running or dead, and no descriptor more than before."""
    gc.collect()
    before = (_descriptors(), children_of(os.getpid()))
    yield
    gc.collect()
    assert (_descriptors(), children_of(os.getpid())) == before


def _descriptors() -> dict[str, str]:
    """What this process holds open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the directory's own
    return found


def job(source: bytes, context: object = None, path: bytes = b"/m.py") -> Job:
    """A request to compile a source at level 0."""
    return Job(wire.request([wire.LevelRequest(0)], path, source), context)


def sources(count: int) -> list[Job]:
    """Requests for short sources that differ from each other."""
    return [job(b"x = %d\n" % number, number) for number in range(count)]


def kind(answer: Any) -> str:
    """What became of a request, in a word."""
    return "compiled" if isinstance(answer, wire.Compiled) else str(answer.kind)


def test_every_target_answers_what_it_is_asked(interpreter: Found) -> None:
    """All levels of a source in one visit, names and sources of any bytes, and the kind of every failure."""
    asked = {
        "levels": wire.request([wire.LevelRequest(level) for level in (0, 1, 2)], b"/m.py", b"assert x, 'y'\n"),
        "name": wire.request([wire.LevelRequest(0)], b"/a\nb\xff\xe9.py", b"x = 1\n"),
        "cookie": wire.request([wire.LevelRequest(0)], b"/m.py", b"# coding: latin-1\nx = '\xe9'\n"),
        "syntax": wire.request([wire.LevelRequest(0)], b"/m.py", b"x = 1\ny = (\n"),
        "encoding": wire.request([wire.LevelRequest(0)], b"/m.py", b"# coding: no-such\n"),
        "empty": wire.request([wire.LevelRequest(0)], b"/m.py", b""),
    }
    known = probe(interpreter.path).interpreter
    with Pool(known, Limits(), 1) as pool:
        answers: dict[Any, Any] = {
            each.context: answer for each, answer in pool.map(Job(*item[::-1]) for item in asked.items())
        }

    assert {name: kind(answer) for name, answer in answers.items()} == {
        "levels": "compiled",
        "name": "compiled",
        "cookie": "compiled",
        "syntax": "syntax",
        "encoding": "encoding",
        "empty": "compiled",
    }
    plain, optimized, bare = answers["levels"].levels
    assert plain.body != optimized.body
    assert [level.state for level in (plain, optimized, bare)] == [wire.BODY, wire.BODY, wire.TWIN]
    assert answers["syntax"].name == "SyntaxError"
    assert answers["syntax"].line >= 2


def test_body_is_the_targets_own_marshalled_code(interpreters: list[Found]) -> None:
    """Where host and target are the same version, the host can load and run it."""
    own = [
        each for each in interpreters if each.version[:2] == sys.version_info[:2] and each.implementation == "cpython"
    ]
    with Pool(probe(own[0].path).interpreter, Limits(), 1) as pool:
        ((_, answer),) = pool.map([job(b"x = 40 + 2\n", path=b"/some/m.py")])
    assert isinstance(answer, wire.Compiled)
    code = marshal.loads(answer.levels[0].body)
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert (scope["x"], code.co_filename) == (42, "/some/m.py")


def test_hash_is_compared_by_the_target(target: Interpreter) -> None:
    """The same hash needs no body; another one does, unless only the comparison was asked for."""
    source = b"x = 1\n"
    with Pool(target, Limits(), 1, hashes=True) as pool:
        first = pool.ask(job(source))
        assert isinstance(first, wire.Compiled)
        known = wire.LevelRequest(0, first.source_hash)
        other = wire.LevelRequest(1, bytes(8))
        same = pool.ask(Job(wire.request([known, other], b"/m.py", source), None))
    with Pool(target, Limits(), 1, hashes=True, program="compare") as pool:
        looked = pool.ask(Job(wire.request([known, other], b"/m.py", source), None))
    assert first.source_hash != bytes(8)
    assert isinstance(same, wire.Compiled)
    assert isinstance(looked, wire.Compiled)
    assert [level.state for level in same.levels] == [wire.SAME, wire.BODY]
    assert [level.state for level in looked.levels] == [wire.SAME, wire.CHANGED]
    assert [level.body for level in looked.levels] == [b"", b""]


def test_one_worker_answers_in_order(target: Interpreter) -> None:
    """So that the first request without an answer is the culprit."""
    with Pool(target, Limits(), 1) as pool:
        assert [each.context for each, _ in pool.map(sources(200))] == list(range(200))


@pytest.mark.few_targets
def test_one_worker_is_enough(interpreter: Found) -> None:
    """For any number of ordinary sources: to start another one takes as long as to compile a dozen."""
    seen = set()
    with Pool(probe(interpreter.path).interpreter, Limits(), 1) as pool:
        for _ in pool.map(sources(50)):
            seen.update(children_of(os.getpid()))
    assert len(seen) == 1


def test_every_job_comes_back_once(target: Interpreter) -> None:
    """From several workers, with large sources among small ones."""
    jobs = sources(300) + [job(b"# " + b"x" * 300_000 + b"\n", number) for number in range(300, 310)]
    with Pool(target, Limits(), 3) as pool:
        answers = [(each.context, kind(answer)) for each, answer in pool.map(jobs)]
    assert sorted(answers) == [(number, "compiled") for number in range(310)]


def test_queue_is_bounded(target: Interpreter) -> None:
    """Ten thousand sources aren't read into memory before the first is compiled."""
    drawn = 0

    def draw() -> Iterator[Job]:
        nonlocal drawn
        for each in sources(2000):
            drawn += 1
            yield each

    ahead = []
    with Pool(target, Limits(), 2) as pool:
        for done, _ in enumerate(pool.map(draw()), 1):
            ahead.append(drawn - done)
    assert drawn == 2000
    assert 2 <= max(ahead) <= 512


def test_few_turns_for_many_answers(target: Interpreter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that wakes up for each answer takes a CPU from a worker each time: it looks away before each turn."""
    turns = 0
    poll = Pool._poll_workers

    def noted(pool: Pool) -> Iterator[tuple[Job, Answer]]:
        nonlocal turns
        turns += 1
        return poll(pool)

    monkeypatch.setattr(Pool, "_poll_workers", noted)
    source = b"".join(b"def f%d(x):\n    return [x, %d]\n" % (number, number) for number in range(300))
    with Pool(target, Limits(), 2) as pool:
        answered = len(list(pool.map(job(source, number) for number in range(400))))
    assert 400 == answered
    assert turns < 200  # some 50, if nobody else is at work


def test_bytes_on_the_way_are_bounded_too(target: Interpreter) -> None:
    """Eight sources of a megabyte are as many as one worker should never have before it."""
    drawn = 0

    def draw() -> Iterator[Job]:
        nonlocal drawn
        for number in range(12):
            drawn += 1
            yield job(b"#" * (1 << 20), number)

    with Pool(target, Limits(), 1) as pool:
        ahead = [drawn - done for done, _ in enumerate(pool.map(draw()), 1)]
    assert max(ahead) <= 1


def test_killed_worker_loses_no_job(target: Interpreter) -> None:
    """The out-of-memory killer picks whom it likes; every source is compiled all the same."""
    killed: list[int] = []
    answers = []
    with Pool(target, Limits(), 2) as pool:
        for each, answer in pool.map(sources(900)):
            answers.append((each.context, kind(answer)))
            if len(answers) in (20, 320, 620):
                killed.append(children_of(os.getpid())[len(killed) % 2])
                os.kill(killed[-1], signal.SIGKILL)
    assert len(set(killed)) == 3
    assert sorted(answers) == [(number, "compiled") for number in range(900)]


def test_source_that_is_too_slow_costs_itself_alone(oldest: Interpreter) -> None:
    """CPU time is bounded by the configuration; those in front and behind are compiled."""
    jobs = [*sources(5), job(SLOW.encode(), "slow"), *sources(10)[5:]]
    with Pool(oldest, Limits(file_timeout=0.5), 1) as pool:
        answers = [(each.context, answer) for each, answer in pool.map(jobs)]
    lost = dict(answers)["slow"]
    assert lost == Lost("timeout", "more than 0.5 s of CPU time", 0.5)
    assert [context for context, answer in answers if kind(answer) == "compiled"] == list(range(10))


def test_source_that_is_too_large_costs_itself_alone(oldest: Interpreter) -> None:
    """Memory is bounded by the configuration, too."""
    large = b"x = [" + b"1, " * 400_000 + b"]\n"
    jobs = [*sources(5), job(large, "large"), *sources(10)[5:]]
    with Pool(oldest, Limits(memory=64 << 20), 1) as pool:
        answers = {each.context: kind(answer) for each, answer in pool.map(jobs)}
    assert answers["large"] in ("memory", "crash")
    assert {answers[number] for number in range(10)} == {"compiled"}
    with Pool(oldest, Limits(memory=0), 1) as pool:
        assert [kind(answer) for _, answer in pool.map([job(large)])] == ["compiled"]


def test_source_that_kills_the_compiler_is_tried_alone(target: Interpreter, tmp_path: Path) -> None:
    """A crash is a source's own only when it kills a second worker, which had nothing else to do."""
    ready = READY + target.magic_number + target.cache_tag.encode()
    program = fake_python(
        tmp_path,
        f"""
        os.write(1, {framed(ready)!r})
        requests = open(0, "rb")
        while head := requests.read(4):
            if b"deadly" in requests.read(int.from_bytes(head, "little")):
                os.kill(os.getpid(), 11)
            os.write(1, {framed(packed_reply([(wire.BODY, b"code")]))!r})
        """,
    )
    jobs = [*sources(5), job(b"deadly = 1\n", "deadly"), *sources(10)[5:]]
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = {each.context: answer for each, answer in pool.map(jobs)}
    assert answers["deadly"] == Lost("crash", "the compiler ended: killed by SIGSEGV")
    assert {kind(answers[number]) for number in range(10)} == {"compiled"}


def test_worker_killed_at_its_start_loses_no_job(target: Interpreter, tmp_path: Path) -> None:
    """Once another was ready: the interpreter is no worse for it."""
    deadly = tmp_path / "deadly"
    program = fake_python(
        tmp_path,
        f"""
        if os.path.exists({str(deadly)!r}):
            os.unlink({str(deadly)!r})
            os.kill(os.getpid(), 9)
        os.execv({target.executable!r}, [{target.executable!r}, "-I", "-S", "-B", *sys.argv[1:]])
        """,
    )
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        pairs = pool.map(sources(2000))
        answers = [next(pairs)[0].context]
        deadly.touch()
        os.kill(children_of(os.getpid())[0], signal.SIGKILL)
        answers += [each.context for each, _ in pairs]
    assert not deadly.exists()
    assert set(answers) == set(range(2000))
    assert len(answers) == 2000


# -------------------------------------------------------------------------------------- programs that are no workers


def fake_python(directory: Path, body: str) -> str:
    """An executable that gets a worker's arguments and does something else: `-c PROGRAM SOURCE LIFE …` behind flags."""
    import textwrap

    path = directory / "python3"
    text = textwrap.dedent(body)
    path.write_text(f"#!{sys.executable} -IS\nimport os, sys, time\nsys.argv[1:6] = []\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_wall_limit_is_each_sources_own(target: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six sources of 0.4 s before one worker: each has the whole limit of 2 s, from its own turn on."""
    monkeypatch.setattr(Limits, "wall_timeout", 2.0)
    ready = READY + target.magic_number + target.cache_tag.encode()
    program = fake_python(
        tmp_path,
        f"""
        os.write(1, {framed(ready)!r})
        requests = open(0, "rb")
        while head := requests.read(4):
            requests.read(int.from_bytes(head, "little"))
            time.sleep(0.4)
            os.write(1, {framed(packed_reply([(wire.BODY, b"code")]))!r})
        """,
    )
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = [kind(answer) for _, answer in pool.map(sources(6))]
    assert ["compiled"] * 6 == answers


@pytest.fixture
def place() -> Iterator[Path]:
    """Where every account may write."""
    with public_directory() as directory:
        directory.chmod(0o777)
        yield directory


def test_an_overdue_worker_leaves_no_child(
    target: Interpreter, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has forked, as workers do for some sources, and neither of the two answers in time."""
    monkeypatch.setattr(Limits, "wall_timeout", 0.5)
    ready = READY + target.magic_number + target.cache_tag.encode()
    forked = place / "forked"
    program = fake_python(
        tmp_path,
        f"""
        os.setsid()
        os.write(1, {framed(ready)!r})
        os.read(0, 4)
        if os.fork() == 0:
            open({str(forked)!r}, "w").write("yes")
        time.sleep(60)
        """,
    )

    def left() -> list[str]:
        """The processes of the program."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.fsencode(program) in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                    found.append(name)
        return found

    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = [answer for _, answer in pool.map(sources(1))]
        assert [Lost("timeout", "no answer within 0.5 s")] == answers
        assert forked.exists()
        assert wait_for(lambda: not left())


NOISE = 'os.write(2, b"a library\\x1b[31m is missing\\n")\n'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(3)", "exit status 3"),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ('os.write(1, b"hi"); sys.exit(0)', "exit status 0"),
        ('os.write(1, b"hello, world\\n"); time.sleep(60)', "it sent an invalid answer"),
        ('os.write(1, b"\\xff" * 4096); time.sleep(60)', "it sent an invalid answer"),
        ('os.write(1, b"\\x05\\0\\0\\0hello"); time.sleep(60)', "it sent an invalid answer"),
        ('os.write(1, b"\\0\\0\\0\\0"); time.sleep(60)', "it sent an invalid answer"),
        ("time.sleep(60)", "it was not ready in time"),
        ("os.close(1); os.close(2); time.sleep(60)", "killed by SIGKILL"),
        ('os.write(1, b"\\x20\\0\\0\\0pyctrigger-wor"); time.sleep(60)', "it was not ready in time"),
    ],
    ids=[
        "exits",
        "dies",
        "two-bytes",
        "text",
        "rubbish",
        "other-frame",
        "empty-frame",
        "silence",
        "closed",
        "half-a-frame",
    ],
)
def test_program_that_is_no_worker_is_an_error_in_time(
    target: Interpreter, tmp_path: Path, body: str, reason: str
) -> None:
    """It is named, with how it failed and its standard error; nothing waits forever."""
    program = fake_python(tmp_path, NOISE + body)
    # Long enough for what it says, also on a busy machine; what ends or speaks doesn't use it up.
    limits = Limits(start_timeout=3 if "time.sleep(60)" in body and " is no answer" not in reason else PATIENCE * 2)
    started = time.monotonic()
    with Pool(target._replace(executable=program), limits, 2) as pool, pytest.raises(InterpreterError) as caught:
        list(pool.map(sources(3)))
    assert time.monotonic() - started < PATIENCE
    assert caught.value.exit_code == 69
    assert caught.value.message.startswith(f"{program} can't run a worker: ")
    assert reason in caught.value.message
    assert "a library?[31m is missing" in caught.value.message


def test_program_that_can_not_be_started_is_an_error(target: Interpreter, tmp_path: Path) -> None:
    """Its path and the reason, no traceback of subprocess's."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"\x7fELF")
    empty.chmod(0o755)
    for path, reason in ((empty, "Exec format error"), (tmp_path / "gone", "No such file or directory")):
        with (
            Pool(target._replace(executable=str(path)), Limits(), 1) as pool,
            pytest.raises(InterpreterError) as caught,
        ):
            list(pool.map(sources(1)))
        assert caught.value.message == f"{path} can't be started: {reason}"


def test_worker_of_another_magic_number_is_told(target: Interpreter) -> None:
    """The standard library may have been replaced since the probe: the plan has to be made again."""
    other = target._replace(magic_number=b"\x01\x02\r\n")
    with Pool(other, Limits(), 1) as pool, pytest.raises(InterpreterChangedError, match="0102"):
        list(pool.map(sources(3)))


def test_worker_that_answers_rubbish_is_replaced(target: Interpreter, tmp_path: Path) -> None:
    """Its earlier work is passed to the next one, and named in the end, source by source."""
    ready = READY + target.magic_number + target.cache_tag.encode()
    program = fake_python(
        tmp_path,
        f"""
        os.write(1, {framed(ready)!r})
        os.read(0, 4)
        os.write(1, {framed(b"rubbish")!r})
        time.sleep(60)
        """,
    )
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = {each.context: kind(answer) for each, answer in pool.map(sources(3))}
    assert answers == dict.fromkeys(range(3), "crash")


def test_worker_that_answers_a_retry_twice_is_forgotten(target: Interpreter, tmp_path: Path) -> None:
    """The first answer counts, and its worker has ended; so what it has sent besides is no failure of ours."""
    ready = READY + target.magic_number + target.cache_tag.encode()
    tried = tmp_path / "tried"
    reply = framed(packed_reply([(wire.BODY, b"code")]))
    program = fake_python(
        tmp_path,
        f"""
        os.write(1, {framed(ready)!r})
        os.read(0, 4)
        if os.path.exists({str(tried)!r}):
            os.write(1, {reply * 2!r})
            time.sleep(60)
        open({str(tried)!r}, "w").close()
        os.kill(os.getpid(), 11)
        """,
    )
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = [kind(answer) for _, answer in pool.map(sources(1))]
    assert ["compiled"] == answers


def test_workers_that_end_by_themselves_are_an_error(target: Interpreter, tmp_path: Path) -> None:
    """An interpreter whose workers leave again and again can't be worked with."""
    ready = READY + target.magic_number + target.cache_tag.encode()
    reply = framed(packed_reply([(1, b"x")], 0x80))
    program = fake_python(
        tmp_path,
        f"""
        os.write(1, {framed(ready)!r})
        os.read(0, 4)
        os.write(1, {reply!r})
        """,
    )
    with Pool(target._replace(executable=program), Limits(), 1) as pool:
        answers = [kind(answer) for _, answer in pool.map(sources(5))]
    assert answers == ["compiled"] * 5


# ------------------------------------------------------------------------------------------------- how it all ends

_HOST = """
import sys
from pyctrigger.interpreter.probe import probe
from pyctrigger.workers import wire
from pyctrigger.workers.pool import Pool
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.worker import Job
names = "".join(f" a{number} = 1\\n" for number in range(40_000))
slow = ("def f():\\n" + names + " [" + "lambda: 0," * 15_000 + "]\\n").encode()  # each lambda has its copy of the names
request = wire.request([wire.LevelRequest(0)], b"/m.py", slow)
with Pool(probe(sys.argv[1]).interpreter, Limits(), 3) as pool:
    list(pool.map(Job(request, None) for _ in range(6)))
print("done")
"""


def cpu_ticks(pid: int) -> int:
    """The processor time that a process has had, in ticks; -1 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] in "ZX" else int(fields[11])


def test_workers_die_with_their_host(interpreter: Found) -> None:
    """Killed with -9 during a compile() that takes half a minute and reads no pipe."""
    host = subprocess.Popen([sys.executable, "-c", _HOST, interpreter.path], stdout=subprocess.PIPE)
    workers: list[int] = []
    try:

        def busy() -> bool:
            # A third of a second of their own time: the start takes a tenth of that, the rest is compile().
            workers[:] = [pid for pid in children_of(host.pid) if cpu_ticks(pid) > os.sysconf("SC_CLK_TCK") / 3]
            return len(workers) == 3 or host.poll() is not None

        assert wait_for(busy)
        host.kill()
        said, _ = host.communicate(timeout=PATIENCE)
        assert said == b""
        assert host.returncode == -signal.SIGKILL
        assert wait_for(lambda: all(cpu_ticks(pid) < 0 for pid in workers)), workers
    finally:
        for pid in workers:
            if cpu_ticks(pid) >= 0:
                os.kill(pid, signal.SIGKILL)
        host.kill()
        host.wait()


def test_fifty_pools_leave_nothing(target: Interpreter) -> None:
    """Neither those that ended well nor those that were left in the middle; the fixture above counts."""
    for number in range(50):
        with Pool(target, Limits(), 2) as pool:
            answers = pool.map(sources(20))
            next(answers)
            if number % 2:
                assert sum(1 for _ in answers) == 19


def test_error_in_the_middle_leaves_nothing(target: Interpreter) -> None:
    """What reads the sources may fail at any time."""

    def draw() -> Iterator[Job]:
        yield from sources(30)
        raise OSError("the disk is gone")

    with Pool(target, Limits(), 2) as pool, pytest.raises(OSError, match="the disk is gone"):
        list(pool.map(draw()))


def test_workers_that_never_start_to_fork_end_the_run(interpreters: list[Found], tmp_path: Path) -> None:
    """Those that compile answer all the time; that says nothing about the ones that are kept for forking."""
    python = next((each for each in interpreters if each.implementation == "cpython" and each.version >= (3, 12)), None)
    if python is None:
        absent("needs a CPython from 3.12 on")
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\ncase "$*" in *" 1") exit 1;; esac\nexec {python.path} "$@"\n')
    script.chmod(0o755)
    broken = probe(python.path).interpreter._replace(executable=str(script))
    # It has equal sets of names that Python itself has interned: a fork of a process that has compiled nothing has it.
    typing = Path(python.prefix, "lib", "python{}.{}".format(*python.version), "typing.py").read_bytes()
    jobs = [Job(wire.request([wire.LevelRequest(0)], b"/m.py", source), None) for source in (b"x = 1\n", typing)]

    with Pool(broken, Limits(), 1) as pool, pytest.raises(InterpreterError, match="workers end for no known reason"):
        list(pool.map(jobs))
