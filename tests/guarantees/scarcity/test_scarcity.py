"""Too few descriptors, signals without end, links without end: what can be done is done, and the rest is named."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packages import not_fresh, pycs_below, sources_below, write_tree
from processes import children_of

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: A program with a timer of its own that uses us: each system call of the host may end with EINTR.
_WITH_TIMER = """
import signal, sys
rang = 0
def ring(*_):
    global rang
    rang += 1
signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
from pyctrigger.cli import main
code = main()
signal.setitimer(signal.ITIMER_REAL, 0)
assert rang > 20, rang
sys.exit(code)
"""


def build(site: Path) -> None:
    """Ten directories, nine levels deep, with more than a page of bytecode in each pyc."""
    lines = "".join(f"name_{line} = 'text {line}'\n" for line in range(200))
    files = {f"a/b/c/d/e/f/g/h{number % 10}/m{number}.py": f"{lines}x = {number}\n" for number in range(60)}
    write_tree(site, files)


def on(interpreter: Interpreter, site: Path) -> list[str]:
    """The options that put this interpreter on this site directory."""
    return ["--python", interpreter.path, "--site-dir", str(site)]


def assert_whole(interpreter: Interpreter, site: Path, count: int) -> None:
    """Nothing but pycs, and each of them good."""
    assert count == len(pycs_below(site))
    assert [] == [path for path in pycs_below(site) if not path.endswith(b".pyc")]
    assert count == len(sources_below(site)) - len(not_fresh(interpreter, sources_below(site)))


@pytest.mark.parametrize("most", [8, 11, 12, 13, 14, 15, 16, 18, 20, 22])
def test_without_descriptors_a_run_says_so_and_tears_nothing(
    pyctrigger: Command, site: Path, newest: Interpreter, most: int
) -> None:
    """Too few even for one worker: no defect, no half a file, no lost entry; once there are more, all is done."""
    build(site)

    outcome = pyctrigger.text(
        "run",
        *on(newest, site),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
    )

    assert outcome.code in (0, 1, 3, 69), outcome.err
    assert (outcome.code != 0) == ("Too many open files" in outcome.err), outcome.err
    assert_whole(newest, site, len(pycs_below(site)))
    assert 0 == pyctrigger.json("run", *on(newest, site)).code
    assert_whole(newest, site, 60)


@pytest.mark.parametrize("most", [30, 36, 48, 64])
def test_with_few_descriptors_everything_is_done(
    pyctrigger: Command, site: Path, newest: Interpreter, most: int
) -> None:
    """Fewer directories are kept open, and fewer workers, than there might be."""
    build(site)

    outcome = pyctrigger.json(
        "run",
        *on(newest, site),
        "--jobs",
        "4",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)),
    )

    assert (0, 60, []) == (outcome.code, outcome.counts["compiled"], outcome.failures)
    assert_whole(newest, site, 60)


def test_a_link_to_a_place_deeper_than_what_is_kept_open(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """The way there takes more descriptors than are kept; the directory of the link is still looked at rightly."""
    deep = "/".join(["d"] * 70)
    write_tree(site, {f"{deep}/goal.py": "x = 1\n", "package/good.py": "x = 2\n"})
    for name in ("first", "last"):
        (site / f"package/{name}.py").symlink_to(f"../{deep}/goal.py")
    assert 4 == pyctrigger.json("run", *on(newest, site)).counts["compiled"]

    assert 4 == pyctrigger.json("run", *on(newest, site)).counts["fresh"]
    verified = pyctrigger.json("verify", *on(newest, site))
    assert (0, []) == (verified.code, verified.findings)


def test_a_timer_of_the_program_around_us_interrupts_nothing(
    pyctrigger: Command, site: Path, newest: Interpreter
) -> None:
    """Two thousand signals a second with a handler: every system call that ends with EINTR is made again."""
    build(site)
    pyctrigger.program = [sys.executable, "-c", _WITH_TIMER]

    for verb in ("run", "repair", "verify"):
        outcome = pyctrigger.json(verb, *on(newest, site))
        assert (0, [], "") == (outcome.code, outcome.failures, outcome.err)

    assert_whole(newest, site, 60)


def test_a_shower_of_signals_changes_nothing(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Host and workers get SIGSTOP, SIGCONT, SIGWINCH and SIGCHLD at random moments: the same result."""
    chance = random.Random(5)
    for number in range(3):
        build(site)
        for path in sources_below(site):
            os.utime(path, (number, number))
        with pyctrigger.start("run", *on(newest, site), "--json") as child:
            while child.poll() is None:
                for pid in [child.pid, *children_of(child.pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        for sent in chance.choices([signal.SIGWINCH, signal.SIGCHLD, signal.SIGURG], k=5):
                            os.kill(pid, sent)
                        os.kill(pid, signal.SIGSTOP)
                        os.kill(pid, signal.SIGCONT)
                time.sleep(chance.uniform(0, 0.004))
            out, err = child.communicate()

        assert (0, b"") == (child.returncode, err), out
        assert_whole(newest, site, 60)
    assert 0 == pyctrigger.json("verify", *on(newest, site)).code
