"""What a run does besides its own request: what others left, and what has changed."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Callable

import pytest

from acting import ANN, working_as
from pyctrigger.run.plan.survey import Survey
from pyctrigger.run.scope.request import Work
from pyctrigger.workers.worker import Worker
from unit.run.calls import Caller, anns, caller, public  # noqa: F401 - fixtures

#: Of an environment.
PACKAGES = "/lib/python3.{}/site-packages/"


def announce_in(c: Caller, name: str, paths: tuple[str, ...] | None, **fields: Any) -> None:
    """Write a transaction about an environment under another name into the journal; paths begin after the name."""
    prefix, minor = f"{c.top}/{name}", c.interpreter.version[1]
    named = None if paths is None else tuple(prefix + path.format(minor) for path in paths)
    c.announce(named, site_dirs=(), prefixes=(prefix,), **fields)


#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "found besides": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (
            lambda c: c.call(paths=("p",), hook=True),
            ["compiled S/p/a.py: missing", "compiled S/q/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.call(paths=(), hook=True), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: c.make({"q/d.py": b"x = 3\n", "p/a.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("p",), hook=True),
            [
                "compiled S/p/a.py: content",
                "compiled S/q/d.py: missing",
                "FLAVOUR: done {'compiled': 2, 'fresh': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.make({"q/d.py": b"x = 4\n", "p/a.py": b"x = 2345\n"}), None),
        (
            lambda c: c.locks(lambda: c.call(paths=("p",), hook=True, lock_timeout=0.0)),
            [
                "FLAVOUR: locked {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; the work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)"]),
        (
            lambda c: c.call(paths=("p",), hook=True, lock_timeout=0.0),
            [
                "compiled S/p/a.py: size",
                "compiled S/q/d.py: content",
                "FLAVOUR: done took over 1 {'compiled': 2, 'fresh': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history),
            ([], ["run install 0 hook 1", "run install 0 hook 1", "run install 75 hook 1", "run install 0 hook 1"]),
        ),
    ],
    "another magic number": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (
            lambda c: c.call(),
            ["compiled S/p/a.py: missing", "compiled S/q/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.know_magic(b"abcd"), None),
        (lambda c: c.call(Work.SWEEP), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: c.call(Work.VERIFY), ["FLAVOUR: looked {'fresh': 2}", "looked 0"]),
        (lambda c: c.make({"q/c.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("p",)),
            [
                "! the magic number of FLAVOUR has changed from 61626364 to MAGIC: everything is compiled again",
                "compiled S/q/c.py: missing",
                "FLAVOUR: done {'compiled': 1, 'fresh': 2}",
                "done 0",
            ],
        ),
        (lambda c: c.call(paths=("p",)), ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"]),
        (lambda c: c.know_magic(b"abcd"), None),
        (lambda c: c.call(), ["FLAVOUR: nothing-to-do {'fresh': 3}", "nothing-to-do 0"]),
        (lambda c: c.know_magic(b"abcd"), None),
        (
            lambda c: c.call(paths=("p",), hook=True),
            [
                "! the magic number of FLAVOUR has changed from 61626364 to MAGIC: everything is compiled again",
                "FLAVOUR: nothing-to-do {'fresh': 3}",
                "nothing-to-do 0",
            ],
        ),
    ],
    "an interpreter that has changed": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (lambda c: c.know(magic_number="61626364"), None),
        (
            lambda c: c.call(paths=("p",), hook=True),
            [
                "compiled S/p/a.py: missing",
                "compiled S/q/b.py: missing",
                "FLAVOUR: done {'compiled': 2}",
                "note FLAVOUR: PYTHON has changed: magic number MAGIC, it was 61626364",
                "; everything is examined again",
                "done 0",
            ],
        ),
        (lambda c: c.call(paths=("p",)), ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"]),
        (lambda c: c.know(magic_number="61626364"), None),
        (
            lambda c: c.call(Work.REPAIR),
            [
                "FLAVOUR: nothing-to-do {'fresh': 2}",
                "note FLAVOUR: PYTHON has changed: magic number MAGIC, it was 61626364",
                "; everything is examined again",
                "nothing-to-do 0",
            ],
        ),
        (lambda c: c.report.runs[0].interpreter == c.interpreter, True),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                [],
                ["run install 0 hook 1", "run install 0 person 1", "repair install 0 person 0"],
                ["p/__pycache__/a.TAG.pyc", "p/a.py", "q/__pycache__/b.TAG.pyc", "q/b.py"],
            ),
        ),
    ],
    "an interpreter that has changed, in what others left": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (lambda c: c.announce(("p",), optimize=(1,)), None),
        (lambda c: c.know(magic_number="61626364"), None),
        (
            lambda c: c.call(paths=()),
            [
                "! the magic number of FLAVOUR has changed from 61626364 to MAGIC: everything is compiled again",
                "compiled S/p/a.py: missing",
                "compiled S/q/b.py: missing",
                "FLAVOUR: done took over 1 {'compiled': 2}",
                "note FLAVOUR: PYTHON has changed: magic number MAGIC, it was 61626364",
                "; everything is examined again",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                [],
                ["run install 0 person 0"],
                ["p/__pycache__/a.TAG.opt-1.pyc", "p/a.py", "q/__pycache__/b.TAG.opt-1.pyc", "q/b.py"],
            ),
        ),
    ],
    "a lock that is held": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (
            lambda c: c.locks(lambda: c.call(paths=("p",), lock_timeout=0.0)),
            [
                "FLAVOUR: locked {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; the work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)"]),
        (
            lambda c: c.locks(lambda: c.call(paths=("q",), lock_timeout=0.0, hook=True)),
            [
                "FLAVOUR: locked took over 1 {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; the work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)", "install S/q (0)"]),
        (
            lambda c: c.locks(lambda: c.call(Work.SWEEP, lock_timeout=0.0)),
            ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"],
        ),
        (lambda c: c.put("q/gone"), None),
        (
            lambda c: c.locks(lambda: c.call(Work.SWEEP, lock_timeout=0.0)),
            [
                "FLAVOUR: locked {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; wait for it to end, or raise --lock-timeout",
                "locked 75",
            ],
        ),
        (
            lambda c: c.locks(lambda: c.call(Work.VERIFY, lock_timeout=0.0)),
            [
                "FLAVOUR: looked {}",
                "missing S/p/__pycache__/a.TAG.pyc: no bytecode for level 0 [S/p/a.py]",
                "missing S/q/__pycache__/b.TAG.pyc: no bytecode for level 0 [S/q/b.py]",
                "orphan S/q/__pycache__/gone.TAG.pyc: None [S/q/gone.py]",
                "looked 1",
            ],
        ),
        (
            lambda c: c.call(paths=()),
            [
                "removed S/q/__pycache__/gone.TAG.pyc: orphan",
                "compiled S/p/a.py: missing",
                "compiled S/q/b.py: missing",
                "FLAVOUR: done took over 2 {'compiled': 2, 'removed': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                [],
                [
                    "run install 75 person 1",
                    "run install 75 hook 1",
                    "sweep install 0 person 0",
                    "sweep install 75 person 0",
                    "run install 0 person 0",
                ],
                ["p/__pycache__/a.TAG.pyc", "p/a.py", "q/__pycache__/b.TAG.pyc", "q/b.py"],
            ),
        ),
    ],
    "a lock that is held, and what others left": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (lambda c: c.announce(("p",), optimize=(1,)), None),
        (
            lambda c: c.locks(lambda: c.call(paths=(), lock_timeout=0.0)),
            [
                "FLAVOUR: locked took over 1 {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; wait for it to end, or raise --lock-timeout",
                "locked 75",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (["remove S/p (0)"], ["run install 75 person 0"], ["p/a.py", "q/b.py"]),
        ),
    ],
    "what others left": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b"", "r/c.py": b""}), None),
        (lambda c: c.announce(("p",), 1), None),
        (lambda c: c.announce(("q",), 2, optimize=(1,)), None),
        (lambda c: c.announce(("absent",), 1, optimize=(1,)), None),
        (lambda c: c.announce(("p",), 3, optimize=(1,)), None),
        (lambda c: c.announce(("r",), optimize=(2,)), None),
        (
            lambda c: c.call(paths=("r",)),
            [
                "compiled S/p/a.py: missing",
                "compiled S/r/c.py: missing",
                "compiled S/q/b.py: missing",
                "compiled S/r/c.py: missing",
                "FLAVOUR: done took over 4 {'compiled': 4}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                ["remove S/p (3)"],
                ["run install 0 person 1"],
                [
                    "p/__pycache__/a.TAG.pyc",
                    "p/a.py",
                    "q/__pycache__/b.TAG.opt-1.pyc",
                    "q/b.py",
                    "r/__pycache__/c.TAG.opt-2.pyc",
                    "r/__pycache__/c.TAG.pyc",
                    "r/c.py",
                ],
            ),
        ),
        (
            lambda c: c.call(Work.REPAIR, paths=()),
            ["compiled S/p/a.py: missing", "FLAVOUR: done took over 1 {'compiled': 1}", "done 0"],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                [],
                ["run install 0 person 1", "repair install 0 person 0"],
                [
                    "p/__pycache__/a.TAG.opt-1.pyc",
                    "p/__pycache__/a.TAG.pyc",
                    "p/a.py",
                    "q/__pycache__/b.TAG.opt-1.pyc",
                    "q/b.py",
                    "r/__pycache__/c.TAG.opt-2.pyc",
                    "r/__pycache__/c.TAG.pyc",
                    "r/c.py",
                ],
            ),
        ),
    ],
    "what others left by mistake": [
        (lambda c: c.make({"p/a.py": b"x = 1\n"}), None),
        (lambda c: c.announce(("p",), site_dirs=("/nowhere",)), None),
        (lambda c: c.announce(("p", "../out"), optimize=(1,)), None),
        (lambda c: c.announce(("p",), prefixes=("/nowhere",), site_dirs=()), None),
        (lambda c: c.announce(("p", "../other", "../another")), None),
        (lambda c: c.announce(("",), optimize=(1,)), None),
        (lambda c: c.entry({"optimize": "no"}), None),
        (
            lambda c: c.call(paths=("p",)),
            [
                "! an entry of the journal names paths outside the scope: S/../another, S/../other",
                "compiled S/p/a.py: missing",
                "! an entry of the journal was dropped, and its work with it: --site-dir /nowhere: no such directory",
                "; to find what is missing: pyctrigger repair",
                "! an entry of the journal names paths outside the scope: S/../out",
                "compiled S/p/a.py: missing",
                "! an entry of the journal was dropped, and its work with it: /nowhere has a journal of its own",
                "; to find what is missing: pyctrigger repair",
                "! an entry of the journal was dropped, and its work with it: it can't be read",
                "; to find what is missing: pyctrigger repair",
                "FLAVOUR: done took over 6 {'compiled': 2}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            ([], ["run install 0 person 1"], ["p/__pycache__/a.TAG.opt-1.pyc", "p/__pycache__/a.TAG.pyc", "p/a.py"]),
        ),
    ],
    "what others left of another scope": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b""}), None),
        (lambda c: c.announce(("p/a.py", "q/b.py"), site_dirs=(f"{c.site}/q",)), None),
        (
            lambda c: c.call(paths=("p",)),
            [
                "compiled S/p/a.py: missing",
                "! an entry of the journal names paths outside the scope: S/p/a.py",
                "compiled S/q/b.py: missing",
                "FLAVOUR: done took over 1 {'compiled': 2}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.history, c.tree),
            (
                [],
                ["run install 0 person 1"],
                ["p/__pycache__/a.TAG.pyc", "p/a.py", "q/__pycache__/b.TAG.pyc", "q/b.py"],
            ),
        ),
    ],
    "what others left of an environment, under a name that leads elsewhere now": [
        (lambda c: c.make_environment("venv", {"p/a.py": b"x = 1\n", "q/b.py": b"", "q/c.py": b""}), None),
        (lambda c: announce_in(c, "aliasX", (PACKAGES + "p/a.py",)), None),
        (lambda c: announce_in(c, "aliasX", (PACKAGES + "q/b.py", "X/out"), optimize=(1,)), None),
        (lambda c: announce_in(c, "aliasX", None, optimize=(2,), exclude=("*b.py",)), None),
        (
            lambda c: c.call(paths=(), site_dirs=(), prefixes=(str(c.environment),)),
            [
                "compiled T/venv/lib/LIB/site-packages/p/a.py: missing",
                "! an entry of the journal names paths outside the scope: T/aliasXX/out",
                "compiled T/venv/lib/LIB/site-packages/q/b.py: missing",
                "compiled T/venv/lib/LIB/site-packages/q/c.py: missing",
                "skipped T/venv/lib/LIB/site-packages/q/b.py: excluded",
                "compiled T/venv/lib/LIB/site-packages/p/a.py: missing",
                "compiled T/venv/lib/LIB/site-packages/q/c.py: missing",
                "T/venv (FLAVOUR): done took over 3 {'compiled': 5, 'skipped': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.pending, []),
    ],
    "an interpreter that has changed, and looks elsewhere now": [
        (lambda c: c.make_environment("venv", {"p/a.py": b"x = 1\n", "../../../other/b.py": b""}), None),
        (lambda c: c.know(magic_number="61626364", inside=["/@/other"]), None),
        (
            lambda c: c.call(site_dirs=(), prefixes=(str(c.environment),)),
            [
                "compiled T/venv/lib/LIB/site-packages/p/a.py: missing",
                "T/venv (FLAVOUR): done {'compiled': 1}",
                "note FLAVOUR: PYTHON has changed: magic number MAGIC, it was 61626364",
                "; everything is examined again",
                "done 0",
            ],
        ),
    ],
    "what fails": [
        (lambda c: c.make({"p/a.py": b"x = '%1100000d'\n" % 0, "q/b.py": b""}), None),
        (lambda c: c.announce(("p",), 1), None),
        (lambda c: c.announce(("q",), 1), None),
        (lambda c: c.announce(("q", "p"), 1, optimize=(1,)), None),
        (lambda c: c.announce(("q",), 1, optimize=(1,)), None),
        (
            lambda c: c.cramped(lambda: c.call(paths=("q",))),
            [
                "compiled S/q/b.py: missing",
                "compiled S/q/b.py: missing",
                "FLAVOUR: failed took over 4 {'compiled': 2, 'failed': 2}",
                "failure io S/p/a.py: File too large",
                "failure io S/p/a.py: File too large",
                "failed 1",
            ],
        ),
        (lambda c: c.pending, ["remove S/p (2)", "remove S/q S/p (2)"]),
    ],
    "an interpreter that breaks": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b"", "r/c.py": b""}), None),
        (
            lambda c: c.breaking(lambda path: c.call(paths=("p",), pythons=(path,))),
            [
                "FLAVOUR: error {}",
                "error 69: T/bin/python can't run a worker: exit status 3",
                "; check that the interpreter's standard library is complete and readable",
                "error 69",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)"]),
        (
            lambda c: c.breaking(lambda path: c.call(paths=("q",), pythons=(path,), hook=True)),
            [
                "FLAVOUR: error took over 1 {}",
                "error 69: T/bin/python can't run a worker: exit status 3",
                "; the work stays in the journal, and the next run does it",
                "error 69",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)", "install S/q (0)", "install S/r (0)"]),
        (lambda c: c.call(paths=())[-2:], ["FLAVOUR: done took over 3 {'compiled': 3}", "done 0"]),
        (
            lambda c: c.breaking(lambda path: c.call(paths=(), pythons=(path,), hook=True), announced=("p",)),
            [
                "! an entry of the journal has failed 3 times and is parked",
                "; fix the cause, then: pyctrigger repair",
                "FLAVOUR: error took over 1 {}",
                "error 69: T/bin/python can't run a worker: exit status 3",
                "; check that the interpreter's standard library is complete and readable",
                "error 69",
            ],
        ),
        (lambda c: c.pending, ["remove S/p (3)"]),
    ],
    "when the magic number is learnt": [
        (lambda c: c.make({"p/a.py": b"x = 1\n"}), None),
        (lambda c: (c.call(Work.REPAIR, paths=("p",))[-1], c.magic), ("done 0", "")),
        (lambda c: (c.call(Work.SWEEP)[-1], c.magic), ("nothing-to-do 0", "")),
        (lambda c: (c.call(paths=("p",))[-1], c.magic), ("nothing-to-do 0", "MAGIC")),
        (lambda c: c.know_magic(b"abcd"), None),
        (lambda c: (c.call(Work.REPAIR, paths=("p",))[-1], c.magic), ("nothing-to-do 0", "61626364")),
        (lambda c: (c.call(Work.REPAIR)[-1], c.magic), ("nothing-to-do 0", "MAGIC")),
        (lambda c: (c.installation / "magic_number").unlink(), None),
        (lambda c: (c.installation / "magic_number/x").mkdir(parents=True), None),
        (lambda c: (c.call(paths=("p",))[-1], c.magic), ("nothing-to-do 0", "")),
    ],
    "found besides, and interrupted": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b"", "c.py": b""}), None),
        (lambda c: c.interrupted(("p",), hook=True), None),
        (lambda c: c.pending, ["install everything (0)"]),
        (
            lambda c: c.call(paths=())[-2:],
            ["FLAVOUR: done took over 1 {'compiled': 2, 'fresh': 1}", "done 0"],
        ),
        (lambda c: time.sleep(0.03), None),  # or everything is too young
        (lambda c: c.call(paths=("p",), hook=True)[-1], "nothing-to-do 0"),
        (lambda c: c.make({"p/d.py": b"", "q/d.py": b"", "q/e.py": b""}), None),
        (lambda c: c.interrupted(("p",), hook=True), None),
        (lambda c: c.pending, ["install S/p (0)", "install S/q (0)"]),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_turns(caller: Caller, story: str) -> None:  # noqa: F811
    """In their order, and what is pending afterwards."""
    caller.tell(STORIES[story])


#: What changes, and how many workers there are once the glance is over.
STARTED: dict[str, tuple[Callable[[Caller], Any], int, str]] = {
    "a source": (lambda c: c.make({"q/d.py": b"x = 3\n"}), 1, "done 0"),
    "a package": (lambda c: c.make({"r/d.py": b"x = 3\n"}), 1, "done 0"),
    "what is no source": (lambda c: c.make({"q/d.txt": b""}), 1, "nothing-to-do 0"),
    "a module": (lambda c: c.make({"d.py": b"x = 3\n"}), 0, "done 0"),
    "a package that went": (lambda c: shutil.rmtree(c.site / "q"), 0, "nothing-to-do 0"),
    "nothing": (lambda c: None, 0, "nothing-to-do 0"),
}


@pytest.mark.parametrize("change", STARTED)
def test_a_glance_starts_the_first_worker(
    caller: Caller,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """It is there before the plan is, does the work, and has ended where there was none."""
    act, started, status = STARTED[change]
    workers: list[Worker] = []
    before: list[int] = []
    start, survey = Worker.__init__, Survey.__init__

    def starting(self: Worker, *facts: Any, **named: Any) -> None:
        start(self, *facts, **named)
        workers.append(self)

    def planning(self: Survey, *facts: Any, **named: Any) -> None:
        before.append(len(workers))
        survey(self, *facts, **named)

    caller.make({"p/a.py": b"x = 1\n", "q/b.py": b""})
    caller.call()
    time.sleep(0.03)  # or everything is too young
    assert "nothing-to-do 0" == caller.call(paths=("none",), hook=True)[-1]
    act(caller)
    monkeypatch.setattr(Worker, "__init__", starting)
    monkeypatch.setattr(Survey, "__init__", planning)
    assert status == caller.call(paths=("none",), hook=True)[-1]
    assert [started] == before
    assert max(started, int(status == "done 0")) == len(workers)
    assert all(each.has_ended for each in workers)


#: Whose the tree is, and which parked entries are left.
DENIED: list[tuple[int, list[str]]] = [
    (ANN, ["remove S/q (3)", "remove S/p S/q (3)", "remove S/p/a.py S/pp (3)", "remove everything (3)"]),
    (0, []),
]


@pytest.mark.parametrize(("owner", "left"), DENIED)
def test_what_an_account_may_never_do_isnt_left_to_it(anns: Caller, owner: int, left: list[str]) -> None:  # noqa: F811
    """Hooks have given it up, and so does a run of the same account that may not write there."""
    anns.make({"p/a.py": b""})
    os.chown(anns.site, owner, owner)
    entries: list[tuple[str, ...] | None] = [("p/a.py",), ("q",), ("p", "q"), ("p/a.py", "pp"), None]
    place = "S/p" if owner else "S"
    denied = f"failure refused {place}: you have no right to write here, account 0 has"
    lines = ["FLAVOUR: failed {'failed': 1}", denied, "; sources that were left: 1 (needs root)", "failed 1"]
    with working_as("ann"):
        for paths in entries:
            anns.announce(paths, 3)
        anns.announce((), 3)
        anns.announce(("p",), 3, optimize=(1,))
        assert lines == anns.call(paths=("p",))
    assert [*left, "remove  (3)", "remove S/p (3)"] == anns.pending


def test_a_glance_below_another_accounts_directory(public: Caller) -> None:  # noqa: F811
    """A process of its own has it, and finds what has changed besides."""
    public.make({"p/s/q/a.py": b"x = 1\n", "p/s/r/b.py": b"", "p/s/t/d.py": b""})
    public.give("p")
    sites = (f"{public.site}/p/s",)
    public.call(site_dirs=sites)
    public.make({"p/s/r/c.py": b""})
    public.give("p")
    done = ["compiled S/p/s/r/c.py: missing", "FLAVOUR: done {'compiled': 1, 'fresh': 3}", "done 0"]
    assert done == public.call(paths=("p/s/q",), hook=True, site_dirs=sites)
    assert [] == public.pending
