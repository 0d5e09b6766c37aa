"""Lanes that are killed, a host that is killed or interrupted, and a system without processes: the work is done."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from command import heed_signals
from confinement import command_for, cpython_for
from conftest import absent
from environment import CHECKOUT
from large_trees import bulk, padded
from packages import not_fresh, pycs_below, sources_below, write_tree
from processes import children_of, lanes_of, wait_until
from pyctrigger.pyc.names import writer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter

#: A tenth of a second or so of one source, and enough of them that lanes are at work for a while.
_SLOWLY = "x = 1 in {" + ",".join(str(factor * (2**61 - 1)) for factor in range(5, 1_300)) + "}\n"
COUNT = 24
#: An account that no other test has processes of, not even one beside this one: they would count (RLIMIT_NPROC).
ANN = 60_000 + os.getpid() % 4_000
SOURCES = {
    f"package{number % 4}/m{number:02}.py": padded(_SLOWLY + f"y = {number}\n", 20_000) for number in range(COUNT)
}


def working_lanes(host: int) -> list[int]:
    """Those of them that have a worker."""
    return [lane for lane in lanes_of(host) if children_of(lane)]


def is_alive(process: int) -> bool:
    """Whether it runs, or waits for anything but to be reaped."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def residue_below(site: Path) -> list[bytes]:
    """Temporary files that were left."""
    return [path for path in pycs_below(site) if writer_of(os.path.basename(os.fsdecode(path))) is not None]


def kill(*processes: int) -> None:
    """Kill those that are left."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


class Scene:
    """A tree that takes lanes a while, and a run over it."""

    def __init__(self, command: Command, site: Path, python: Interpreter) -> None:
        self.command, self.site, self.python = command, site, python
        self.scope = ["--python", python.path, "--site-dir", str(site), "--jobs", "3"]
        write_tree(site, SOURCES)

    def run(self, **options: Any) -> subprocess.Popen[bytes]:
        """Start a run."""
        return self.command.start("run", "--json", *self.scope, **options)

    def check_all_is_done(self) -> None:
        """Each source is compiled, nothing is left over, and the records say so."""
        assert [] == not_fresh(self.python, sources_below(self.site))
        assert COUNT == len(pycs_below(self.site))
        again = self.command.json("run", *self.scope)
        assert (0, COUNT) == (again.code, again.counts["fresh"])
        verified = self.command.json("verify", *self.scope[:4])
        assert (0, []) == (verified.code, verified.findings)


@pytest.fixture
def scene(pyctrigger: Command, site: Path, newest: Interpreter) -> Scene:
    """One for a test."""
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        absent("a Linux /proc that lists children")
    return Scene(pyctrigger, site, newest)


def run_of(out: bytes) -> dict[str, Any]:
    """The only flavour's part of a report."""
    (run,) = json.loads(out)["runs"]
    assert isinstance(run, dict)
    return run


# -- lanes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV], ids=lambda each: each.name)
def test_a_lane_that_is_killed_costs_nothing(scene: Scene, number: signal.Signals) -> None:
    """What it had is done by another one; the report is that of a run that nobody disturbed."""
    with scene.run() as child:
        wait_until(lambda: len(working_lanes(child.pid)) >= 2)
        os.kill(working_lanes(child.pid)[0], number)
        out, err = child.communicate(timeout=200)

    assert (0, b"") == (child.returncode, err), out
    run = run_of(out)
    assert ([], [], COUNT) == (run["failures"], run["findings"], run["counts"]["compiled"])
    scene.check_all_is_done()


def test_there_are_as_many_as_workers_were_asked_for(scene: Scene) -> None:
    """Three, each with one worker at most, and one more for all that compiles apart."""
    write_tree(scene.site, {f"apart/m{number}.py": "# coding: koi8-t\nx = 1\n" for number in range(9)})
    most = 0
    with scene.run() as child:
        while child.poll() is None:
            lanes = lanes_of(child.pid)
            workers = [len(children_of(lane)) for lane in lanes]
            assert len(lanes) <= 3 + 1
            assert max(workers, default=0) <= 1
            most = max(most, sum(workers))
            time.sleep(0.002)
        assert 0 == child.returncode
    assert 4 == most


