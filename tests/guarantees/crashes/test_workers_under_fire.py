"""Workers that crash, hang, are exhausted or killed: only the guilty file fails, and no process is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from command import heed_signals
from conftest import absent
from manifests import all_records
from packages import not_fresh, pycs_below, sources_below, write_tree
from processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Command
    from interpreters import Interpreter

GOOD = {f"package{number % 5}/good{number:02}.py": f"x = {number}\n" for number in range(30)}
#: 786 bytes that kill CPython 3.12 and 3.13.
CRASHES = "x = " + "[" * 60 + "a" + " for a in b]" * 60 + "\n"
#: Takes more than 350 MiB on every interpreter.
DEVOURS = "x = 1\n" * 200_000


def lingers(count: int) -> str:
    """A source whose constants all have the hash 0: the time grows with the square of their count, memory hardly."""
    return "x = 1 in {" + ",".join(str(factor * (2**61 - 1)) for factor in range(5, count + 5)) + "}\n"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], list[str]]:
    """The options for a configuration with these defaults."""

    def write(defaults: str) -> list[str]:
        path = tmp_path / "pyctrigger.toml"
        path.write_text(f"[defaults]\n{defaults}\n")
        return ["--config", str(path)]

    return write


class Target:
    """An interpreter under a name of this test's own, by which its processes are known."""

    def __init__(self, interpreter: Interpreter, directory: Path) -> None:
        if not os.path.isdir("/proc/self"):
            absent("procfs")
        self.interpreter = interpreter
        self.path = directory / Path(interpreter.path).name
        self.path.symlink_to(interpreter.path)

    def on(self, site: Path) -> list[str]:
        """The options that put it on this site directory."""
        return ["--python", str(self.path), "--site-dir", str(site)]

    def workers(self) -> list[int]:
        """Its processes that are alive."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                    if file.read().split(b"\0")[0] == os.fsencode(self.path):
                        found.append(int(name))
        return found

    def busy_workers(self) -> list[int]:
        """Those of them that have been compiling for a while (proc(5): user time, in ticks)."""
        found = []
        for pid in self.workers():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
                ticks = int(file.read().rpartition(b")")[2].split()[11])
                if ticks > 0.3 * os.sysconf("SC_CLK_TCK"):
                    found.append(pid)
        return found

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def target(newest: Interpreter, tmp_path: Path) -> Iterator[Target]:
    """The newest CPython."""
    with Target(newest, tmp_path) as target:
        yield target


def test_what_a_worker_waited_is_not_what_its_source_took(pyctrigger: Command, site: Path, target: Target) -> None:
    """On a machine that is busy for minutes a source isn't slower: a worker is stopped here while it compiles."""
    write_tree(site, {"module.py": lingers(6_000)})  # a second or two
    with pyctrigger.start("run", *target.on(site)) as child:
        wait_until(lambda: bool(target.busy_workers()))
        stopped = target.busy_workers()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(8)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        assert 0 == child.wait(60)

    (manifest,) = pyctrigger.state.glob("*/manifest.sqlite")
    (record,) = all_records(manifest)
    assert 0 < record.microseconds < 7_000_000


# -- sources that hurt -----------------------------------------------------------------------------------------------


def assert_only(outcome_code: int, failures: list[dict[str, str]], expected: dict[str, tuple[str, str]]) -> None:
    """These files failed, each with its kind and message, and no other."""
    assert 1 == outcome_code
    assert expected == {each["path"]: (each["kind"], each["message"]) for each in failures}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_source_that_crashes_the_compiler_costs_itself_alone(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], jobs: str
) -> None:
    """It is retried in a separate worker, and named; the files after it are compiled."""
    victims = [
        each for each in interpreters if each.implementation == "cpython" and each.version[:2] in {(3, 12), (3, 13)}
    ]
    if not victims:
        absent("CPython 3.12 or 3.13, which nested comprehensions kill")
    bad = {"package1/crash.py": CRASHES, "package3/crash.py": CRASHES}
    write_tree(site, {**GOOD, **bad})

    outcome = pyctrigger.json("run", "--python", victims[-1].path, "--site-dir", site, "--jobs", jobs)

    crash = ("crash", "the compiler ended: killed by SIGSEGV")
    assert_only(outcome.code, outcome.failures, {f"{site}/{name}": crash for name in bad})
    assert (30, 2) == (outcome.counts["compiled"], outcome.counts["failed"])
    assert [] == not_fresh(victims[-1], [path for path in sources_below(site) if b"good" in path])


