"""Prints lines, and formats paths, times and sizes for people."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Mapping

from ...errors import OutputError
from ...outcome.report import shown
from ...typed import TextIO


def say(stream: TextIO, line: str, *, end: str = "\n", flush: bool = False) -> None:
    """Print a line. If it can't be written, the work continues, and `lost_output` returns the error at the end."""
    if stream is sys.stderr:
        # If both go to the same pipe, what was printed first has to come first.
        flush_output()
    try:
        print(line, end=end, file=stream, flush=flush)
    except OSError as error:
        _discard_output(stream, error)


def flush_output() -> None:
    """Flush stdout."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard_output(sys.stdout, error)


def _discard_output(stream: TextIO, error: OSError) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    # A reader that closes the pipe, as `head -1` does, has read enough.
    if stream is not sys.stderr and not isinstance(error, BrokenPipeError):
        hint = "redirect the output to a file" if error.errno == errno.EBADF else None
        lost = OutputError(f"can't write to standard output: {error.strerror}", hint=hint)
        _lost.append(lost)
        say(sys.stderr, f"pyctrigger: {lost}")


#: A process has one standard output, and loses it once.
_lost: list[OutputError] = []


def lost_output() -> OutputError | None:
    """Flush standard output. Returns the error if any of it could not be written, which was printed by then."""
    flush_output()
    return _lost[0] if _lost else None


def joined_hints(hints: Mapping[str, str]) -> list[str]:
    """Returns each hint once, with all kinds that it is for: `syntax, encoding: tell the maintainers ...`."""
    alike: dict[str, list[str]] = {}
    for kind, hint in hints.items():
        alike.setdefault(hint, []).append(kind)
    return [f"{', '.join(kinds)}: {hint}" for hint, kinds in alike.items()]


def counted(number: int, noun: str) -> str:
    """Returns a number and its noun: `1 source`, `1,042 sources`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def seconds(duration: float) -> str:
    """Returns a duration: `0.31 s`, `2 min 5 s`."""
    if duration < 60:
        return f"{duration:.2f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Returns a number of bytes: `512 B`, `1.5 MiB`."""
    if count < 1 << 10:
        return f"{count:.0f} B"
    if count < 1 << 20:
        return f"{count / (1 << 10):.1f} KiB"
    return f"{count / (1 << 20):.1f} MiB" if count < 1 << 30 else f"{count / (1 << 30):.1f} GiB"


def moment(when: float) -> str:
    """Returns a time in the system's zone: `2026-11-21 20:17:07`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def age(duration: float) -> str:
    """Returns how long ago something was, in the unit that fits: `40 s`, `12 min`, `3 h`, `9 days`."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if duration >= 2 * length:
            return f"{duration / length:.0f} {unit}"
    return f"{duration:.0f} s"


__all__ = ["age", "counted", "flush_output", "joined_hints", "moment", "say", "seconds", "shown", "size"]
