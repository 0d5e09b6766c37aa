"""Words and numbers for people: paths that can't break a line or a terminal, times with a unit."""

from __future__ import annotations

import os
import sys
import time
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


def size(count: float) -> str:
    """Bytes: `512 B`, `1.5 MiB`."""
    if count < 1 << 10:
        return f"{count:.0f} B"
    if count < 1 << 20:
        return f"{count / (1 << 10):.1f} KiB"
    return f"{count / (1 << 20):.1f} MiB" if count < 1 << 30 else f"{count / (1 << 30):.1f} GiB"


def moment(when: float) -> str:
    """A time in the system's zone: `2026-11-21 20:17:07`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def age(duration: float) -> str:
    """How long ago, in the unit that fits: `40 s`, `12 min`, `3 h`, `9 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if duration >= 2 * length:
            return f"{duration / length:.0f} {unit}"
    return f"{duration:.0f} s"


__all__ = ["age", "moment", "say", "seconds", "shown", "size"]
