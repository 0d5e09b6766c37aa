"""Colour: when there is any, and how a piece of text gets it.

Who has a say, in this order: the command line, `NO_COLOR` (no-color.org), `FORCE_COLOR` (force-color.org), and whether
a terminal is there to show it.
"""

from __future__ import annotations

import os
from typing import TextIO, Union

#: A line in pieces: plain text, or a text and the name of its style.
Words = tuple[Union[str, tuple[str, str]], ...]

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
    """Whether a stream is a terminal that knows more than to add lines."""
    try:
        return stream.isatty() and (os.environ.get("TERM") or "dumb") != "dumb"
    except ValueError:  # closed
        return False


def painted(words: Words, *, colour: bool) -> str:
    """The line; without colour nothing but its text."""
    pieces = [(piece, "") if isinstance(piece, str) else piece for piece in words]
    return "".join(f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and style else text for text, style in pieces)