def test_lanes_that_are_killed_again_and_again_end_the_run(scene: Scene) -> None:
    """Each source is named once as failed, or compiled; the next run does the rest."""
    with scene.run() as child:
        wait_until(lambda: bool(working_lanes(child.pid)))
        while child.poll() is None:
            kill(*lanes_of(child.pid))
            time.sleep(0.01)
        out, _ = child.communicate(timeout=200)

    run = run_of(out)
    named = [each["path"] for each in run["failures"]]
    assert sorted({*named}) == sorted(named)
    assert COUNT == run["counts"]["compiled"] + run["counts"]["failed"]
    assert len(named) == run["counts"]["failed"]
    assert {"crash"} >= {each["kind"] for each in run["failures"]}
    assert (1 if named else 0) == child.returncode
    assert 0 == scene.command.json("run", *scene.scope).code
    scene.check_all_is_done()


#: A host whose lanes end when they come to a certain source.
_POISONED = """
import os, signal, sys
from pyctrigger.run.apply import compile
read = compile.Compilation._read
def fatal(self, place, stale):
    if stale.name in ("poison1.py", "poison2.py") and os.getppid() == host:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, place, stale)
compile.Compilation._read = fatal
host = os.getpid()
from pyctrigger.cli import main
sys.exit(main())
"""


def test_what_ends_two_lanes_is_named_and_everything_else_is_done(scene: Scene) -> None:
    """It is a failure with its reason, like any other."""
    write_tree(scene.site, {"poison/poison1.py": "", "poison/poison2.py": "", "poison/a.py": "", "other/m.py": ""})
    scene.command.program, program = [sys.executable, "-c", _POISONED], scene.command.program

    outcome = scene.command.json("run", *scene.scope)

    assert 1 == outcome.code
    reason = "the process that worked on it ended: killed by SIGKILL"
    named = {
        each["path"].removeprefix(f"{scene.site}/poison/"): (each["kind"], each["message"]) for each in outcome.failures
    }
    assert {"poison1.py", "poison2.py"} <= set(named) <= {"poison1.py", "poison2.py", "a.py"}
    assert {("crash", reason)} == {*named.values()}
    assert (COUNT + 4 - len(named), len(named)) == (outcome.counts["compiled"], outcome.counts["failed"])
    scene.command.program = program
    assert len(named) == scene.command.json("run", *scene.scope).counts["compiled"]


#: A host whose lanes end before a file of that source gets its name.
_CUT_SHORT = """
import os, signal, sys
from pyctrigger.tree import writer
rename = os.rename
def cut_short(temporary, name, **places):
    if name.startswith("poison") and os.getppid() == host:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(temporary, name, **places)
os.rename = cut_short
host = os.getpid()
from pyctrigger.cli import main
sys.exit(main())
"""


def test_what_a_killed_lane_was_writing_is_cleared_away(scene: Scene) -> None:
    """A temporary file is nothing that the next run has to find."""
    write_tree(scene.site, {"poison/poison1.py": "x = 1\n"})
    scene.command.program = [sys.executable, "-c", _CUT_SHORT]

    outcome = scene.command.json("run", *scene.scope)

    assert ["crash"] == [each["kind"] for each in outcome.failures]
    assert [] == residue_below(scene.site)


# -- their host ------------------------------------------------------------------------------------------------------


def everything_of(host: int) -> list[int]:
    """A host's lanes and their workers."""
    lanes = lanes_of(host)
    return [*lanes, *(worker for lane in lanes for worker in children_of(lane))]


@contextlib.contextmanager
def bystander(process: int) -> Iterator[None]:
    """Meanwhile another process, this one, has a copy of each descriptor of that process (pidfd_getfd(2))."""
    system = ctypes.CDLL(None, use_errno=True).syscall
    by_id, getfd = 434, 438
    handle = system(by_id, process, 0)
    held = [system(getfd, handle, int(each), 0) for each in os.listdir(f"/proc/{process}/fd")]
    if handle < 0 or max(held) < 0:
        absent("needs pidfd_getfd(2), of Linux 5.6")
    try:
        yield
    finally:
        for descriptor in [handle, *(each for each in held if each >= 0)]:
            os.close(descriptor)


@contextlib.contextmanager
def held_up(process: int) -> Iterator[None]:
    """Meanwhile a process does nothing, and gets no signal (ptrace(2)).

    One that SIGSTOP stops would be continued by the end of the first of its group. Each thread takes signals that are
    for all: a lane has a second one while it starts its worker.
    """
    attach, detach, any_child = 16, 17, 0x40000000
    call = ctypes.CDLL(None, use_errno=True).ptrace
    if call(attach, process, None, None):
        absent("rights to trace a process")
    assert os.WIFSTOPPED(os.waitpid(process, any_child)[1])
    threads = [int(thread) for thread in os.listdir(f"/proc/{process}/task") if int(thread) != process]
    for thread in threads:
        if call(attach, thread, None, None) == 0:
            os.waitpid(thread, any_child)
    try:
        yield
    finally:
        for each in [*threads, process]:
            call(detach, each, None, None)


