"""Which paths a call is about, and what it may not be."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, caller  # noqa: F401 - a fixture

#: Acts, and what each returns.
STORIES: dict[str, list[tuple[Callable[[Caller], Any], Any]]] = {
    "outside": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.call(paths=("a.py", "../other", "../also/x.py")),
            [
                "error 2: outside the scope of FLAVOUR: S/../also/x.py, S/../other",
                "; the scope is S",
                "; name their directory with --site-dir as well",
                "error 2",
            ],
        ),
        (
            lambda c: c.call(paths=("a.py", "../other"), hook=True),
            [
                "! outside the scope of FLAVOUR: S/../other",
                "; the scope is S",
                "; name their directory with --site-dir as well",
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "done 0",
            ],
        ),
        (
            lambda c: c.call(paths=("../other",), pythons=("/nowhere",)),
            ["error 69: interpreter /nowhere: No such file or directory", "; name one that exists", "error 69"],
        ),
        (
            lambda c: c.call(Work.VERIFY, paths=("../other",)),
            [
                "error 2: outside the scope of FLAVOUR: S/../other",
                "; the scope is S",
                "; name their directory with --site-dir as well",
                "error 2",
            ],
        ),
        (lambda c: c.history, ["run install 2 person 3", "run install 0 hook 2", "run install 69 person 1"]),
    ],
    "outside of what is usual": [
        (
            lambda c: c.library(lambda path: c.call(paths=("../other",), site_dirs=())),
            ["; name their directory with --site-dir, or their environment with --prefix", "error 2"],
        ),
        (lambda c: c.library(lambda path: c.call(paths=(path,), site_dirs=())), ["; add --stdlib", "error 2"]),
        (
            lambda c: c.library(lambda path: c.call(paths=(path, "../other"), site_dirs=())),
            ["; name their directory with --site-dir, or their environment with --prefix", "error 2"],
        ),
    ],
    "an interpreter that can't be asked": [
        (lambda c: c.make({"a.py": b"x = 1\n"}), None),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,))),
            [
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), defer=True)),
            [
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; its work stays in the journal, and the next run does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), hook=True)),
            [
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; its work stays in the journal, and the next run does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path,), hook=True, dry_run=True)),
            [
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(Work.SWEEP, pythons=(path,), hook=True)),
            [
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; name another interpreter with --python PATH",
                "error 69",
            ],
        ),
        (
            lambda c: c.broken(lambda path: c.call(paths=("a.py",), pythons=(path, c.python), hook=True)),
            [
                "compiled S/a.py: missing",
                "FLAVOUR: done {'compiled': 1}",
                "error 69: T/bin/python3.13 is not a working Python: exit status 3",
                "; its work stays in the journal, and the next run does it",
                "error 69",
            ],
        ),
        (
            lambda c: c.history,
            [
                "run install 69 person 1",
                "run install 69 person 1",
                "run install 69 hook 1",
                "sweep install 69 hook 0",
                "run install 69 hook 1",
            ],
        ),
    ],
    "what a hook's history has": [
        (lambda c: c.make({"a.py": b"x = 1\n", "b.py": b"x = 2\n"}), None),
        (
            lambda c: c.call(paths=("a.py",), hook=True),
            ["compiled S/a.py: missing", "compiled S/b.py: missing", "FLAVOUR: done {'compiled': 2}", "done 0"],
        ),
        (lambda c: c.call(paths=("a.py",), hook=True), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.call(paths=("a.py",), hook=True, dry_run=True), ["FLAVOUR: looked {'fresh': 2}", "looked 0"]),
        (lambda c: c.call(Work.VERIFY), ["FLAVOUR: looked {'fresh': 2}", "looked 0"]),
        (lambda c: c.call(paths=("a.py",)), ["FLAVOUR: nothing-to-do {'fresh': 2}", "nothing-to-do 0"]),
        (lambda c: c.history, ["run install 0 hook 1", "run install 0 person 1"]),
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_is_in_scope(caller: Caller, story: str) -> None:  # noqa: F811
    """And what is said of the rest."""
    caller.tell(STORIES[story])