@pytest.mark.few_targets
def test_a_source_that_takes_too_long_costs_itself_alone(
    pyctrigger: Command, site: Path, interpreter: Interpreter, config: Callable[[str], list[str]]
) -> None:
    """CPU time is what counts; the worker ends in the middle of its compile()."""
    bad = {"package1/slow.py": lingers(100_000)}
    write_tree(site, {**GOOD, **bad})
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--jobs", "1"]

    outcome = pyctrigger.json("run", *arguments, *config("file_timeout = 1"))

    timeout = ("timeout", "more than 1 s of CPU time")
    assert_only(outcome.code, outcome.failures, {f"{site}/{name}": timeout for name in bad})
    assert 30 == outcome.counts["compiled"]
    assert [] == not_fresh(interpreter, [path for path in sources_below(site) if b"good" in path])


@pytest.mark.few_targets
def test_a_source_that_takes_too_much_memory_costs_itself_alone(
    pyctrigger: Command, site: Path, interpreter: Interpreter, config: Callable[[str], list[str]]
) -> None:
    """No innocent file pays for what the one before it left in the worker."""
    bad = {"package1/big.py": DEVOURS}
    write_tree(site, {**GOOD, **bad})
    arguments = ["--python", interpreter.path, "--site-dir", str(site), "--jobs", "2"]

    outcome = pyctrigger.json("run", *arguments, *config('memory_limit = "256MiB"'))

    assert [(f"{site}/package1/big.py", "memory")] == [(each["path"], each["kind"]) for each in outcome.failures]
    assert (1, 30) == (outcome.code, outcome.counts["compiled"])
    assert [] == not_fresh(interpreter, [path for path in sources_below(site) if b"good" in path])


def test_all_of_them_in_one_run_are_told_apart(
    pyctrigger: Command, site: Path, newest: Interpreter, config: Callable[[str], list[str]]
) -> None:
    """Each with its own kind, as one line for people; what isn't a fact about the source is retried later."""
    bad = {"package0/slow.py": lingers(100_000), "package1/big.py": DEVOURS, "package2/syntax.py": "x = = 1\n"}
    write_tree(site, {**GOOD, **bad})
    arguments = ["--python", newest.path, "--site-dir", str(site)]

    first = pyctrigger.text("run", *arguments, *config('file_timeout = 1\nmemory_limit = "256MiB"'))

    assert 1 == first.code
    assert [
        f"{site}/package0/slow.py: timeout: more than 1 s of CPU time",
        f"{site}/package1/big.py: memory: needs more than 256 MiB",
        f"{site}/package2/syntax.py: syntax: line 1, SyntaxError",
    ] == sorted(first.err.splitlines())
    assert f"{newest.flavour}: 30 compiled, 0 removed, 3 failed in " in first.out
    write_tree(site, {"package0/slow.py": lingers(10)})
    second = pyctrigger.json("run", *arguments)
    assert (0, 2, 1) == (second.code, second.counts["compiled"], second.counts["skipped"])
    assert [] == not_fresh(newest, [path for path in sources_below(site) if b"syntax" not in path])


def test_what_exceeded_a_limit_waits_for_a_change(
    pyctrigger: Command, site: Path, newest: Interpreter, config: Callable[[str], list[str]]
) -> None:
    """No hook tries it again at the same limits: another content, another limit or a repair does."""
    write_tree(site, {"slow/m.py": lingers(100_000), "big/m.py": DEVOURS})
    arguments = ["--python", newest.path, "--site-dir", str(site)]
    limited = [*arguments, *config('file_timeout = 1\nmemory_limit = "256MiB"')]

    first = pyctrigger.json("run", "--hook", *limited)
    assert ["memory", "timeout"] == sorted(each["kind"] for each in first.failures)
    assert 0 == pyctrigger.json("status", *limited).run["status"]["pending"]

    os.utime(site / "slow/m.py", (1, 1))
    again = pyctrigger.json("run", "--hook", *limited, site)
    assert (0, 2, []) == (again.document["exit_code"], again.counts["skipped"], again.failures)
    assert ["uncompilable"] * 2 == [each["kind"] for each in pyctrigger.json("verify", *limited).findings]
    assert pyctrigger.json("repair", *limited).run["elapsed_seconds"] > 1

    write_tree(site, {"slow/m.py": lingers(10)})
    assert (1, 1) == (*(pyctrigger.json("run", *limited).counts[name] for name in ("compiled", "skipped")),)
    assert 1 == pyctrigger.json("run", *arguments, *config("file_timeout = 600")).counts["compiled"]


