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
}


@pytest.mark.parametrize("story", STORIES)
def test_what_is_in_scope(caller: Caller, story: str) -> None:  # noqa: F811
    """And what is said of the rest."""
    caller.tell(STORIES[story])
