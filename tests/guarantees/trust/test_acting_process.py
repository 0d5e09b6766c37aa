"""The process that acts as an account: it can't be started, it or its parent is killed, or it can't prove its ids."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from test_identity import ALICE, BOB, FIRST, Stage, give, namespace_of, stage

from confinement import SLOW, command_for, private_mounts, wait_for
from conftest import absent
from large_trees import bulk
from packages import pycs_below, snapshot, write_tree
from processes import children_of, lanes_of
from pyctrigger.tree.account import PATIENCE
from refusals import can_refuse, refusing
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Outcome
    from interpreters import Interpreter

__all__ = ["stage"]

pytestmark = pytest.mark.usefixtures("as_root")


def mixed(stage: Stage, owners: tuple[int, int, int] = (0, BOB, ALICE)) -> Path:
    """A site directory with a place of root's, and one each of two others."""
    site = stage.top / "site"
    for name, owner in zip(("roots", "bobs", "alices"), owners):
        give(write_tree(site, {f"{name}/m.py": "x = 1\n"}) / name, owner)
    os.chown(site, owners[0], owners[0])
    return site


def told(outcome: Outcome) -> list[tuple[str, str]]:
    """The paths of the failures, each with its kind."""
    return [(os.path.basename(each["path"]), each["kind"]) for each in outcome.failures]


def test_every_owner_has_lanes(stage: Stage) -> None:
    """Much of root's and of each account's: all of it is compiled side by side, as the account whose it is."""
    site = mixed(stage)
    for name, owner in (("roots", 0), ("bobs", BOB), ("alices", ALICE)):
        give(write_tree(site / name, bulk()), owner)
    (site / "bobs/bulk0/__pycache__").symlink_to(site / "roots")
    seen: set[int] = set()
    with stage.command.start("run", "--json", "--jobs", "3", *stage.scope(site)) as child:
        while child.poll() is None:
            lanes = lanes_of(child.pid)
            assert len(lanes) <= 3
            seen.update(lanes, (lane for each in lanes for lane in lanes_of(each)))
        assert child.stdout is not None
        (run,) = json.loads(child.stdout.read())["runs"]

    assert {("refused", "bulk0")} == {(each["kind"], each["path"].split("/")[-2]) for each in run["failures"]}
    assert 118 == run["counts"]["compiled"]
    assert len(seen) > 6
    owners = {path.lstat().st_uid: path.relative_to(site).parts[0] for path in site.rglob("*.pyc")}
    assert {0: "roots", BOB: "bobs", ALICE: "alices"} == owners
    assert [] == list((site / "roots").glob("*.pyc"))


def test_where_no_process_can_be_had_the_places_are_refused(stage: Stage) -> None:
    """Each of them, with the reason, and nothing is done there as root; what is root's own is done."""
    if not can_refuse():
        absent("a Linux with seccomp whose numbers of system calls are known")
    site = mixed(stage)
    assert 0 == stage.command.json("run", *stage.scope(site)).code
    for name in ("roots", "bobs", "alices"):
        (site / name / "m.py").unlink()
    before = snapshot(site / "bobs"), snapshot(site / "alices")
    refuse = refusing("clone", "clone3", "fork", "vfork", number=errno.EAGAIN)

    outcome = stage.command.json("run", *stage.scope(site), preexec_fn=refuse)

    assert [("alices", "refused"), ("bobs", "refused")] == sorted(told(outcome))
    assert {True} == {"no process can act" in each["message"] for each in outcome.failures}
    assert (1, 1) == (outcome.code, outcome.counts["removed"])
    assert before == (snapshot(site / "bobs"), snapshot(site / "alices"))
    assert 2 == stage.command.json("run", *stage.scope(site)).counts["removed"]


@pytest.mark.parametrize(
    ("limit", "said"),
    [(1, "no process can act as they do"), (2, "no process can be started to ask which groups account")],
)
def test_a_limit_of_processes_is_the_same(stage: Stage, limit: int, said: str) -> None:
    """For a container's root, who has no more rights than others to get past it."""
    prlimit = find_tool("prlimit") or absent("no prlimit (Debian package util-linux)")
    command = command_for(FIRST, stage.top / "state")
    if command is None:
        absent("a Python that any account may execute")
    site = mixed(stage, (FIRST, FIRST + BOB, FIRST + ALICE))
    stage.command.state.mkdir()
    os.chown(stage.command.state, FIRST, FIRST)
    with namespace_of(65536) as inside:
        program = command.program
        command.program = [*inside, *program]
        first = command.json("run", *stage.scope(site), env={"HOME": "/"})
        assert (0, 3) == (first.code, first.counts["compiled"]), first.out
        for name in ("roots", "bobs", "alices"):
            (site / name / "m.py").unlink()
        command.program = [*inside, prlimit, f"--nproc={limit}", *program]
        outcome = command.json("run", *stage.scope(site), env={"HOME": "/"})

    assert [("alices", "refused"), ("bobs", "refused")] == sorted(told(outcome)), outcome.err
    assert {True} == {said in each["message"] for each in outcome.failures}
    assert (1, 1) == (outcome.code, outcome.counts["removed"])


class Middle(NamedTuple):
    """A run that has written one pyc of an account's, and compiles his slow source."""

    site: Path
    run: subprocess.Popen[bytes]
    acting: int
    """The process that acts as he."""
    workers: list[int]
    """Its children."""


