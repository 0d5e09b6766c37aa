"""The chart of the benchmark: each row's time beside its peer's, drawn from the table of the page.

`python tests/bench/chart.py docs/performance.md` draws it again without measuring.
"""

from __future__ import annotations

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
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="13" fill="#1f2328">',
        f"<title>{TITLE}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 28, TITLE, 'font-size="18" font-weight="bold"'),
        _text(16, 50, _EXPLANATION, 'fill="#59636e"'),
    ]
    for number, row in enumerate(rows):
        lines += _pair(row, _TOP + _STEP * number, scale)
    return "\n".join([*lines, "</g>", "</svg>", ""])


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


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{" " * bool(style)}{style}>{escape(words)}</text>'


def _seconds(cell: str) -> float:
    """The median in a cell of the table, such as `156 ms (145-234)`."""
    match = _TIME.match(cell.strip())
    assert match, cell
    return float(match["number"]) / (1000 if match["unit"] == "ms" else 1)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.with_suffix(".svg").write_text(draw(read_rows(path.read_text(encoding="utf-8"))), encoding="utf-8")
