"""What a terminal can show: its width, and colour where that is wanted.

Colour is decided by, in this order: the command line, `NO_COLOR` (no-color.org), `FORCE_COLOR` (force-color.org), and
whether the stream is a terminal.
"""

from __future__ import annotations

import os
from typing import TextIO, Union

#: A line in pieces: a plain text, or a text and the name of its style.
Words = tuple[Union[str, tuple[str, str]], ...]

#: More columns than any terminal has.
NO_LIMIT = 1 << 20
#: Columns of a terminal that doesn't say.
_COLUMNS = 80
#: Select Graphic Rendition (ECMA-48, 8.3.117), in the terminal's own eight colours: they fit its background.
_STYLES = {"error": "1;31", "warning": "1;33", "good": "32", "strong": "1", "dim": "2"}


def is_wanted(when: str, stream: TextIO) -> bool:
    """Whether a stream gets colour."""
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can do more than append lines."""
    try:
        return stream.isatty() and (os.environ.get("TERM") or "dumb") != "dumb"
    except ValueError:  # closed
        return False


def columns(stream: TextIO) -> int:
    """Returns the current width of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def wanted_columns(stream: TextIO) -> int:
    """Returns the width that `COLUMNS` sets, or else that of the terminal."""
    named = os.environ.get("COLUMNS", "")
    return int(named) if named.isascii() and named.isdigit() and 0 < int(named) < NO_LIMIT else columns(stream)


def painted(words: Words, *, colour: bool) -> str:
    """Returns the line with escape sequences, or without `colour` only its text."""
    pieces = [(piece, "") if isinstance(piece, str) else piece for piece in words]
    return "".join(f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and style else text for text, style in pieces)
