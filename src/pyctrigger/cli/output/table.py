"""Tables: drawn by rich on a terminal if it is installed, or else as aligned columns with the same content.

No cell is ever truncated, and cells wrap only between words: what people copy and programs read are whole paths.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TextIO, Union

from .terminal import NO_LIMIT, Words, is_terminal, painted, wanted_columns
from .text import shown

#: A part of a verb's output: a line, a line with colours, or a table.
Piece = Union[str, Words, "Table"]

_GAP = "  "
#: What rich calls the styles.
_RICH = {"error": "bold red", "warning": "bold yellow", "good": "green", "strong": "bold", "dim": "dim"}


class Table:
    """The contents of a table.

    Without `headers` there is no line of them. `numbers` are the headers of columns that are aligned to the right.
    `styles` maps the text of a cell to its style: error, warning, good, strong, dim.
    """

    def __init__(
        self,
        headers: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numbers: Collection[str] = (),
        styles: Mapping[str, str] | None = None,
    ) -> None:
        width = max(map(len, [headers, *rows]))
        self.headers = headers
        self.rows = [[*map(shown, row), *[""] * (width - len(row))] for row in rows]
        self.numbers = [index for index, header in enumerate(headers) if header in numbers]
        self.styles = styles or {}

    @property
    def width(self) -> int:
        """The width of its aligned lines on a terminal."""
        return sum(self.widths()) + len(_GAP) * (len(self.widths()) - 1)

    def widths(self) -> list[int]:
        """Returns the widths of its columns."""
        lines = [self.headers, *self.rows] if self.headers else self.rows
        return [max(map(_display_width, column)) for column in zip(*lines)]


def lines_of(table: Table, stream: TextIO, *, colour: bool = False) -> list[str]:
    """Returns the lines of a table for a stream, none if it has no rows."""
    if not table.rows:
        return []
    if is_terminal(stream):
        drawn = _draw_with_rich(table, stream, colour=colour)
        if drawn is not None:
            return drawn
    return _align(table, colour=colour)


def _align(table: Table, *, colour: bool) -> list[str]:
    """Returns lines with two spaces between columns, and none at the end."""
    lines = [table.headers, *table.rows] if table.headers else table.rows
    widths = table.widths()
    found = []
    for line in lines:
        styles = dict.fromkeys(line, "strong") if line is table.headers else table.styles
        words: list[str | tuple[str, str]] = []
        for index, cell in enumerate(line):
            space = " " * (widths[index] - _display_width(cell))
            word = (cell, styles[cell]) if cell in styles and cell else cell
            words += [space, word, _GAP] if index in table.numbers else [word, space, _GAP]
        while words and isinstance(words[-1], str) and not words[-1].strip():
            words.pop()
        found.append(painted(tuple(words), colour=colour))
    return found


def _draw_with_rich(table: Table, stream: TextIO, *, colour: bool) -> list[str] | None:
    """Returns lines drawn by rich, or None without rich or if the terminal is too narrow for the longest words."""
    try:
        import rich.box
        from rich.console import Console
        from rich.table import Table as Grid
        from rich.text import Text
    except ImportError:
        return None
    import io

    # rich asks its own stream, which can print everything.
    unicode = (stream.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
    palette: Any = "standard" if colour else None
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=wanted_columns(stream), force_terminal=True, color_system=palette, no_color=False
    )
    grid = Grid(
        box=rich.box.SIMPLE_HEAD if unicode and table.headers else None,
        show_header=bool(table.headers),
        show_edge=False,
        header_style="",
        pad_edge=False,
    )
    for index in range(len(table.rows[0])):
        header = table.headers[index] if index < len(table.headers) else ""
        grid.add_column(Text(header, "bold"), justify="right" if index in table.numbers else "left", overflow="fold")
    for row in table.rows:
        # A Text is printed as it is: a path may contain what looks like markup.
        grid.add_row(*(Text(cell, _RICH.get(table.styles.get(cell, ""), "")) for cell in row))
    if console.measure(grid, options=console.options.update(width=NO_LIMIT)).minimum > console.width:
        return None
    console.print(grid)
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


def _display_width(text: str) -> int:
    """Returns how many columns a text needs on a terminal (UAX #11: wide characters need two, combining ones none)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)