def test_what_the_surroundings_did_is_not_remembered(
    pyctrigger: Command, site: Path, target: Target, config: Callable[[str], list[str]]
) -> None:
    """A caller's lower limit (ulimit -v), and somebody's SIGPROF: the next run compiles the source."""
    write_tree(site, {"big/m.py": DEVOURS})

    def leave_little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (280 << 20, 280 << 20))

    first = pyctrigger.json("run", *target.on(site), *config(""), preexec_fn=leave_little)
    assert ["memory"] == [each["kind"] for each in first.failures]
    assert 1 == pyctrigger.json("run", *target.on(site)).counts["compiled"]

    write_tree(site, {"slow/m.py": lingers(6_000)})  # a second or two
    with pyctrigger.start("run", *target.on(site), "--json") as child:
        wait_until(lambda: bool(target.busy_workers()))
        for pid in target.busy_workers():
            os.kill(pid, signal.SIGPROF)
        child.communicate(timeout=200)
    assert 1 == child.returncode
    assert 1 == pyctrigger.json("run", *target.on(site)).counts["compiled"]


#: A host whose worker leaves out the last level of each answer.
_SHORT = """
import sys
from pyctrigger.workers import wire
parse = wire.parse_reply
def shortened(payload):
    reply, retiring = parse(payload)
    return (reply._replace(levels=reply.levels[:-1]) if isinstance(reply, wire.Compiled) else reply), retiring
wire.parse_reply = shortened
from pyctrigger.cli import main
sys.exit(main())
"""


def test_an_answer_with_one_level_too_few_is_no_success(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Nothing of it is written, and the next run compiles the source at both levels."""
    write_tree(site, {"m.py": "assert True\n"})
    arguments = ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1"]
    program = pyctrigger.program
    pyctrigger.program = [sys.executable, "-c", _SHORT]

    outcome = pyctrigger.json("run", *arguments)

    crash = ("crash", "the worker's answer is incomplete")
    assert_only(outcome.code, outcome.failures, {f"{site}/m.py": crash})
    assert (0, []) == (outcome.counts["compiled"], pycs_below(site))
    pyctrigger.program = program
    assert (1, 2) == (pyctrigger.json("run", *arguments).counts["compiled"], len(pycs_below(site)))


# -- workers that are killed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_worker_killed_by_hand_costs_nothing(pyctrigger: Command, site: Path, target: Target, jobs: str) -> None:
    """What it had before it is compiled by another; nothing is called a crash."""
    write_tree(site, {f"package{number % 9}/m{number:03}.py": lingers(1500 + number) for number in range(24)})

    with pyctrigger.start("run", *target.on(site), "--json", "--jobs", jobs) as child:
        for _ in range(2):
            wait_until(lambda: bool(target.busy_workers()))
            for pid in target.busy_workers()[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        out, err = child.communicate(timeout=200)

    assert (0, b"") == (child.returncode, err), out
    assert [] == not_fresh(target.interpreter, sources_below(site))
    assert [] == target.workers()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda each: each.name
)
def test_no_worker_outlives_its_host(
    pyctrigger: Command, site: Path, target: Target, config: Callable[[str], list[str]], number: signal.Signals
) -> None:
    """Even during a compile() that takes minutes, when nothing is left to notify them."""
    write_tree(site, {"a/slow.py": lingers(200_000), "b/slow.py": lingers(200_001)})
    options = config("file_timeout = 0")

    with pyctrigger.start("run", *target.on(site), "--jobs", "2", *options, preexec_fn=heed_signals) as child:
        wait_until(lambda: len(target.busy_workers()) == 2)
        child.send_signal(number)
        child.communicate(timeout=60)

    wait_until(lambda: not target.workers())


@pytest.mark.parametrize("flavour", ["oldest", "pypy"])
def test_no_worker_of_another_kind_outlives_its_host(
    pyctrigger: Command,
    site: Path,
    tmp_path: Path,
    interpreters: list[Interpreter],
    config: Callable[[str], list[str]],
    flavour: str,
) -> None:
    """The same for the oldest CPython and for PyPy, killed with -9."""
    found = [each for each in interpreters if (each.implementation == "pypy") == (flavour == "pypy")]
    if not found:
        absent("PyPy 3")
    write_tree(site, {"a/slow.py": lingers(200_000)})

    with Target(found[0], tmp_path) as target:
        with pyctrigger.start("run", *target.on(site), *config("file_timeout = 0")) as child:
            wait_until(lambda: bool(target.busy_workers()))
            child.kill()
            child.communicate(timeout=60)

        wait_until(lambda: not target.workers())


def test_the_next_run_after_a_killed_host_has_its_lock(pyctrigger: Command, site: Path, target: Target) -> None:
    """A lock is released with its holder, and isn't kept by the worker."""
    write_tree(site, {"a/slow.py": lingers(200_000)})
    with pyctrigger.start("run", *target.on(site)) as child:
        wait_until(lambda: bool(target.busy_workers()))
        child.kill()
        child.communicate(timeout=60)
    write_tree(site, {"a/slow.py": "x = 1\n"})

    outcome = pyctrigger.json("run", *target.on(site), "--lock-timeout", "20")

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])


