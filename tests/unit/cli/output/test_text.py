"""Numbers and names as people read them."""

from __future__ import annotations

import pytest

from pyctrigger.cli.output.text import age, counted, joined_hints, seconds, size
from pyctrigger.errors import name_few


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 sources"), (1, "1 source"), (2, "2 sources"), (1042, "1,042 sources")]
)
def test_a_number_has_its_noun(number: int, expected: str) -> None:
    """In the singular for one, in the plural for all others."""
    assert expected == counted(number, "source")


def test_a_hint_for_several_kinds_is_one_line() -> None:
    """In the order in which the kinds came."""
    assert [] == joined_hints({})
    assert ["b, c: x", "a: y"] == joined_hints({"b": "x", "a": "y", "c": "x"})


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0, "0.00 s"), (59.994, "59.99 s"), (60, "1 min 0 s"), (119.6, "2 min 0 s"), (3725, "62 min 5 s")],
)
def test_a_duration_has_a_unit(duration: float, expected: str) -> None:
    """Minutes from 60 seconds on."""
    assert expected == seconds(duration)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172800, "2 days")],
)
def test_an_age_has_the_unit_that_fits(duration: float, expected: str) -> None:
    """Two of the larger unit are the least."""
    assert expected == age(duration)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 40, "1024.0 GiB"),
    ],
)
def test_a_size_has_the_unit_that_fits(count: int, expected: str) -> None:
    """In powers of 1024."""
    assert expected == size(count)


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)
def test_of_many_names_the_first_are_listed(names: list[str], expected: str) -> None:
    """And the others counted."""
    assert expected == name_few(names)
