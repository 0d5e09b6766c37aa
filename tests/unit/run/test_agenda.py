"""What a run does besides its own request: what others left, and what has changed."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, caller  # noqa: F401 - a fixture

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
                "; its work stays in the journal, and the next run does it",
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
                "; its work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)"]),
        (
            lambda c: c.locks(lambda: c.call(paths=("q",), lock_timeout=0.0, hook=True)),
            [
                "FLAVOUR: locked took over 1 {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; its work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["install S/p (0)", "install S/q (0)"]),
        (
            lambda c: c.locks(lambda: c.call(Work.SWEEP, lock_timeout=0.0)),
            ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"],
        ),
        (
            lambda c: c.locks(lambda: c.call(Work.VERIFY, lock_timeout=0.0)),
            [
                "FLAVOUR: looked {}",
                "missing S/p/__pycache__/a.TAG.pyc: no bytecode for level 0 [S/p/a.py]",
                "missing S/q/__pycache__/b.TAG.pyc: no bytecode for level 0 [S/q/b.py]",
                "looked 1",
            ],
        ),
        (
            lambda c: c.call(paths=()),
            [
                "compiled S/p/a.py: missing",
                "compiled S/q/b.py: missing",
                "FLAVOUR: done took over 2 {'compiled': 2}",
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
        (lambda c: c.announce(("p", "../other")), None),
        (lambda c: c.entry({"optimize": "no"}), None),
        (
            lambda c: c.call(paths=("p",)),
            [
                "! an entry of the journal names paths outside the scope: S/../other",
                "compiled S/p/a.py: missing",
                "! an entry of the journal was dropped: --site-dir /nowhere: no such directory",
                "; try pyctrigger repair",
                "! an entry of the journal names paths outside the scope: S/../out",
                "compiled S/p/a.py: missing",
                "! an entry of the journal was dropped: /nowhere has a journal of its own",
                "; try pyctrigger repair",
                "! an entry of the journal was dropped: it can't be read (KeyError)",
                "; try pyctrigger repair",
                "FLAVOUR: done took over 5 {'compiled': 2}",
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
}


@pytest.mark.parametrize("story", STORIES)
def test_turns(caller: Caller, story: str) -> None:  # noqa: F811
    """In their order, and what is pending afterwards."""
    caller.tell(STORIES[story])