@pytest.mark.parametrize("is_watched", [False, True], ids=["alone", "ends held by another"])
def test_nothing_outlives_a_killed_host(scene: Scene, is_watched: bool) -> None:
    """Lanes and workers end, a next run waits for the last of them, and puts everything in order."""
    with scene.run() as child:
        wait_until(lambda: len(working_lanes(child.pid)) == 3)
        processes = everything_of(child.pid)
        with bystander(child.pid) if is_watched else contextlib.nullcontext():
            child.kill()
            child.wait(60)
            end = time.monotonic() + 10
            while any(map(is_alive, processes)):
                assert time.monotonic() < end
                time.sleep(0.01)
        child.communicate()

    assert 0 == scene.command.json("run", *scene.scope).code
    scene.check_all_is_done()


def test_the_lock_is_not_free_before_the_last_lane_has_ended(scene: Scene) -> None:
    """A lane that is stopped when its host is killed holds it still."""
    with scene.run() as child:
        wait_until(lambda: len(working_lanes(child.pid)) == 3)
        lanes = lanes_of(child.pid)
        with held_up(lanes[0]):
            child.kill()
            child.communicate(timeout=60)
            assert 75 == scene.command.json("run", *scene.scope, "--lock-timeout", "0").code
    wait_until(lambda: not any(map(is_alive, lanes)))
    assert 0 == scene.command.json("run", *scene.scope, "--lock-timeout", "9").code
    scene.check_all_is_done()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_to_all_of_them_ends_all_of_them(scene: Scene, number: signal.Signals, code: int) -> None:
    """As from the keyboard: at once, with the usual word, and without a temporary file."""

    def lead() -> None:
        heed_signals()
        os.setpgid(0, 0)

    with scene.run(preexec_fn=lead) as child:
        wait_until(lambda: len(working_lanes(child.pid)) == 3)
        processes = everything_of(child.pid)
        begun = time.monotonic()
        os.killpg(child.pid, number)
        _, err = child.communicate(timeout=60)
        took = time.monotonic() - begun

    assert code == child.returncode
    assert (b"pyctrigger: interrupted; run it again to finish\n" if code > 0 else b"") == err
    assert took < 4
    wait_until(lambda: not any(map(is_alive, processes)))
    if code > 0:
        assert [] == residue_below(scene.site)
    assert 0 == scene.command.json("run", *scene.scope).code
    scene.check_all_is_done()


# -- where there are none --------------------------------------------------------------------------------------------

#: Says each time that a process is forked, and how many sources were compiled.
_COUNTS_FORKS = """
import sys, threading, time
sys.path.insert(0, {source!r})
sys.addaudithook(lambda event, _: event == "os.fork" and print("forked"))
import pyctrigger
if {threads}:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
report = pyctrigger.run_trigger({python!r}, None, site_dirs=[{site!r}], state_dir={state!r}, config={config!r})
print(report.runs[0].tally.counts.compiled)
"""


@pytest.mark.parametrize("threads", [False, True])
def test_nothing_is_forked_beside_another_thread(scene: Scene, threads: bool) -> None:
    """It might hold a lock that nobody would ever release; the work is done in one process."""
    config = scene.site.parent / "config.toml"
    config.write_text("[defaults]\njobs = 3\n")
    program = _COUNTS_FORKS.format(
        source=str(CHECKOUT / "src"),
        threads=threads,
        python=scene.python.path,
        site=str(scene.site),
        state=str(scene.command.state),
        config=str(config),
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    *forked, count = done.stdout.splitlines()
    assert (str(COUNT), "") == (count, done.stderr)
    assert (0 if threads else 3) == len(forked)


@pytest.mark.parametrize("limit", [3, 4, 5, 6])
def test_with_few_processes_there_are_fewer_or_none(limit: int) -> None:
    """One of an account's own, who has no more of them (RLIMIT_NPROC)."""
    with public_directory() as top:
        python = cpython_for(ANN) or absent("a Python that any account may execute")
        command = command_for(ANN, top / "state") or absent("a Python that any account may execute")
        site = write_tree(top / "site", bulk())
        for path in (top, site, *site.rglob("*")):
            os.chown(path, ANN, ANN)

        def bound() -> None:
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))

        outcome = command.json(
            "run",
            "--python",
            python,
            "--site-dir",
            site,
            "--jobs",
            "3",
            user=ANN,
            group=ANN,
            extra_groups=[],
            preexec_fn=bound,
            env={"HOME": str(top)},
        )

        assert (0, [], 40) == (outcome.code, outcome.failures, outcome.counts["compiled"])
