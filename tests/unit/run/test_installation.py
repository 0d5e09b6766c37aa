"""What is announced before anything else, and when that is all."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Callable

import pytest

from acting import working_as
from children import in_child, require_own_mounts
from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, anns, caller, public  # noqa: F401 - fixtures

#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "a deferred transaction": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b""}), None),
        (lambda c: c.call(paths=("a.py",), defer=True), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
        (lambda c: c.call(paths=("b.py",), defer=True), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
        (
            lambda c: c.call(paths=("b.py",), defer=True, hook=True),
            ["FLAVOUR: deferred deferred took over 1 {}", "deferred 0"],
        ),
        (lambda c: c.pending, ["install S/a.py (0)", "install S/b.py (0)"]),
        (lambda c: c.history, ["run install 0 person 1", "run install 0 person 1", "run install 0 hook 1"]),
        (
            lambda c: c.call(Work.VERIFY, paths=("b.py",)),
            [
                "FLAVOUR: looked {}",
                "missing S/__pycache__/a.TAG.pyc: no bytecode for level 0 [S/a.py]",
                "missing S/__pycache__/b.TAG.pyc: no bytecode for level 0 [S/b.py]",
                "looked 1",
            ],
        ),
        (lambda c: c.call(Work.SWEEP), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: c.pending, ["install S/a.py (0)", "install S/b.py (0)"]),
        (
            lambda c: c.call(paths=()),
            [
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "FLAVOUR: done took over 2 {'compiled': 2}",
                "done 0",
            ],
        ),
        (lambda c: (c.pending, c.tree), ([], ["__pycache__/a.TAG.pyc", "__pycache__/b.TAG.pyc", "a.py", "b.py"])),
    ],
    "hooks that are disabled": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.config.write_text("[hooks]\nenabled = false\n") and None, None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            [
                "! hooks are disabled in the configuration ([hooks] enabled)",
                "; the work stays in the journal",
                "FLAVOUR: deferred deferred {}",
                "deferred 0",
            ],
        ),
        (
            lambda c: c.call(paths=(), hook=True),
            [
                "FLAVOUR: nothing-to-do {}",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True, stateless=True, state_dir=None),
            [
                "! hooks are disabled in the configuration ([hooks] enabled)",
                "; nothing was done, and nothing is kept",
                "; once they are enabled: pyctrigger repair",
                "FLAVOUR: nothing-to-do {}",
                "nothing-to-do 0",
            ],
        ),
        (lambda c: (c.tree, c.pending, c.history), (["a.py"], ["install S/a.py (0)"], ["run install 0 hook 1"])),
        (
            lambda c: c.call(paths=()),
            ["compiled S/a.py: missing", "FLAVOUR: done took over 1 {'compiled': 1}", "done 0"],
        ),
        (lambda c: c.pending, []),
    ],
    "a configuration that can't be read": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.config.write_text("[hooks]\nenabled = 3\n") and None, None),
        (
            lambda c: c.call(paths=("a.py",)),
            ["raised 2: T/config.toml: hooks.enabled can't be 3", "; write true or false"],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True, dry_run=True),
            ["raised 2: T/config.toml: hooks.enabled can't be 3", "; write true or false"],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            [
                "FLAVOUR: deferred deferred {}",
                "error 2: T/config.toml: hooks.enabled can't be 3",
                "; write true or false",
                "; the work stays in the journal, and the next run does it",
                "error 2",
            ],
        ),
        (lambda c: (c.tree, c.pending, c.history), (["a.py"], ["install S/a.py (0)"], ["run install 2 hook 1"])),
    ],
    "nothing can be kept": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), defer=True, state_dir=f"{c.config}/state"),
            [
                "! no state is kept: T/config.toml/state: File exists",
                "; --state-dir names another directory",
                "FLAVOUR: error {}",
                "error 2: nothing can be deferred without state",
                "; run it without --defer",
                "error 2",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True, defer=True, state_dir=f"{c.config}/state"),
            [
                "! no state is kept: T/config.toml/state: File exists",
                "; --state-dir names another directory",
                "FLAVOUR: error {}",
                "error 2: nothing can be deferred without state",
                "; run it without --defer",
                "error 2",
            ],
        ),
        (lambda c: c.tree, ["a.py"]),
    ],
    "hooks that are disabled, and deferred": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.config.write_text("[hooks]\nenabled = false\n") and None, None),
        (lambda c: c.call(paths=("a.py",), hook=True, defer=True), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
    ],
    "a lock that is held": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.announce(("a.py",), optimize=(1,)), None),
        (
            lambda c: c.locks(lambda: c.call(paths=("a.py",), lock_timeout=0.0)),
            [
                "FLAVOUR: locked {}",
                "error 75: the lock was not free within 0 s, held by process N",
                "; the work stays in the journal, and the next run does it",
                "locked 75",
            ],
        ),
        (lambda c: c.pending, ["remove S/a.py (0)", "install S/a.py (0)"]),
    ],
    "an interpreter that has changed": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: c.know(magic_number="61626364"), None),
        (
            lambda c: c.call(paths=("a.py",)),
            [
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "note FLAVOUR: PYTHON has changed: magic number MAGIC, it was 61626364",
                "; everything is examined again",
                "done 0",
            ],
        ),
    ],
    "a tree for bytecode that everybody may write": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (lambda c: (c.top / "cache").mkdir(), None),
        (lambda c: (c.top / "cache").chmod(0o777), None),
        (
            lambda c: c.call(pycache_prefix=f"{c.top}/cache"),
            [
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "note FLAVOUR: T/cache is world-writable: anybody can change what is imported from it",
                "; chmod o-w T/cache",
                "done 0",
            ],
        ),
    ],
    "environments are remembered": [
        (lambda c: c.make_environment("venv", {"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.within("venv", paths=("../venv",)),
            ["compiled T/venv/lib/LIB/site-packages/a.py: missing", "T/venv (FLAVOUR): done {'compiled': 1}", "done 0"],
        ),
        (
            lambda c: (
                (c.installation / "environment.json").read_text()
                == json.dumps({"prefix": f"{c.top}/venv", "executable": c.python})
            ),
            True,
        ),
        (lambda c: c.call(Work.VERIFY), ["FLAVOUR: looked {}", "looked 0"]),
        (
            lambda c: [path.parent == c.installation for path in c.state.glob("*/environment.json")],
            [True],
        ),
        (lambda c: (c.installation / "environment.json").unlink(), None),
        (lambda c: (c.installation / "environment.json/x").mkdir(parents=True), None),
        (
            lambda c: c.within("venv", paths=("../venv",)),
            ["T/venv (FLAVOUR): nothing-to-do {'fresh': 1}", "nothing-to-do 0"],
        ),
        (lambda c: c.call(), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: len(list(c.state.glob("*/environment.json"))), 1),
    ],
    "what was kept for an interpreter that couldn't be asked": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), hook=True)),
            [
                "error 69: T/bin/python is not a working Python: exit status 3",
                "; the work stays in the journal, and the next run with --python T/bin/python does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.call(Work.SWEEP, pythons=(c.install("python"),)),
            ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"],
        ),
        (lambda c: c.pending, []),
        (
            lambda c: c.call(Work.REPAIR, paths=(), pythons=(f"{c.top}/bin/python",)),
            ["compiled S/a.py: missing", "FLAVOUR: done took over 1 {'compiled': 1}", "done 0"],
        ),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_announcements(caller: Caller, story: str) -> None:  # noqa: F811
    """And what becomes of them."""
    caller.tell(STORIES[story])


def test_another_accounts_directory(public: Caller) -> None:  # noqa: F811
    """Is worked on by a process of its own, and both tallies are one."""
    public.make({"p/a.py": b"x = 1\n", "q/b.py": b""})
    public.give("p")
    done = ["compiled S/q/b.py: missing", "compiled S/p/a.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"]
    assert done == public.call(paths=("p", "q"))


#: A call, and what an account hears that may write nowhere in the tree.
DENIED: list[tuple[dict[str, Any], list[str]]] = [
    ({"defer": True}, ["FLAVOUR: failed {}", "failure refused S: you have no right to write here, account 0 has"]),
    (
        {"hook": True},
        [
            "FLAVOUR: failed {'fresh': 1, 'failed': 1}",
            "failure refused S: you have no right to write here, account 0 has",
            "; sources that were left: 1",
        ],
    ),
]


@pytest.mark.parametrize(("fields", "expected"), DENIED)
def test_what_an_account_cant_do_later_either(
    anns: Caller,  # noqa: F811
    fields: dict[str, Any],
    expected: list[str],
) -> None:
    """Isn't announced; it is said once."""
    anns.make({"p/a.py": b"x = 1\n"})
    with working_as("ann"):
        lines = anns.call(paths=("p",), **fields)
        assert ([*expected[:-1], f"{expected[-1]} (needs root)", "failed 1"], []) == (lines, anns.pending)


