"""Killed at any moment: nothing torn, nothing left over, nothing lost; and what becomes durable before what."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from packages import assert_none_torn, not_fresh, pycs_below, sources_below, write_tree
from processes import processes_of, wait_until

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

#: How often hosts and workers are killed in all.
KILLS = int(os.environ.get("PYCTRIGGER_TEST_KILLS", "200"))
PACKAGES, MODULES = 48, 6
#: A host that dawdles around each write and rename: kills come there that would seldom come.
_SLOW = """
import os, sys, time
def dawdling(call):
    def slow(*arguments, **options):
        time.sleep(0.002)
        answer = call(*arguments, **options)
        time.sleep(0.002)
        return answer
    return slow
os.write, os.rename = dawdling(os.write), dawdling(os.rename)
from pyctrigger.cli import main
sys.exit(main())
"""


def source(package: int, module: int, version: int) -> str:
    """A source whose bytecode takes more than a page."""
    lines = "".join(f"name_{line} = 'text {package} {module} {version} {line}'\n" for line in range(60))
    return f"{lines}VALUE = {version}\n"


def is_announced(paths: set[str], state: Path) -> bool:
    """Whether all of these paths are in the journals below a state directory, or everything is (a hook's glance)."""
    told: set[str] = set()
    for entry in state.glob("*/journal/*.json"):
        with contextlib.suppress(FileNotFoundError):
            its_paths = json.loads(entry.read_text())["paths"]
            told.update(paths if its_paths is None else (bytes.fromhex(path).decode() for path in its_paths))
    return paths <= told


class Killer:
    """Starts runs, three at a time, and kills them and their workers."""

    def __init__(self, command: Command, site: Path, executable: Path) -> None:
        self.command = command
        self.site = site
        self.executable = executable
        self.scope = ["--python", str(executable), "--site-dir", str(site)]
        self.chance = random.Random(200)
        self.kills = {"host": 0, "worker": 0}
        self.owed: set[int] = set()
        """The packages whose last change was announced."""
        self._program = command.program
        self._version = 1

    @property
    def killed(self) -> int:
        """How many processes."""
        return sum(self.kills.values())

    def round(self) -> None:
        """Change twelve packages; three runs at once have four each to do, and none comes to its end undisturbed.

        One of the four only gets other times: its headers are refreshed.
        """
        self._version += 1
        touched = self.chance.sample(range(PACKAGES), 12)
        for number, package in enumerate(touched):
            files = {f"p{package}/m{module}.py": source(package, module, self._version) for module in range(MODULES)}
            if number % 4 == 3:
                for name in files:
                    os.utime(self.site / name, (self._version, self._version))
            else:
                write_tree(self.site, files)
        shares = [touched[start : start + 4] for start in (0, 4, 8)]
        children = [self._start(share) for share in shares]
        try:
            for child, share in sorted(zip(children, shares), key=lambda _: self.chance.random()):
                paths = {str(self.site / f"p{package}") for package in share}
                if self.chance.random() < 0.8:
                    wait_until(lambda: child.poll() is not None or is_announced(paths, self.command.state))  # noqa: B023
                time.sleep(self.chance.uniform(0, 0.25))
                if self.chance.random() < 0.3:
                    # On a busy machine it takes a while until there is one.
                    wait_until(lambda: child.poll() is not None or bool(processes_of(self.executable)))  # noqa: B023
                    self._kill_a_worker()
                    time.sleep(self.chance.uniform(0, 0.05))
                # Between this look and the kill more may be announced, never less: what is done is done.
                done = child.poll() is not None
                if is_announced(paths, self.command.state) or done:
                    self.owed.update(share)
                else:
                    self.owed.difference_update(share)
                if not done:
                    child.kill()
                    self.kills["host"] += 1
        finally:
            for child in children:
                child.kill()
                child.communicate()

    def _start(self, share: list[int]) -> subprocess.Popen[bytes]:
        self.command.program = [sys.executable, "-c", _SLOW] if self.chance.random() < 0.5 else self._program
        hook = ["--hook"] if self.chance.random() < 0.5 else ["--event", "upgrade"]
        child = self.command.start("run", *hook, *self.scope, *[self.site / f"p{package}" for package in share])
        self.command.program = self._program
        return child

    def _kill_a_worker(self) -> None:
        workers = processes_of(self.executable)
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(workers), signal.SIGKILL)
                self.kills["worker"] += 1


