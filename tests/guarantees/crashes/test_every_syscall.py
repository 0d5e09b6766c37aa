"""A sample of all faults at single system calls; that each kind is in it; and that what is wrong would be noticed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import every_syscall
from command import Command
from syscalls import KILL, LANE, PARENT, Call, Fault, Stage, Transaction, draw, errors_of, faults_of
from warm_program import Ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interpreters import Interpreter

#: What is drawn of the start of a process, of the work of one that is forked, and of that of one with lanes.
SEED, START, WORK, LANES = 17, 40, 140, 120


@pytest.mark.parametrize(
    ("stages", "count", "part"),
    [("start", START, "1/1")]
    + [(*each, part) for each in (("work", WORK), ("lanes", LANES)) for part in ("1/2", "2/2")],
)
def test_a_sample_of_all_faults(tmp_path: Path, strace: str, stages: str, count: int, part: str) -> None:
    """Always the same kinds of calls, 300; each is judged alone, and at the end the locks are, too."""
    options = ["--seed", str(SEED), "--stages", stages, "--count", str(count), "--part", part]
    command = [sys.executable, every_syscall.__file__, *options, "--directory", str(tmp_path)]

    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=550)

    said = child.stdout.decode()
    assert (0, b"") == (child.returncode, child.stderr), said
    found = {what: int(number) for number, what in re.findall("([0-9]+) (right|not reached)", said.splitlines()[-1])}
    expected = count // int(part.partition("/")[2])
    assert found["right"] >= expected * 2 // 3, said
    assert found.get("not reached", 0) <= expected // 10, said
    assert [] == list(tmp_path.iterdir())


# -- what is drawn ---------------------------------------------------------------------------------------------------


def calls_of(*texts: str) -> list[Call]:
    """Calls as strace shows them."""
    names = [text.partition("(")[0] for text in texts]
    counts = [names[: number + 1].count(name) for number, name in enumerate(names)]
    return [Call(number, *each, Stage.WORK) for number, each in enumerate(zip(names, counts, texts))]


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ('openat(AT_FDCWD</>, "/a", O_RDONLY|O_CLOEXEC) = 3</a>', "EIO EINTR EMFILE"),
        ('openat(AT_FDCWD</>, "/a", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3</a>', "EIO ENOSPC EINTR EMFILE"),
        ('read(3</a>, ""..., 10) = 10', "EIO EINTR"),
        ('read(3<pipe:[17]>, ""..., 10) = 10', "EINTR"),
        ('write(1<pipe:[17]>, ""..., 10) = 10', "EINTR"),
        ('pwrite64(3</a>, ""..., 10, 0) = 10', "EIO ENOSPC EINTR"),
        ("fcntl(3</a>, F_GETFD) = 0", ""),
        ("fcntl(3</a>, F_DUPFD_CLOEXEC, 0) = 4</a>", "EMFILE"),
        ("fcntl(3</a>, F_SETLK, {l_type=F_RDLCK}) = 0", "EINTR"),
        ("futex(0x7f, FUTEX_WAIT, 0, NULL) = 0", ""),
        ("getpid() = 17", ""),
    ],
)
def test_a_call_fails_as_its_manual_says(text: str, errors: str) -> None:
    """And not where its arguments exclude it."""
    (call,) = calls_of(text)

    assert errors.split() == list(errors_of(call))


CALLS = calls_of(
    'execve("/usr/bin/python3", [...]) = 0',
    *(
        f'openat(7</var/lib/dpkg/info>, "{number}.list", O_RDONLY) = 8</var/lib/dpkg/info/{number}.list>'
        for number in range(99)
    ),
    *(f'read(8</var/lib/dpkg/info/{number}.list>, ""..., 10) = 10' for number in range(99)),
    'read(8</site/new/module.py>, ""..., 10) = 10',
    "getpid() = 17",
)


def test_each_kind_is_drawn_and_then_one_of_each_place() -> None:
    """Of a call that starts the process there is no fault; of a loop's calls there are a few."""
    kinds = {(fault.name, fault.what) for fault in faults_of(CALLS)}

    drawn = draw(CALLS, 12, SEED)

    assert {("openat", KILL), ("openat", "EMFILE"), ("read", "EIO"), ("getpid", KILL)} < kinds
    assert "execve" not in {name for name, _ in kinds}
    assert (12, kinds) == (len(set(drawn)), {(fault.name, fault.what) for fault in drawn})
    assert {KILL, "EIO", "EINTR"} == {fault.what for fault in drawn if fault[:2] == ("read", 100)}


