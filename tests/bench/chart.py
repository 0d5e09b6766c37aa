"""The charts of the benchmark, drawn from the tables of the page: each row's time beside its peer's, and lanes.

`python tests/bench/chart.py docs/performance.md` draws it again without measuring.
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

TITLE = "Seconds that pyctrigger takes, and other tools"
_EXPLANATION = "Shorter is faster. Each pair of bars is drawn to the scale of the other tool's time; fastest first."
_ROW = re.compile(
    r"^\| (?P<work>[^|]+) \| (?P<ours>[^|]+) \| (?P<peer>[^|]+) \| (?P<theirs>[\d.]+ m?s \([^|]+) \|", re.MULTILINE
)
_TIME = re.compile(r"(?P<number>[\d.]+) (?P<unit>ms|s)\b")

SCALING_TITLE = "Sources compiled in a second, by lanes"
_SCALING_EXPLANATION = "Small sources, on a machine with two processors. Higher is faster."
_HEADING = re.compile(r"^\| sources((?: \| cold, \d+ lanes?)+) \|", re.MULTILINE)
_SIZE = re.compile(r"^\| (?P<sources>[\d,]+)(?P<cold>(?: \| [\d.]+ s)+) \|", re.MULTILINE)
_COLOURS = ("#8c959f", "#2d7a4f", "#b5762a", "#3f6fb5")

_WIDTH, _LEFT, _RIGHT, _TOP, _STEP, _BAR = 900, 330, 180, 74, 44, 14
_FASTER, _SLOWER, _PEER = "#2d7a4f", "#b5762a", "#b9c0c7"


class Row(NamedTuple):
    """One row of the table."""

    work: str
    peer: str
    ours: float
    """Seconds: the median."""
    theirs: float

    @property
    def share(self) -> float:
        """Our time as a share of the peer's."""
        return self.ours / self.theirs


def read_rows(page: str) -> list[Row]:
    """The rows of a page's table, the fastest beside its peer first."""
    found = [
        Row(match["work"].strip(), match["peer"].strip(), _seconds(match["ours"]), _seconds(match["theirs"]))
        for match in _ROW.finditer(page)
    ]
    return sorted(found, key=lambda row: row.share)


def draw(rows: list[Row]) -> str:
    """An SVG with two bars for each row: ours, and the peer's, which has the same length in all."""
    scale = (_WIDTH - _LEFT - _RIGHT) / max(1.0, *(row.share for row in rows))
    height = _TOP + _STEP * len(rows) + 10
    lines = _heading(height, TITLE, _EXPLANATION)
    for number, row in enumerate(rows):
        lines += _pair(row, _TOP + _STEP * number, scale)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def _heading(height: int, title: str, explanation: str) -> list[str]:
    """How each chart begins."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="13" fill="#1f2328">',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 28, title, 'font-size="18" font-weight="bold"'),
        _text(16, 50, explanation, 'fill="#59636e"'),
    ]


def _pair(row: Row, top: int, scale: float) -> list[str]:
    colour = _FASTER if row.share <= 1 else _SLOWER
    ours, theirs = row.share * scale, scale
    return [
        _text(_LEFT - 10, top + 20, row.work, 'text-anchor="end"'),
        f'<rect x="{_LEFT}" y="{top}" width="{ours:.1f}" height="{_BAR}" fill="{colour}"/>',
        _text(_LEFT + ours + 6, top + 12, f"pyctrigger {row.ours:.3g} s", 'font-weight="bold"'),
        f'<rect x="{_LEFT}" y="{top + _BAR + 2}" width="{theirs:.1f}" height="{_BAR}" fill="{_PEER}"/>',
        _text(_LEFT + theirs + 6, top + 28, f"{row.peer} {row.theirs:.3g} s"),
    ]


def plural(lanes: int) -> str:
    """So many lanes, in words."""
    return "1 lane" if lanes == 1 else f"{lanes} lanes"


def scaling_chart(path: Path) -> Path:
    """Where the chart of lanes is, beside a page."""
    return path.with_name(f"{path.stem}-lanes.svg")


def read_sizes(page: str) -> tuple[list[str], list[tuple[int, list[float]]]]:
    """The names of the lines, and by number of sources how many are compiled in a second in each."""
    heading = _HEADING.search(page)
    names = [each.removeprefix("cold, ") for each in heading[1].strip(" |").split(" | ")] if heading else []
    found = []
    table = page[heading.end() :].partition("\n\n")[0] if heading else ""  # others have rows that look alike
    for match in _SIZE.finditer(table):
        count = int(match["sources"].replace(",", ""))
        # The last of them is the idle run.
        seconds = [_seconds(cell) for cell in match["cold"].strip(" |").split(" | ")][: len(names)]
        found.append((count, [count / each for each in seconds]))
    return names, found


def draw_sizes(names: list[str], sizes: list[tuple[int, list[float]]]) -> str:
    """An SVG with a line for each number of lanes."""
    width, height, left, right, top, bottom = _WIDTH, 420, 80, 110, 74, 50
    most = max(each for _, speeds in sizes for each in speeds)
    first, last = math.log(sizes[0][0]), math.log(sizes[-1][0])

    def point(count: int, speed: float) -> tuple[float, float]:
        x = left + (math.log(count) - first) / (last - first) * (width - left - right)
        return x, height - bottom - speed / most * (height - top - bottom)

    lines = _heading(height, SCALING_TITLE, _SCALING_EXPLANATION)
    step = 10 ** math.floor(math.log10(most))
    for speed in range(0, int(most) + 1, step if most / step >= 3 else step // 2):
        x, y = point(sizes[0][0], speed)
        lines.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#e4e7ea"/>')
        lines.append(_text(x - 8, y + 4, f"{speed:,}", 'text-anchor="end"'))
    for count, _ in sizes:
        lines.append(_text(point(count, 0)[0], height - bottom + 22, f"{count:,}", 'text-anchor="middle"'))
    lowest = float(height)
    for number, name in sorted(enumerate(names), key=lambda each: sizes[-1][1][each[0]]):
        points = [point(count, speeds[number]) for count, speeds in sizes]
        colour, path = _COLOURS[number % len(_COLOURS)], " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="3"/>')
        lowest = min(points[-1][1] + 4, lowest - 16)  # names of lines that end together stand above each other
        lines.append(_text(points[-1][0] + 8, lowest, name, f'fill="{colour}" font-weight="bold"'))
    return "\n".join([*lines, "</g>", "</svg>", ""])


def draw_all(path: Path, page: str) -> None:
    """Draw the charts of a page beside it."""
    path.with_suffix(".svg").write_text(draw(read_rows(page)), encoding="utf-8")
    names, sizes = read_sizes(page)
    if names and len(sizes) > 1:
        scaling_chart(path).write_text(draw_sizes(names, sizes), encoding="utf-8")


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " * bool(style)}{style}>{escape(words)}</text>'


def _seconds(cell: str) -> float:
    """The median in a cell of the table, such as `156 ms (145-234)`."""
    match = _TIME.match(cell.strip())
    assert match, cell
    return float(match["number"]) / (1000 if match["unit"] == "ms" else 1)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    draw_all(page, page.read_text(encoding="utf-8"))
