"""Whole calls, from the request to the report, the history, the journal and the tree."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, caller  # noqa: F401 - a fixture

#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "a transaction": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n", "bad.py": b"x = (\n"}), None),
        (
            lambda c: c.call(paths=("a.py", "")),
            [
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "FLAVOUR: failed {'compiled': 2, 'failed': 1}",
                "failure syntax S/bad.py: line 1, SyntaxError",
                "failed 1",
            ],
        ),
        (lambda c: c.tree, ["__pycache__/a.TAG.pyc", "__pycache__/b.TAG.pyc", "a.py", "b.py", "bad.py"]),
        (
            lambda c: c.call(paths=("a.py",)),
            [
                "FLAVOUR: nothing-to-do {'fresh': 2, 'skipped': 1}",
                "known uncompilable S/bad.py: None",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py", "bad.py")),
            [
                "FLAVOUR: nothing-to-do {'fresh': 2, 'skipped': 1}",
                "known uncompilable S/bad.py: None",
                "nothing-to-do 0",
            ],
        ),
        (lambda c: c.pending, []),
        (lambda c: c.history, ["run install 1 person 2", "run install 0 person 1", "run install 0 person 2"]),
    ],
    "a hook's transaction": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            ["compiled S/a.py: missing", "compiled S/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.call(paths=("a.py",), hook=True), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.call(paths=(), hook=True), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (lambda c: c.history, ["run install 0 hook 1"]),
        (lambda c: c.make({"a.py": b"x = 3\n", "c.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("b.py",), hook=True),
            [
                "compiled S/a.py: content",
                "compiled S/c.py: missing",
                "FLAVOUR: done {'compiled': 2, 'fresh': 1}",
                "done 0",
            ],
        ),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 hook 1"]),
    ],
    "hooks that fail": [
        (lambda c: c.make({"bad.py": b"x = (\n"}), None),
        (
            lambda c: c.call(paths=("bad.py",), hook=True),
            ["FLAVOUR: failed {'failed': 1}", "failure syntax S/bad.py: line 1, SyntaxError", "failed 1"],
        ),
        (
            lambda c: c.call(paths=("bad.py",), hook=True),
            ["FLAVOUR: nothing-to-do {'skipped': 1}", "known uncompilable S/bad.py: None", "nothing-to-do 0"],
        ),
        (lambda c: c.history, ["run install 1 hook 1", "run install 0 hook 1"]),
    ],
    "without state": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), stateless=True, state_dir=None),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
        (lambda c: (c.tree, c.history), (["__pycache__/a.TAG.pyc", "a.py"], [])),
        (
            lambda c: c.call(paths=("a.py",), stateless=True, state_dir=None, hook=True),
            ["FLAVOUR: nothing-to-do {'fresh': 1}", "nothing-to-do 0"],
        ),
        (
            lambda c: c.call(paths=("a.py",), stateless=True),
            ["raised 2: --stateless and --state-dir contradict each other", "; leave one of them out"],
        ),
        (
            lambda c: c.call(paths=("a.py",), defer=True, dry_run=True),
            ["raised 2: --defer keeps state", "; leave out --stateless and --dry-run"],
        ),
    ],
    "work with other options": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b""}), None),
        (lambda c: c.call(paths=("a.py",), defer=True, optimize=(1,)), ["FLAVOUR: deferred deferred {}", "deferred 0"]),
        (
            lambda c: c.call(paths=("b.py",), defer=True, optimize=(2,), event="remove"),
            ["FLAVOUR: deferred deferred {}", "deferred 0"],
        ),
        (lambda c: c.pending, ["install S/a.py (0)", "remove S/b.py (0)"]),
        (
            lambda c: c.call(paths=("b.py",)),
            [
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "compiled S/a.py: missing",
                "compiled S/b.py: missing",
                "FLAVOUR: done took over 2 {'compiled': 6}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.pending, c.tree),
            (
                [],
                [
                    "__pycache__/a.TAG.opt-1.pyc",
                    "__pycache__/a.TAG.opt-2.pyc",
                    "__pycache__/a.TAG.pyc",
                    "__pycache__/b.TAG.opt-1.pyc",
                    "__pycache__/b.TAG.opt-2.pyc",
                    "__pycache__/b.TAG.pyc",
                    "a.py",
                    "b.py",
                ],
            ),
        ),
    ],
    "watched": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"", "bad.py": b"x = (\n"}), None),
        (
            lambda c: c.perform(c.request(), is_watched=True),
            [
                "compiled S/a.py: missing",
                "progress 1/3",
                "progress 2/3",
                "compiled S/b.py: missing",
                "progress 3/3",
                "FLAVOUR: failed {'compiled': 2, 'failed': 1}",
                "failure syntax S/bad.py: line 1, SyntaxError",
                "failed 1",
            ],
        ),
    ],
    "a purge": [
        (lambda c: c.make({"a.py": b"x = 1\n", "p/b.py": b""}), None),
        (lambda c: c.put("p/other"), None),
        (lambda c: c.put("a", level=1, body=b"longer"), None),
        (
            lambda c: c.call(Work.PURGE, dry_run=True, optimize=(0,)),
            [
                "FLAVOUR: looked {}",
                "remove S/p/__pycache__/other.TAG.pyc: pyc",
                "remove-directory S/p/__pycache__: emptied",
                "takes S: 1 of 20 bytes, 1 by others",
                "looked 0",
            ],
        ),
        (lambda c: c.call(paths=("a.py",)), ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"]),
        (
            lambda c: c.call(Work.PURGE),
            [
                "removed S/__pycache__/a.TAG.opt-1.pyc: pyc",
                "removed S/__pycache__/a.TAG.pyc: pyc",
                "removed S/__pycache__: emptied",
                "removed S/p/__pycache__/other.TAG.pyc: pyc",
                "removed S/p/__pycache__: emptied",
                "FLAVOUR: done {'removed': 3, 'removed_directories': 2}",
                "done 0",
            ],
        ),
        (
            lambda c: (c.tree, c.pending, c.history),
            (["a.py", "p/b.py"], [], ["run install 0 person 1", "purge install 0 person 0"]),
        ),
        (lambda c: c.call(Work.PURGE), ["FLAVOUR: nothing-to-do {}", "nothing-to-do 0"]),
        (
            lambda c: c.call(Work.PURGE, pythons=()),
            ["raised 2: purge needs --python V, --cache-tag TAG or --all", "; name what to remove"],
        ),
        (
            lambda c: c.call(Work.PURGE, pythons=(), cache_tag="cpython-312"),
            ["py312: nothing-to-do {}", "nothing-to-do 0"],
        ),
    ],
    "a missing interpreter": [
        (
            lambda c: c.call(pythons=("/nowhere", c.python)),
            [
                "FLAVOUR: nothing-to-do {}",
                "error 69: interpreter /nowhere: No such file or directory",
                "; name one that exists",
                "error 69",
            ],
        ),
        (
            lambda c: c.call(pythons=("/nowhere",), hook=True),
            ["error 69: interpreter /nowhere: No such file or directory", "; name one that exists", "error 69"],
        ),
        (lambda c: c.history, ["run install 69 person 0", "run install 69 hook 0"]),
    ],
    "the same one twice": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(pythons=(c.python, c.python)),
            ["compiled S/a.py: missing", "FLAVOUR: done {'compiled': 1}", "done 0"],
        ),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_comes_of_calls(caller: Caller, story: str) -> None:  # noqa: F811
    """Everything that is said, and what is there afterwards."""
    caller.tell(STORIES[story])
