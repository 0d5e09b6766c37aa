"""The parts of a site directory that a run records for the next hook."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.run.scope.paths import Unit
from unit.run.plan.trees import TEXT, cached, in_memory, make, plan, pyc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
GONE = f"p/__pycache__/{cached('gone')}"
MODULES = Unit("", deep=False)

#: A tree, options, and for each part whether it is done, and the directories that the next glance compares.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], dict[str, tuple[bool, list[str]]]]] = {
    "fresh": (FRESH, {}, {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"])}),
    "two packages": (
        {**FRESH, "q/r/data": b""},
        {},
        {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"]), "q": (True, ["q", "q/r"])},
    ),
    "a module is missing": ({**FRESH, "m.py": TEXT}, {}, {"": (False, []), "p": (True, ["p", "p/__pycache__"])}),
    "a package is stale": ({**FRESH, "p/n.py": TEXT}, {}, {"": (True, ["."]), "p": (False, [])}),
    "an orphan": ({**FRESH, GONE: pyc()}, {}, {"": (True, ["."]), "p": (False, [])}),
    "an orphan of a package": (
        {**FRESH, GONE: pyc()},
        {"owned": GONE},
        {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"])},
    ),
    "an excluded source": (
        {"p/m.py": TEXT},
        {"exclude": ("*/m.py",)},
        {"": (True, ["."]), "p": (True, ["p"])},
    ),
    "one unit": (FRESH, {"units": [Unit("p", deep=True)]}, {"p": (True, ["p", "p/__pycache__"])}),
    "the modules": (FRESH, {"units": [MODULES]}, {"": (True, ["."])}),
    "a package that is gone": (FRESH, {"units": [Unit("q", deep=True)]}, {}),
    "a file that was a package": ({"q": b""}, {"units": [Unit("q", deep=True)]}, {}),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory."""
    with in_memory() as top:
        yield top


@pytest.mark.parametrize("case", CASES)
def test_parts_are_recorded(top: Path, case: str) -> None:
    """With every directory, from the top down."""
    entries, options, expected = CASES[case]
    make(top, entries)
    time.sleep(0.03)  # or everything is too young
    options = dict(options)
    owned = [f"{top}/{options.pop('owned')}"] if "owned" in options else []
    seen = [step.part for step in plan(top, owned=owned, is_noted=True, **options) if step.part]
    found = {name: (is_done, part.names.split("\0") if part.names else []) for name, part, is_done in seen}
    assert (expected, owned) == (found, [path for _, part, _ in seen for path in part.owned])
