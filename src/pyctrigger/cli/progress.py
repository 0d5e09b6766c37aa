"""A progress bar on a terminal, drawn by rich where that is installed; otherwise there is none."""

from __future__ import annotations

import sys
import time
from typing import Any

#: Seconds. Work that is done sooner needs no bar.
_PATIENCE = 1.0


class Bar:
    """One bar; it shows once the work has taken a moment."""

    def __init__(self, progress: Any, doing: str) -> None:
        self._progress = progress
        self._doing = doing
        self._since = time.monotonic()
        self._task: Any = None

    def update(self, done: int, known: int) -> None:
        """So many are done, of so many that are known so far."""
        if self._task is None:
            if time.monotonic() - self._since < _PATIENCE:
                return
            self._progress.start()
            self._task = self._progress.add_task(self._doing)
        self._progress.update(self._task, completed=done, total=known)

    def clear(self) -> None:
        """Take it off the terminal."""
        if self._task is not None:
            self._progress.stop()
            self._progress.remove_task(self._task)
            self._task = None


def progress_bar(doing: str = "compiling", *, color: str = "auto") -> Bar | None:
    """A bar on standard error, if that is a terminal that can draw one and rich is installed."""
    if not sys.stderr.isatty():
        return None
    from .colour import is_terminal, is_wanted

    if not is_terminal(sys.stderr):
        return None
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    colour = is_wanted(color, sys.stderr)
    return Bar(Progress(*columns, console=Console(stderr=True, no_color=not colour), transient=True), doing)