@contextmanager
def in_the_middle(stage: Stage, *options: str) -> Iterator[Middle]:
    """Get one there."""
    site = mixed(stage)
    write_tree(site, {"bobs/slow.py": SLOW})
    child = stage.command.start("run", "--json", "--jobs", "2", *options, *stage.scope(site))
    try:
        assert wait_for(lambda: any(b"/bobs/" in pyc for pyc in pycs_below(site)))
        (acting,) = children_of(child.pid)
        assert wait_for(lambda: bool(children_of(acting)))  # lanes, or workers for what those have left
        yield Middle(site, child, acting, children_of(acting))
    finally:
        child.kill()
        child.communicate()


def is_running(process: int) -> bool:
    """Whether it is there; of one that has ended somebody else may keep the number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def journal(stage: Stage) -> list[Path]:
    """What waits for the next run."""
    return list(stage.command.state.glob("*/journal/*.json"))


def finishes(stage: Stage, site: Path) -> None:
    """The next run, which finds no slow source any more; all is whole, and nothing waits."""
    give(write_tree(site, {"bobs/slow.py": "x = 1\n"}) / "bobs", BOB)
    outcome = stage.command.json("run", *stage.scope(site))
    assert (0, []) == (outcome.code, journal(stage))
    assert [] == stage.command.json("verify", *stage.scope(site)).findings
    assert ["m", "slow"] == sorted(name.partition(".")[0] for name in os.listdir(site / "bobs/__pycache__"))


@pytest.mark.parametrize("options", [(), ("--hook",)])
def test_its_death_is_one_failure_for_each_place(stage: Stage, options: tuple[str, ...]) -> None:
    """Its workers end with it, the parent does at once, the lock is free, and the journal keeps the work."""
    with in_the_middle(stage, *options) as (site, run, acting, workers):
        began = time.monotonic()
        os.kill(acting, signal.SIGKILL)
        document = json.loads(run.communicate(timeout=60)[0])
        assert time.monotonic() - began < 10
        assert wait_for(lambda: not any(map(is_running, workers)))
    assert (1, 1) == (document["exit_code"], document["runs"][0]["counts"]["compiled"])
    failures = document["runs"][0]["failures"]
    said = "the process that acted as that account has ended (killed by SIGKILL)"
    assert [(f"{site}/{name}", "crash", said) for name in ("alices", "bobs")] == [
        (each["path"], each["kind"], each["message"]) for each in failures
    ]
    assert 1 == len(journal(stage))
    finishes(stage, site)


def test_it_ends_with_its_parent(stage: Stage) -> None:
    """At once, however that ends, with its workers; what was being written is written whole, or not at all."""
    with in_the_middle(stage) as (site, run, acting, workers):
        run.kill()
        run.wait()
        assert wait_for(lambda: not any(map(is_running, (acting, *workers))))
        assert 1 == len(journal(stage))
        finishes(stage, site)


def test_a_database_of_groups_that_hangs_costs_one_wait(stage: Stage) -> None:
    """However many accounts have places: they are refused, and the rest is done."""
    site = mixed(stage)
    before = snapshot(site / "bobs"), snapshot(site / "alices")
    with private_mounts("mount -t tmpfs none /mnt; mkfifo /mnt/group; mount --bind /mnt/group /etc/group") as inside:
        stage.command.program = [*inside, *stage.command.program]
        began = time.monotonic()
        outcome = stage.command.json("run", *stage.scope(site))
        elapsed = time.monotonic() - began

    said = [f"the system's databases don't say which groups account {uid} has" for uid in (ALICE, BOB)]
    assert list(zip(("alices", "bobs"), ("refused", "refused"))) == told(outcome)
    assert said == [each["message"] for each in outcome.failures]
    assert (1, 1) == (outcome.code, outcome.counts["compiled"])
    assert before == (snapshot(site / "bobs"), snapshot(site / "alices"))
    assert elapsed < 2 * PATIENCE


_THREADED = """
import sys, threading
sys.path[:0] = sys.argv[1].split("|")
from pyctrigger import run_trigger
ended = threading.Event()
threading.Thread(target=ended.wait).start()
report = run_trigger(sys.argv[2], None, site_dirs=[sys.argv[3]], state_dir=sys.argv[4])
ended.set()
print(report.runs[0].tally.counts.compiled)
"""


def test_a_program_with_threads_is_not_warned(stage: Stage, newest: Interpreter) -> None:
    """From Python 3.12 on each fork of such a process is called dangerous: what is done in ours isn't."""
    if newest.version < (3, 12):
        absent("a Python that warns of forks")
    site = mixed(stage)
    os.chown(site / "roots", 0, ALICE)  # its `__pycache__` is made by a process that has that group
    named = [importlib.util.find_spec(name) for name in ("pyctrigger", "filelock", "platformdirs")]
    places = {os.path.dirname(os.path.dirname(each.origin)) for each in named if each and each.origin}
    arguments = ["|".join(places), stage.python, str(site), str(stage.top / "state")]
    child = subprocess.run(
        [newest.path, "-W", "always", "-c", _THREADED, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ("3\n", "") == (child.stdout, child.stderr)
    assert ALICE == os.stat(site / "roots/__pycache__").st_gid