def test_a_seed_always_has_the_same_faults() -> None:
    """All of them are drawn in the end, each once."""
    every = draw(CALLS, 10**6, 1)

    assert every == draw(CALLS, 10**6, 1)
    assert every[:20] != draw(CALLS, 20, 2)
    assert sorted(faults_of(CALLS)) == sorted(every)
    assert every == [Fault.read(str(fault)) for fault in every]


# -- what is noticed -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transaction(tmp_path_factory: pytest.TempPathFactory, newest: Interpreter, strace: str) -> Transaction:
    """One that can be done again and again."""
    top = tmp_path_factory.mktemp("transaction")
    return Transaction(top, Command(top), newest, strace, warm=True)


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory, newest: Interpreter, strace: str) -> Transaction:
    """A larger one, with lanes."""
    top = tmp_path_factory.mktemp("lanes")
    return Transaction(top, Command(top), newest, strace, warm=True, lanes=True)


def told(code: int, out: bytes, err: bytes = b"") -> Ended:
    """A run that ended so."""
    return Ended(code, out, err, 0)


LINE = b"py313: 3 compiled, 2 refreshed, 4 removed, 0 failed in 0.10 s\n"


def first_pyc(site: Path) -> Path:
    """Some bytecode."""
    return min((site / "new/__pycache__").iterdir())


def _nothing(site: Path) -> None:
    assert site.is_dir()