def test_a_read_only_mount(as_root: None, caller: Caller) -> None:  # noqa: F811
    """Announces nothing of its own, and what waits goes on waiting."""
    require_own_mounts()

    def look() -> Any:
        for options in ("bind", "bind,remount,ro"):
            subprocess.run(["mount", "-o", options, caller.site, caller.site], check=True)
        calls: list[dict[str, Any]] = [{"hook": True}, {"defer": True}, {"hook": True, "defer": True}]
        lines = [caller.call(paths=("p",), **fields) for fields in calls]
        before = caller.pending
        caller.announce(("p",))
        return lines, before, caller.call(paths=()), caller.pending

    caller.call(paths=("absent",), hook=True)  # as in the child, whose steps nobody counts
    caller.make({"p/a.py": b"x = 2\n"})
    notes = ["note FLAVOUR: S is on a read-only file system", "; nothing was changed there", "read-only 0"]
    left = "left_read_only is_interrupted {'skipped': 1}"
    waits = "! the work on a read-only file system stays in the journal until that is writable again"
    nothing = ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]
    lines, before, later, after = in_child(look, own_mounts=True)
    assert ([[f"FLAVOUR: read-only {left}", *notes], nothing, nothing], []) == (lines, before)
    assert ([waits, f"FLAVOUR: read-only took over 1 {left}", *notes], ["remove S/p (0)"]) == (later, after)