# -- how many --------------------------------------------------------------------------------------------------------


def most_workers(pyctrigger: Command, target: Target, site: Path, *options: str, **popen: object) -> int:
    """The most workers that a run over some slow sources ever had."""
    most = 0
    with pyctrigger.start("run", *target.on(site), *options, **popen) as child:
        while child.poll() is None:
            most = max(most, len(target.workers()))
            time.sleep(0.01)
        child.communicate(timeout=60)
    assert 0 == child.returncode
    return most


@pytest.fixture
def busy_site(site: Path) -> Path:
    """Sources for as many workers as there may be: each is more than a worker gets ahead of the one it has."""
    return write_tree(site, {f"m{number}.py": lingers(2500 + number) + "#" * (1 << 17) for number in range(6)})


def test_the_asked_number_of_workers_is_had(pyctrigger: Command, target: Target, busy_site: Path) -> None:
    """Also where the machine would allow fewer."""
    assert 3 == most_workers(pyctrigger, target, busy_site, "--jobs", "3")


def test_without_a_number_the_affinity_bounds_the_workers(pyctrigger: Command, target: Target, busy_site: Path) -> None:
    """`taskset` on one CPU means one worker."""
    one = {min(os.sched_getaffinity(0))}

    assert 1 == most_workers(
        pyctrigger, target, busy_site, "--jobs", "0", preexec_fn=lambda: os.sched_setaffinity(0, one)
    )


def test_without_a_number_all_cpus_of_the_affinity_are_used(
    pyctrigger: Command, target: Target, busy_site: Path
) -> None:
    """Two CPUs, two workers."""
    two = set(sorted(os.sched_getaffinity(0))[:2])
    if len(two) < 2:
        pytest.skip("a machine with one CPU")

    assert 2 == most_workers(pyctrigger, target, busy_site, preexec_fn=lambda: os.sched_setaffinity(0, two))


@pytest.fixture
def cgroup(as_root: None) -> Iterator[Path]:
    """A control group that gets the time of one CPU."""
    name = f"pyctrigger-test-{os.getpid()}"
    for mount, limits in (
        ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
        ("/sys/fs/cgroup", {"cpu.max": "100000 100000"}),
    ):
        group = Path(mount, name)
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for file, value in limits.items():
                (group / file).write_text(value)
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no control group can be made here")


def test_without_a_number_the_quota_of_the_cgroup_bounds_the_workers(
    pyctrigger: Command, target: Target, busy_site: Path, cgroup: Path
) -> None:
    """A container with the time of one CPU has one worker, however many CPUs it sees."""

    def enter() -> None:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    assert 1 == most_workers(pyctrigger, target, busy_site, preexec_fn=enter)


def test_a_worker_has_none_of_its_callers_groups(
    as_root: None, pyctrigger: Command, site: Path, target: Target
) -> None:
    """Whatever supplementary groups root was started with."""
    write_tree(site, {"module.py": lingers(6_000)})
    with pyctrigger.start("run", *target.on(site), preexec_fn=lambda: os.setgroups([4, 20, 27])) as child:
        wait_until(lambda: bool(target.busy_workers()))
        groups = [Path(f"/proc/{pid}/status").read_text() for pid in target.busy_workers()]
        assert 0 == child.wait(60)
    assert groups
    assert all(re.search(r"^Groups:\s*$", each, re.MULTILINE) for each in groups)