def _halve(site: Path) -> None:
    pyc = first_pyc(site)
    data = pyc.read_bytes()
    pyc.unlink()  # levels may share a file
    pyc.write_bytes(data[: len(data) // 2])


TRACEBACK = b'Traceback (most recent call last):\n  File "/lib/%s", line 1, in <module>\n'
WRONG: dict[str, tuple[Callable[[Path], object], Ended, str]] = {
    "nothing": (_nothing, told(0, LINE), ""),
    "half a pyc": (_halve, told(1, b"", b"failed"), "torn: "),
    "a pyc is missing": (lambda site: first_pyc(site).unlink(), told(0, LINE), "undone, and exit 0"),
    "one is left": (lambda site: (site / "gone/__pycache__").mkdir(parents=True), told(0, LINE), "left over gone/"),
    "a source was written": (
        lambda site: (site / "new/module.py").write_text(""),
        told(0, LINE),
        "a source was changed",
    ),
    "other counts": (_nothing, told(0, LINE.replace(b"3", b"2")), "counts: "),
    "no line": (_nothing, told(0, b""), "counts: "),
    "silence": (_nothing, told(1, b""), "nothing said"),
    "a crash": (_nothing, told(-signal.SIGSEGV, b""), "ended by a signal"),
    "a traceback": (_nothing, told(70, b"", TRACEBACK % b"pyctrigger/cli/main.py"), "traceback: "),
    "a library's traceback": (_nothing, told(0, LINE, TRACEBACK % b"python3.11/hashlib.py"), ""),
}


@pytest.mark.parametrize(("damage", "ended", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_run_is_noticed(
    transaction: Transaction, damage: Callable[[Path], object], ended: Ended, expected: str
) -> None:
    """In the tree, by its exit code or in what it said."""
    transaction.calls()
    damage(transaction.site)

    found = list(transaction.judge(ended, killed=False, stage=Stage.WORK))

    assert bool(expected) == any(expected in each for each in found), found


def test_a_line_that_was_printed_before_a_kill_is_believed(transaction: Transaction) -> None:
    """So it has to be true."""
    transaction.calls()
    assert [] == list(transaction.judge(told(-signal.SIGKILL, LINE), killed=True, stage=Stage.WORK))
    first_pyc(transaction.site).unlink()

    assert [] == list(transaction.judge(told(-signal.SIGKILL, b""), killed=True, stage=Stage.WORK))
    (found,) = transaction.judge(told(-signal.SIGKILL, LINE), killed=True, stage=Stage.WORK)

    assert "its line said more than was done" in found


LEFT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (_nothing, ""),
    "a pyc is missing": (lambda site: first_pyc(site).unlink(), ""),
    "a stranger's file": (lambda site: (site / "new/data").touch(), "left over new/data"),
    "an empty directory": (lambda site: (site / "other").mkdir(), "left over other/"),
    "residue in the state": (lambda site: (site.parent / "state/1.tmp").touch(), "left over in the state: ['1.tmp']"),
    "a source that can't be compiled": (lambda site: (site / "bad.py").write_text("= ="), "the plain run failed"),
}


@pytest.mark.parametrize(("damage", "expected"), LEFT.values(), ids=LEFT)
def test_what_a_plain_run_leaves_is_noticed(
    transaction: Transaction, damage: Callable[[Path], object], expected: str
) -> None:
    """What it mends is nobody's fault."""
    transaction.calls()
    damage(transaction.site)

    found = list(transaction.judge_plain_run())

    assert bool(expected) == any(expected in each for each in found), found


def test_a_fault_meets_its_call_and_no_other(transaction: Transaction) -> None:
    """The second rename fails: that file and no other is named, and the plain run writes it."""
    renames = [call for call in transaction.calls() if call.name.startswith("rename") and ".pyc" in call.text]

    verdict = transaction.suffer(Fault(renames[0].name, renames[0].nth, "ENOSPC"))

    assert (True, 1, [], "") == verdict


def test_what_isn_t_reached_is_no_success(transaction: Transaction) -> None:
    """Where time decides about calls, one may not come."""
    verdict = transaction.suffer(Fault("rename", 10_000, KILL))

    assert (False, 0, [], "") == verdict


def test_a_lane_is_met(lanes: Transaction) -> None:
    """It sweeps, refreshes and compiles, and its host does neither."""
    changes = [call for call in lanes.calls() if re.match("(renameat|unlinkat).*/tree/site/", call.text)]

    assert {LANE} == {call.process for call in changes}
    for name in ("gone", "edited", "new"):
        assert any(f"/site/{name}" in call.text for call in changes)


#: Each was wrong once: what is tried, wherever such a call comes.
MENDED: dict[str, tuple[str, str, str]] = {
    "temporary file in the journal": (PARENT, r"newfstatat\([0-9]+<[^>]*/journal/[^>]*\.tmp>", "EIO"),
    "temporary file of a lane": (LANE, r"renameat\([^,]*/edited/__pycache__>", KILL),
    "files that a lane had removed": (LANE, r"unlinkat\([^,]*/gone/__pycache__>", KILL),
}


@pytest.mark.parametrize(("process", "call", "what"), MENDED.values(), ids=MENDED)
def test_what_was_found_stays_mended(
    transaction: Transaction, lanes: Transaction, process: str, call: str, what: str
) -> None:
    """With the plain run afterwards."""
    disturbed = transaction if process == PARENT else lanes
    found = [each for each in disturbed.calls() if each.process == process and re.match(call, each.text)]

    verdicts = [disturbed.suffer(Fault(each.name, each.nth, what, process)) for each in found]

    assert [(True, [], "") for _ in found] == [(each.reached, each.wrong, each.limit) for each in verdicts]
    assert verdicts
