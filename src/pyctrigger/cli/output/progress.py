"""Progress on a terminal: one line that is redrawn, and erased when the work is done. rich draws a bar if it is there.

First the line counts what has been examined, then what has been done of a total that never changes.
"""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from ...outcome.observer import Observer
from .terminal import columns, is_terminal, is_wanted
from .text import counted, say

#: Seconds. Work that is done sooner needs no line.
_PATIENCE = 0.5
#: Seconds between two drawings: faster than anybody reads.
_PAUSE = 0.1
#: Erase in Line (ECMA-48, 8.3.41).
_ERASE = "\x1b[K"


class Progress(Observer):
    """One line on a terminal."""

    is_watched = True

    def __init__(self, stream: TextIO, doing: str) -> None:
        self._stream = stream
        self._doing = doing
        self._prefix = ""
        self._looked = 0
        self._next = time.monotonic() + _PATIENCE
        self._is_drawn = False

    def started(self, flavour: str) -> None:
        """Start again from zero."""
        self.finished()
        self._prefix, self._looked = f"{flavour}: ", 0

    def looked(self, sources: int) -> None:
        """Count examined sources. How many need work isn't known yet."""
        self._looked = max(self._looked, sources)
        self._draw_if_due("looking", counted(self._looked, "source"), None)

    def progress(self, done: int, known: int | None) -> None:
        """Count what is done."""
        total = "" if known is None else f" of {known:,}"
        self._draw_if_due(self._doing, f"{done:,}{total}", (done, known) if known else None)

    def finished(self) -> None:
        """Erase the line. The next drawing shows it again."""
        if self._is_drawn:
            self._is_drawn = False
            self._erase()

    def _draw_if_due(self, doing: str, numbers: str, share: tuple[int, int] | None) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _PAUSE
            self._is_drawn = True
            self._draw(f"{self._prefix}{doing}", numbers, share)

    def _draw(self, label: str, numbers: str, share: tuple[int, int] | None) -> None:
        # The last column stays empty: some terminals wrap there.
        text = f"{label}: {numbers}"[: columns(self._stream) - 1]
        say(self._stream, f"\r{text}{_ERASE}", end="", flush=True)

    def _erase(self) -> None:
        say(self._stream, f"\r{_ERASE}", end="", flush=True)


class _RichProgress(Progress):
    """The same, drawn by rich."""

    def __init__(self, stream: TextIO, doing: str, *, colour: bool) -> None:
        super().__init__(stream, doing)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            *(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[numbers]}")),
            console=Console(stderr=True, no_color=not colour, width=columns(stream)),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None

    def _draw(self, label: str, numbers: str, share: tuple[int, int] | None) -> None:
        done, known = share or (0, None)
        if self._task is None:
            self._bars.console.width = columns(self._stream)
            self._task = self._bars.add_task(label, numbers=numbers)
            self._bars.start()
        self._bars.update(self._task, description=label, completed=done, total=known, numbers=numbers, refresh=True)

    def _erase(self) -> None:
        self._bars.stop()
        self._bars.remove_task(self._task)
        self._task = None


def show_progress(doing: str, *, color: str) -> Observer:
    """Returns what shows progress on stderr, if that is a terminal that can redraw a line; else what shows nothing."""
    if not is_terminal(sys.stderr):
        return Observer()
    try:
        return _RichProgress(sys.stderr, doing, colour=is_wanted(color, sys.stderr))
    except ImportError:
        return Progress(sys.stderr, doing)
