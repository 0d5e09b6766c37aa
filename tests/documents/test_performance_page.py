"""The chart of docs/performance.md: drawn from the page's own table, in seconds, and true to the eye."""

from __future__ import annotations

import re

import pytest

from chart import Row, draw, read_rows
from documents import DOCS

PAGE = (DOCS / "performance.md").read_text(encoding="utf-8")
CHART = (DOCS / "performance.svg").read_text(encoding="utf-8")


def bars(chart: str) -> list[tuple[float, float]]:
    """The lengths of each pair: ours, and the peer's."""
    found = [float(each) for each in re.findall(r'<rect x="\d+" y="\d+" width="([\d.]+)"', chart)]
    return list(zip(found[::2], found[1::2]))


def test_chart_is_that_of_the_table() -> None:
    """If this fails: python tests/bench/chart.py docs/performance.md"""
    assert draw(read_rows(PAGE)) == CHART


def test_chart_has_a_title_and_every_row_in_seconds() -> None:
    """As many rows as the table, and both times of each."""
    rows = read_rows(PAGE)

    assert PAGE.count(" ms (") + PAGE.count(" s (") == 2 * len(rows)
    assert "<title>" in CHART
    for row in rows:
        assert f">pyctrigger {row.ours:.3g} s<" in CHART
        assert f">{row.peer} {row.theirs:.3g} s<" in CHART


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([1, 2, 4], [10, 10, 2]), ([0.057, 44], [0.013, 58])],
)
def test_fastest_row_looks_fastest(ours: list[float], theirs: list[float]) -> None:
    """The peer's bar is as long in every row, and ours is shorter where we are faster, by as much."""
    rows = [Row("work", "peer", *pair) for pair in zip(ours, theirs)]
    drawn = bars(draw(rows))

    assert len({length for _, length in drawn}) == 1
    assert [one / other for one, other in drawn] == pytest.approx([row.share for row in rows], abs=0.01)
    assert [row.share for row in read_rows(PAGE)] == sorted(row.share for row in read_rows(PAGE))
