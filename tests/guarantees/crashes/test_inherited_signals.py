"""Signals that the caller ignores or blocks: both survive execve(2), and neither changes what a run does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from packages import not_fresh, sources_below, write_tree
from processes import processes_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from command import Command
    from interpreters import Interpreter

#: Two equal sets are what 3.12 and later compile in a fork; PyPy forks for everything.
SOURCES = {
    f"package/module{number}.py": "def one(a):\n    return a in {1, 2}\n\ndef other(a):\n    return a in {1, 2}\n"
    for number in range(3)
}
#: What nobody can ignore or block.
ABSOLUTE = {signal.SIGKILL, signal.SIGSTOP}
CASES = {
    "CHLD": {signal.SIGCHLD},
    "all": set(signal.valid_signals()) - ABSOLUTE,
}
WAYS = ("ignored", "blocked")


def ignore(signals: Collection[int]) -> None:
    """Ignore them, as far as this system's C library lets go of them."""
    for number in signals:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)


def left(way: str, signals: Collection[int]) -> Callable[[], None]:
    """A `preexec_fn` that leaves signals behind so."""
    if way == "ignored":
        return lambda: ignore(signals)
    return lambda: (signal.pthread_sigmask(signal.SIG_SETMASK, signals), None)[1]


def lingers(count: int) -> str:
    """A source whose constants all have the hash 0: the time grows with the square of their count, memory hardly."""
    return "x = 1 in {" + ",".join(str(factor * (2**61 - 1)) for factor in range(5, count + 5)) + "}\n"


def is_busy(pid: int) -> bool:
    """Whether it has been compiling for a while (proc(5): user time, in ticks)."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[11])
    except OSError:
        return False
    return ticks > 0.3 * os.sysconf("SC_CLK_TCK")


@pytest.fixture
def forking(interpreters: list[Interpreter]) -> list[Interpreter]:
    """Targets that compile these sources in forks: the newest CPython and PyPy."""
    cpythons = [each for each in interpreters if each.implementation == "cpython" and each.version >= (3, 12)]
    pypies = [each for each in interpreters if each.implementation == "pypy"]
    if not cpythons or not pypies:
        absent("CPython 3.12 or later, and PyPy")
    return [cpythons[-1], pypies[-1]]


@pytest.fixture
def alias(interpreters: list[Interpreter], tmp_path: Path) -> Iterator[Path]:
    """The newest CPython under a name of this test's own, by which its processes are known."""
    path = tmp_path / "python"
    path.symlink_to([each for each in interpreters if each.implementation == "cpython"][-1].path)
    yield path
    for pid in processes_of(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES)
def test_everything_is_compiled_and_nothing_is_remembered(
    pyctrigger: Command, site: Path, forking: list[Interpreter], way: str, case: str
) -> None:
    """Only by the run that inherited them: the next one has nothing to do."""
    write_tree(site, SOURCES)
    pythons = [option for each in forking for option in ("--python", each.path)]

    first = pyctrigger.json("run", *pythons, "--site-dir", site, preexec_fn=left(way, CASES[case]))

    assert (0, "") == (first.code, first.err), first.out
    assert [3, 3] == [run["counts"]["compiled"] for run in first.document["runs"]]
    second = pyctrigger.json("verify", *pythons, "--site-dir", site)
    assert (0, [[], []]) == (second.code, [run["findings"] for run in second.document["runs"]])
    assert [] == [found for each in forking for found in not_fresh(each, sources_below(site))]


@pytest.mark.parametrize("way", WAYS)
def test_the_limit_of_time_still_ends_a_source(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path, way: str
) -> None:
    """SIGPROF is what ends it."""
    write_tree(site, {"slow.py": lingers(200_000)})
    (tmp_path / "short.toml").write_text("[defaults]\nfile_timeout = 1\n")

    outcome = pyctrigger.json(
        "run",
        *("--python", newest.path, "--site-dir", site, "--config", tmp_path / "short.toml"),
        preexec_fn=left(way, CASES["all"]),
    )

    assert [("timeout", "more than 1 s of CPU time")] == [(each["kind"], each["message"]) for each in outcome.failures]


@pytest.mark.parametrize("way", WAYS)
def test_no_worker_outlives_a_killed_host(pyctrigger: Command, site: Path, alias: Path, way: str) -> None:
    """SIGIO notifies it."""
    write_tree(site, {"slow.py": lingers(200_000)})

    options = "--python", alias, "--site-dir", site
    with pyctrigger.start("run", *options, preexec_fn=left(way, CASES["all"])) as child:
        wait_until(lambda: any(map(is_busy, processes_of(alias))))
        child.kill()
        child.communicate(timeout=60)

    wait_until(lambda: not processes_of(alias))


_KEEPS = """
import signal, sys
from pyctrigger.cli import main
main(["completion", "bash"])
names = [each.name for each in signal.Signals if signal.getsignal(each) == signal.SIG_IGN]
print(*sorted(names), [each.name for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())], flush=True)
"""


def test_what_nohup_and_the_shell_ignore_stays_ignored() -> None:
    """What a terminal or its end sends is the caller's to keep from us; SIGPIPE and SIGXFSZ ignores Python itself."""

    def ignored() -> None:
        ignore(CASES["all"])

    said = subprocess.run([sys.executable, "-c", _KEEPS], preexec_fn=ignored, capture_output=True, check=True).stdout
    kept = "SIGHUP SIGINT SIGPIPE SIGQUIT SIGTSTP SIGTTIN SIGTTOU SIGXFSZ []"
    assert kept in said.decode().splitlines()


_LIBRARY = """
import json, os, signal, sys
way, python, site, state, config = sys.argv[1:]
if way == "handled":
    def reap(*_):
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            pass
    signal.signal(signal.SIGCHLD, reap)
elif way == "ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGPROF, signal.SIGIO})
def standing():
    handlers = [signal.getsignal(each) for each in signal.Signals]
    return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ())
before = standing()
from pyctrigger import run_trigger
report = run_trigger(python, None, site_dirs=[site], state_dir=state, config=config)
assert before == standing()
(run,) = report.runs
print(json.dumps([run.tally.counts.compiled, [[each.kind, each.message] for each in run.tally.failures]]))
"""


@pytest.mark.parametrize("way", ["handled", "ignored", "blocked"])
def test_a_program_that_uses_us_keeps_its_signals(
    site: Path, forking: list[Interpreter], tmp_path: Path, way: str
) -> None:
    """And everything is still right, although a worker's exit status may be lost."""
    write_tree(site, {**SOURCES, "slow.py": lingers(200_000)})
    config = tmp_path / "short.toml"
    config.write_text("[defaults]\nfile_timeout = 1\n")
    for each in forking[:1]:
        command = [sys.executable, "-c", _LIBRARY, way, each.path, str(site), str(tmp_path / "state"), str(config)]
        said = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert b"" == said.stderr
        assert [3, [["timeout", "more than 1 s of CPU time"]]] == json.loads(said.stdout)
