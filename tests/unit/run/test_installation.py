"""What is announced before anything else, and when that is all."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, caller  # noqa: F401 - a fixture

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
                "! hooks are disabled in the configuration ([hooks] enabled)",
                "; the work stays in the journal",
                "FLAVOUR: nothing-to-do {}",
                "nothing-to-do 0",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True, stateless=True, state_dir=None),
            [
                "! hooks are disabled in the configuration ([hooks] enabled)",
                "; the work stays in the journal",
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
        (lambda c: c.call(paths=("a.py",)), ["raised 2: T/config.toml: hooks.enabled = 3: write true or false"]),
        (
            lambda c: c.call(paths=("a.py",), hook=True, dry_run=True),
            ["raised 2: T/config.toml: hooks.enabled = 3: write true or false"],
        ),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            [
                "FLAVOUR: deferred deferred {}",
                "error 2: T/config.toml: hooks.enabled = 3: write true or false",
                "error 2",
            ],
        ),
        (lambda c: (c.tree, c.pending, c.history), (["a.py"], ["install S/a.py (0)"], ["run install 2 hook 1"])),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_announcements(caller: Caller, story: str) -> None:  # noqa: F811
    """And what becomes of them."""
    caller.tell(STORIES[story])