def test_killed_again_and_again_the_next_run_leaves_nothing_to_do(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter
) -> None:
    """Hosts and workers, while they wait, read, write or end, three runs at once: then one run that is told of nothing,
    or, halfway, a hook that is told of more.

    No pyc is torn at any moment; and after it all that any of the killed was told to do is done, no file in the making
    is left, and no worker.
    """
    if not os.path.isdir("/proc/self"):
        absent("procfs")
    for package in range(PACKAGES):
        write_tree(site, {f"p{package}/m{module}.py": source(package, module, 1) for module in range(MODULES)})
    executable = tmp_path / "python"
    executable.symlink_to(newest.path)
    killer = Killer(pyctrigger, site, executable)
    pyctrigger.json("run", *killer.scope)
    for kills, told in ((KILLS // 2, ["--hook", str(site)]), (KILLS, ["--paths-from", "/dev/null"])):
        while killer.killed < kills:
            killer.round()
            assert_none_torn(newest, [path for path in pycs_below(site) if path.endswith(b".pyc")])

        outcome = pyctrigger.json("run", *killer.scope, *told)

        assert (0, 0) == (outcome.code, outcome.counts["failed"]), outcome.err
        assert [] == [path for path in pycs_below(site) if not path.endswith(b".pyc")]
        owed = [path for package in sorted(killer.owed) for path in sources_below(site / f"p{package}")]
        assert len(owed) > PACKAGES * MODULES // 2
        assert [] == not_fresh(newest, owed)
        assert [] == list(pyctrigger.state.glob("*/journal/*.json"))
        wait_until(lambda: not processes_of(executable))
        status = pyctrigger.json("status", *killer.scope).run["status"]
        assert (0, 0, 0) == (status["pending"], status["residue"], status["orphans"])
    assert min(killer.kills.values()) > KILLS // 20
    assert 0 == pyctrigger.json("run", *killer.scope).code
    assert [] == pyctrigger.json("verify", "--compare-code", *killer.scope).findings


def test_what_a_killed_run_wrote_is_not_taken_for_another_sources(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """Killed before anything was recorded, and then other sources come with the same clamped times and sizes."""
    scope = ["--python", newest.path, "--site-dir", str(site)]

    def install(version: int) -> None:
        write_tree(site, {f"package/m{number}.py": f"x = {version}\n" * 1500 for number in range(80)})
        for path in sources_below(site):
            os.utime(path, (10**9, 10**9))

    install(1)
    with pyctrigger.start("run", "--jobs", "1", *scope) as child:
        wait_until(lambda: len(pycs_below(site)) > 20)
        child.kill()
    install(2)

    run = pyctrigger.json("run", *scope, "--paths-from", "/dev/null")

    assert (0, 80) == (run.code, run.counts["compiled"])
    assert [] == pyctrigger.json("verify", "--compare-code", *scope).findings


# -- the order in which things become durable ------------------------------------------------------------------------


def one_package(site: Path, newest: Interpreter) -> list[str]:
    """Something to compile, and the options for it."""
    write_tree(site, {f"package/m{number}.py": f"x = {number}\n" for number in range(5)})
    return ["--python", newest.path, "--site-dir", str(site)]


@pytest.mark.parametrize("what", ["compiled", "refreshed"])
def test_what_is_said_is_durable_before_it_is_said(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, strace: str, what: str
) -> None:
    """Entry on the disk, lock, pycs in their places, one sync of the file system, manifest, and only then no entry."""
    scope = one_package(site, newest)
    if what == "refreshed":
        pyctrigger.json("run", *scope)
        for path in sources_below(site):
            os.utime(path, (10**9, 10**9))
    trace = tmp_path / "trace"
    calls = "trace=rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync,pwrite64,syncfs,flock"
    pyctrigger.program = [strace, "-y", "-o", str(trace), "-e", calls, *pyctrigger.program]

    outcome = pyctrigger.json("run", *scope)

    assert (0, 5) == (outcome.code, outcome.counts[what])
    lines = trace.read_text(errors="replace").splitlines()

    def places(pattern: str) -> list[int]:
        found = [number for number, line in enumerate(lines) if re.search(pattern, line)]
        assert found, (pattern, lines)
        return found

    entry = places(r"^fsync\(\d+<[^>]*/journal/[^>]*>")
    directory = places(r"^fsync\(\d+<[^>]*/journal>")
    lock = places(r"^flock\(\d+<[^>]*\.lock>, LOCK_EX")
    pycs = places(r"^rename[^(]*\(.*\.pyc\"")
    sync = places(r"^syncfs\(\d+<" + re.escape(str(site)) + r">\)\s*= 0")
    manifest = places(r"^pwrite64\(\d+<[^>]*/manifest\.sqlite>")
    on_disk = places(r"^f(data)?sync\(\d+<[^>]*/manifest\.sqlite>")
    gone = places(r"^unlink[^(]*\(.*/journal/[^/]*\.json\"")
    assert 1 == len(sync), "one for the file system, not one for each file"
    order = [entry[0], directory[0], lock[0], pycs[0], pycs[-1], sync[0], manifest[0], on_disk[-1], gone[0]]
    assert order == sorted(order)
    assert 5 == len(pycs)


def test_a_sync_that_fails_is_a_failure_and_vouches_for_nothing(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, strace: str
) -> None:
    """The disk has an error: the work stays in the journal, no record says that it was done, the next run does it."""
    scope = one_package(site, newest)
    program = pyctrigger.program
    pyctrigger.program = [strace, "-o", str(tmp_path / "trace"), "-e", "inject=syncfs:error=EIO", *program]

    failed = pyctrigger.json("run", *scope)

    assert 1 == failed.code
    assert [{"path": str(site), "kind": "io", "message": os.strerror(5)}] == failed.failures
    pyctrigger.program = program
    assert 1 == pyctrigger.json("status", *scope).run["status"]["pending"]
    assert [] == list(pyctrigger.state.glob("*/manifest.sqlite"))
    assert 0 == pyctrigger.json("run", *scope, "--paths-from", "/dev/null").code
    assert 0 == pyctrigger.json("status", *scope).run["status"]["pending"]
    assert [] == pyctrigger.json("verify", *scope).findings
