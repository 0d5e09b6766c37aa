"""Progress on a terminal: one line that rewrites itself and goes when the work is done; rich draws a bar in its place.

First it counts what has been looked at, then what has been done of a number that never changes.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, TextIO

from .text import say

#: Seconds. Work that is done sooner needs no line.
_PATIENCE = 0.5
#: Seconds between two drawings: faster than anybody reads.
_PAUSE = 0.1
#: Columns of a terminal that doesn't say.
_COLUMNS = 80
#: Erase in Line (ECMA-48, 8.3.41).
_ERASE = "\x1b[K"


class Progress:
    """One line on a terminal."""

    def __init__(self, stream: TextIO, doing: str) -> None:
        self._stream = stream
        self._doing = doing
        self._of = ""
        self._looked = 0
        self._next = time.monotonic() + _PATIENCE
        self._is_drawn = False

    def begin(self, of: str) -> None:
        """Start again from zero, for this flavour."""
        self.clear()
        self._of, self._looked = f"{of}: ", 0

    def looked(self, sources: int) -> None:
        """So many sources have been looked at: how much there will be to do isn't known yet."""
        self._looked = max(self._looked, sources)
        if self._is_due():
            self._draw(f"{self._of}looking", f"{self._looked:,} source{'' if self._looked == 1 else 's'}", None)

    def update(self, done: int, known: int | None) -> None:
        """So many are done, of so many."""
        if self._is_due():
            total = "" if known is None else f" of {known:,}"
            self._draw(f"{self._of}{self._doing}", f"{done:,}{total}", (done, known) if known else None)

    def clear(self) -> None:
        """Take it off the terminal; the next drawing shows it again."""
        if self._is_drawn:
            self._is_drawn = False
            self._erase()

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _PAUSE
        self._is_drawn = True
        return True

    def _draw(self, label: str, numbers: str, share: tuple[int, int] | None) -> None:
        # The last column stays empty, or some terminals go on in the next line.
        text = f"{label}: {numbers}"[: _columns(self._stream) - 1]
        say(self._stream, f"\r{text}{_ERASE}", end="", flush=True)

    def _erase(self) -> None:
        say(self._stream, f"\r{_ERASE}", end="", flush=True)


class _Drawn(Progress):
    """The same, drawn by rich."""

    def __init__(self, stream: TextIO, doing: str, *, colour: bool) -> None:
        super().__init__(stream, doing)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[numbers]}"))
        console = Console(stderr=True, no_color=not colour, width=_columns(stream))
        self._bars = Bars(
            *columns,
            console=console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None

    def _draw(self, label: str, numbers: str, share: tuple[int, int] | None) -> None:
        done, known = share or (0, None)
        if self._task is None:
            self._bars.console.width = _columns(self._stream)
            self._task = self._bars.add_task(label, numbers=numbers)
            self._bars.start()
        self._bars.update(self._task, description=label, completed=done, total=known, numbers=numbers, refresh=True)

    def _erase(self) -> None:
        self._bars.stop()
        self._bars.remove_task(self._task)
        self._task = None


def show_progress(doing: str = "compiling", *, color: str = "auto") -> Progress | None:
    """Progress on standard error, if that is a terminal that can rewrite a line."""
    if not sys.stderr.isatty():
        return None
    from .colour import is_terminal, is_wanted

    if not is_terminal(sys.stderr):
        return None
    try:
        return _Drawn(sys.stderr, doing, colour=is_wanted(color, sys.stderr))
    except ImportError:
        return Progress(sys.stderr, doing)


def _columns(stream: TextIO) -> int:
    """The width of a terminal as it is now."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS
