"""Calls that only read: what they find, and what a run would do."""

from __future__ import annotations

import errno
import os
from typing import Any, Callable

import pytest

from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.request import Work
from unit.interpreter.made_up import open_way_to
from unit.run.calls import Caller, caller, public  # noqa: F401 - fixtures

#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "foretold": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"", "p/__pycache__": None}), None),
        (lambda c: c.put("p/gone"), None),
        (
            lambda c: c.call(dry_run=True),
            [
                "FLAVOUR: looked {}",
                "compile S/a.py: missing [0]",
                "compile S/b.py: missing [0]",
                "remove S/p/__pycache__/gone.TAG.pyc: orphan",
                "remove-directory S/p/__pycache__: emptied",
                "remove-directory S/p: emptied",
                "looked 0",
            ],
        ),
        (
            lambda c: c.call(Work.SWEEP, dry_run=True),
            [
                "FLAVOUR: looked {}",
                "remove S/p/__pycache__/gone.TAG.pyc: orphan",
                "remove-directory S/p/__pycache__: emptied",
                "remove-directory S/p: emptied",
                "looked 0",
            ],
        ),
        (
            lambda c: c.call(Work.PURGE, dry_run=True),
            [
                "FLAVOUR: looked {}",
                "remove S/p/__pycache__/gone.TAG.pyc: pyc",
                "remove-directory S/p/__pycache__: emptied",
                "remove-directory S/p: emptied",
                "takes S: 1 of 20 bytes, 1 by others",
                "looked 0",
            ],
        ),
        (lambda c: (c.tree, c.history, c.pending), (["a.py", "b.py", "p/__pycache__/gone.TAG.pyc"], [], [])),
    ],
    "excluded": [
        (lambda c: c.make({"a.py": b"x = 1\n", "t/b.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(exclude=("*/t/*",)),
            [
                "skipped S/t/b.py: excluded",
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1, 'skipped': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(exclude=("*.py",), paths=("a.py",), dry_run=True),
            ["FLAVOUR: looked {'skipped': 1}", "looked 0"],
        ),
        (lambda c: c.call(Work.VERIFY, exclude=("*/t/*",)), ["FLAVOUR: looked {'fresh': 1, 'skipped': 1}", "looked 0"]),
    ],
    "other levels": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(optimize=(0, 1, 2)),
            ["compiled S/a.py: missing, missing, missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (lambda c: c.call(optimize=(0,)), ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"]),
        (lambda c: c.call(Work.VERIFY, optimize=(0,)), ["FLAVOUR: looked {'fresh': 1}", "looked 0"]),
        (
            lambda c: c.call(Work.SWEEP, optimize=(0,), unwanted=True),
            [
                "FLAVOUR: error {}",
                "error 2: --unwanted --optimize 0: the configuration wants level 0",
                "; name the levels to remove, or leave out --optimize",
                "error 2",
            ],
        ),
        (
            lambda c: c.tree,
            ["__pycache__/a.TAG.opt-1.pyc", "__pycache__/a.TAG.opt-2.pyc", "__pycache__/a.TAG.pyc", "a.py"],
        ),
    ],
    "other modes": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(invalidation_mode=InvalidationMode.CHECKED_HASH),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (
            lambda c: c.call(Work.VERIFY),
            [
                "FLAVOUR: looked {}",
                "stale S/__pycache__/a.TAG.pyc: another invalidation mode is configured [S/a.py]",
                "looked 1",
            ],
        ),
        (lambda c: c.call(), ["compiled S/a.py: mode", "FLAVOUR: done {'compiled': 1}", "done 0"]),
        (
            lambda c: c.call(Work.VERIFY, invalidation_mode=InvalidationMode.UNCHECKED_HASH),
            [
                "FLAVOUR: looked {}",
                "stale S/__pycache__/a.TAG.pyc: another invalidation mode is configured [S/a.py]",
                "looked 1",
            ],
        ),
        (
            lambda c: c.call(invalidation_mode=InvalidationMode.UNCHECKED_HASH),
            ["compiled S/a.py: mode", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (lambda c: c.make({"a.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(Work.VERIFY, invalidation_mode=InvalidationMode.UNCHECKED_HASH),
            [
                "FLAVOUR: looked {}",
                "stale S/__pycache__/a.TAG.pyc: its source has other content, with the same mtime and size [S/a.py]",
                "looked 1",
            ],
        ),
        (
            lambda c: c.call(invalidation_mode=InvalidationMode.UNCHECKED_HASH, stateless=True, state_dir=None),
            ["compiled S/a.py: unproven", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
    ],
    "touched": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.call(), ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"]),
        (lambda c: os.utime(c.site / "a.py", (5, 5)), None),
        (
            lambda c: c.call(Work.VERIFY),
            [
                "FLAVOUR: looked {}",
                "stale S/__pycache__/a.TAG.pyc: its source has another mtime, and the same content [S/a.py]",
                "looked 1",
            ],
        ),
        (lambda c: c.call(dry_run=True), ["FLAVOUR: looked {}", "compile S/a.py: mtime [0]", "looked 0"]),
        (lambda c: c.call(), ["refreshed S/a.py", "FLAVOUR: done {'refreshed': 1}", "done 0"]),
        (lambda c: c.call(Work.VERIFY), ["FLAVOUR: looked {'fresh': 1}", "looked 0"]),
    ],
    "a directory that can't be written": [
        (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b"", "p/__pycache__": b""}), None),
        (
            lambda c: c.call(paths=("p", "q")),
            [
                "compiled S/q/b.py: missing",
                "FLAVOUR: failed {'compiled': 1, 'failed': 1}",
                "failure refused S/p/__pycache__: it is a link or a file",
                "; pyctrigger repair replaces it",
                "failed 1",
            ],
        ),
        (
            lambda c: c.call(paths=("p", "q"), hook=True),
            [
                "FLAVOUR: failed {'fresh': 1, 'failed': 1}",
                "failure refused S/p/__pycache__: it is a link or a file",
                "; pyctrigger repair replaces it",
                "failed 1",
            ],
        ),
        (
            lambda c: c.call(Work.VERIFY),
            ["FLAVOUR: looked {'fresh': 1}", "obstructed S/p/__pycache__: it is a link or a file", "looked 1"],
        ),
        (
            lambda c: c.call(dry_run=True),
            [
                "FLAVOUR: failed {'fresh': 1, 'failed': 1}",
                "failure refused S/p/__pycache__: it is a link or a file",
                "; pyctrigger repair replaces it",
                "failed 1",
            ],
        ),
    ],
    "doubts": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(stateless=True, state_dir=None),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (lambda c: c.call(Work.VERIFY, compare_code=True), ["FLAVOUR: looked {'fresh': 1}", "looked 0"]),
        (lambda c: c.put("a", size=6), None),
        (
            lambda c: c.call(Work.VERIFY, compare_code=True),
            ["FLAVOUR: looked {}", "corrupt S/__pycache__/a.TAG.pyc: it can't be loaded [S/a.py]", "looked 1"],
        ),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_looks(caller: Caller, story: str) -> None:  # noqa: F811
    """Without a change."""
    caller.tell(STORIES[story])


def test_another_accounts_directory(as_root: None, caller: Caller) -> None:  # noqa: F811
    """Is read, and then written, by a process that acts as that account."""
    open_way_to(caller.top)
    caller.make({"p/a.py": b"x = 1\n", "q/b.py": b""})
    for path in ("p", "p/a.py"):
        os.chown(caller.site / path, 1234, 1234)
    missing = [
        f"missing S/{at}/__pycache__/{name}.TAG.pyc: no bytecode for level 0 [S/{at}/{name}.py]"
        for at, name in ("qb", "pa")
    ]
    assert ["FLAVOUR: looked {}", *missing, "looked 1"] == caller.call(Work.VERIFY)
    actions = ["compile S/q/b.py: missing [0]", "compile S/p/a.py: missing [0]"]
    assert ["FLAVOUR: looked {}", *actions, "looked 0"] == caller.call(dry_run=True)
    written = ["compiled S/q/b.py: missing", "compiled S/p/a.py: missing"]
    assert [*written, "FLAVOUR: done {'compiled': 2}", "done 0"] == caller.call(paths=("p", "q"))
    assert ["FLAVOUR: looked {'fresh': 2}", "looked 0"] == caller.call(Work.VERIFY)
    owners = [os.stat(path).st_uid for path in sorted(caller.site.glob("*/__pycache__/*"))]
    assert ([1234, 0], ["run install 0 person 2"]) == (owners, caller.history)


def test_what_is_looked_at_is_shown(public: Caller) -> None:  # noqa: F811
    """To who watches, also what another process looks at."""
    public.make({"p/a.py": b"x = 1\n", "p/b.py": b"", "q/b.py": b""})
    public.give("p")
    lines = public.perform(public.request(Work.VERIFY), is_watched=True)
    assert ["looked 0", "looked 1", "looked 2"] == lines[:3]


def test_places_for_which_there_is_no_process(public: Caller, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Are failures; the rest is looked at."""
    monkeypatch.setattr(forked, "fork", no_process)
    public.make({"p/a.py": b"x = 1\n", "q/b.py": b""})
    public.give("p")
    reason = "others may rename here, and no process can act as they do (out of processes)"
    missing = "missing S/q/__pycache__/b.TAG.pyc: no bytecode for level 0 [S/q/b.py]"
    assert ["FLAVOUR: failed {}", f"failure refused S/p: {reason}", missing, "failed 1"] == public.call(Work.VERIFY)


def no_process() -> int:
    """Stands in for fork(2)."""
    raise OSError(errno.EAGAIN, "out of processes")
