"""Steps of a plan: when a directory needs something, and how several steps about it are one."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pyctrigger.run.plan.steps import DirectoryNote, Removal, SeenPart, Stale, Step, Totals, Unwanted
from pyctrigger.state.records.parts import Part

STATUS = os.stat("/")
STALE, REMOVAL = Stale.of("m.py", STATUS, ()), Removal("m.pyc", "orphan")
NOTE, PART = DirectoryNote(b"p", None, ()), SeenPart("p", Part(), is_done=True)

#: Fields of a step, and whether it would change something, whether the directory needs anything, and whether it says
#: anything.
CASES: dict[str, tuple[dict[str, Any], tuple[bool, bool, bool]]] = {
    "nothing": ({}, (False, False, False)),
    "a later one": ({"goes_on": True}, (False, False, False)),
    "stale": ({"stale": [STALE]}, (True, True, True)),
    "removals": ({"removals": [REMOVAL]}, (True, True, True)),
    "an empty __pycache__": ({"emptied_pycache": True}, (True, True, True)),
    "empty": ({"emptied": True}, (True, True, True)),
    "closed": ({"is_closed": True}, (True, True, True)),
    "closed, said before": ({"is_closed": True, "goes_on": True}, (False, False, False)),
    "an obstacle": ({"obstacle": "a file"}, (False, True, True)),
    "an obstacle, said before": ({"obstacle": "a file", "goes_on": True}, (False, False, False)),
    "unexamined": ({"unexamined": "why"}, (False, True, True)),
    "forbidden": ({"forbidden": "why"}, (False, True, True)),
    "skipped": ({"skipped": [("m.py", "why")]}, (False, True, True)),
    "refused": ({"refused": [("m.py", "why")]}, (False, True, True)),
    "owned": ({"owned": [("m.pyc", "m.py")]}, (False, True, True)),
    "links": ({"links": [("l", "/goal")]}, (False, True, True)),
    "unwanted": ({"unwanted": [Unwanted("m.pyc", STALE, True, False)]}, (False, True, True)),
    "records": ({"records": [("m.pyc", None)]}, (False, False, True)),
    "a note": ({"note": NOTE}, (False, False, True)),
    "a part": ({"part": PART}, (False, False, True)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_says_this(case: str) -> None:
    """Each of its fields by itself."""
    fields, expected = CASES[case]
    step = Step.of("p")._replace(**fields)
    assert expected == (step.would_change, step.is_needed, step.says_something)
    assert step.opens_pycache == (case == "closed")


@pytest.mark.parametrize(
    ("relative", "pycache", "directory", "expected"),
    [
        ("p/q", False, False, "p/q"),
        ("p/q", True, False, "p/q"),
        ("p/q", True, True, "p/q"),
        ("p/q/r", False, True, "p/q"),
        ("p", False, True, ""),
    ],
)
def test_the_directory_that_is_changed(relative: str, pycache: bool, directory: bool, expected: str) -> None:
    """A directory goes from the one above."""
    assert expected == Step.of(relative)._replace(emptied_pycache=pycache, emptied=directory).place


def test_several_steps_are_one() -> None:
    """Lists are added up; whatever one of them says of the directory holds, and the first one decides on that."""
    first = Step.of("p")._replace(obstacle="a file", is_closed=True)
    first.skipped.append(("a.py", "why"))
    second = first.rest()
    assert Step.of("p")._replace(obstacle="a file", goes_on=True) == second
    second.skipped.append(("b.py", "why"))
    second.removals.append(REMOVAL)
    both = first.joined(second._replace(note=NOTE, emptied=True))
    assert ("p", "a file", False, True, True, NOTE) == (
        both.relative,
        both.obstacle,
        both.goes_on,
        both.is_closed,
        both.emptied,
        both.note,
    )
    assert ([("a.py", "why"), ("b.py", "why")], [REMOVAL]) == (both.skipped, both.removals)
    assert second.joined(second).goes_on


def test_empty_steps_share_nothing() -> None:
    """Each has lists of its own."""
    first, second = Step.of("p"), Step.of("p")
    lists = [value for value in first if isinstance(value, list)]
    assert 8 == len(lists) == len({id(value) for step in (first, second) for value in step if value == []}) / 2


def test_totals_add_up() -> None:
    """Each by itself."""
    assert Totals(11, 22, 33, 44) == Totals(1, 2, 3, 4).plus(Totals(10, 20, 30, 40))
