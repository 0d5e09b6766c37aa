"""The chart of docs/performance.md: drawn from the page's own table, in seconds, and true to the eye."""

from __future__ import annotations

import re

import pytest

import debian
from chart import Row, draw, draw_sizes, read_rows, read_sizes
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


def test_chart_of_lanes_is_that_of_the_table() -> None:
    """Every size and every number of lanes, and no row of the tables below it. If this fails: as above."""
    names, sizes = read_sizes(PAGE)

    assert ["1 lane", "2 lanes", "4 lanes"] == names
    assert [1000, 4000, 12_000, 40_000, 120_000] == [count for count, _ in sizes]
    assert {len(names)} == {len(speeds) for _, speeds in sizes}
    assert draw_sizes(names, sizes) == (DOCS / "performance-lanes.svg").read_text(encoding="utf-8")


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


def test_table_of_debian_has_every_row() -> None:
    """Each step of each way, by both kinds of time, beside py3compile; and what is to be reached."""
    table = PAGE.split("<!-- debian -->")[1].split("<!-- /debian -->")[0]
    (count,) = re.findall(r"; ([\d,]+) packages, [\d,]+ of them with Python modules; [\d,]+ sources\.", table)
    cells = [line.split(" | ") for line in table.splitlines() if line.startswith("| ") and "| work |" not in line]
    (among,) = {found for row in cells for found in re.findall(r"among ([\d,]+)", row[0])}
    numbers = [int(number.replace(",", "")) for number in (count, among)]

    expected = [
        (f"| {debian.work(step, *numbers)}: {way}, {time}", debian.PLAIN, f"{limit:g}" if limit else "")
        for step, way in debian.ROWS
        for time, limit in zip(("processor time", "clock"), debian.LIMITS.get((step, way), (None, None)))
    ]
    assert expected == [(row[0], row[2], row[5]) for row in cells]
    assert len(debian.package_names()) < numbers[0] < numbers[1]
