"""Words and numbers for people: paths that can't break a line or a terminal, times with a unit."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..run.report import shown

if TYPE_CHECKING:
    from typing import TextIO


def say(stream: TextIO, line: str, *, end: str = "\n", flush: bool = False) -> None:
    """Print a line, whether anybody hears it or not: the work goes on when the reader of a pipe has gone."""
    try:
        print(line, end=end, file=stream, flush=flush)
    except OSError as error:
        deaf = os.open(os.devnull, os.O_WRONLY)
        os.dup2(deaf, stream.fileno())
        os.close(deaf)
        if stream is not sys.stderr and not isinstance(error, BrokenPipeError):
            say(sys.stderr, f"pyctrigger: nothing more can be said on standard output: {error.strerror}")


def seconds(duration: float) -> str:
    """A duration: `0.31 s`, `2 min 5 s`."""
    if duration < 60:
        return f"{duration:.2f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"


__all__ = ["say", "seconds", "shown"]
