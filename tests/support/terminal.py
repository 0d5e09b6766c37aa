"""A terminal that a test reads: what is written to it, and what somebody in front of it sees."""

from __future__ import annotations

import contextlib
import os
import re

_PIECE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]")


def heard(leader: int) -> bytes:
    """What is written to a terminal, until no writer is left; then it is closed."""
    said = b""
    with contextlib.suppress(OSError):  # EIO: the other side is closed
        while piece := os.read(leader, 65536):
            said += piece
    os.close(leader)
    return said


class Screen:
    """Shows what is sent to a terminal so many columns wide, as far as progress needs it (ECMA-48)."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0
        #: Each state of a line before it was rewritten or left.
        self.frames: list[str] = []

    def show(self, said: bytes) -> None:
        """Take in bytes. Fails for what it doesn't know."""
        text = said.decode()
        end = 0
        for match in _PIECE.finditer(text):
            assert match.start() == end, text[end : end + 20]
            end = match.end()
            if match[2]:
                self._control(match[1], match[2])
            elif match[0] == "\n":
                self._keep()
                self._row += 1
            elif match[0] == "\r":
                self._keep()
                self._column = 0
            else:
                self._put(match[0])
        assert end == len(text), text[end : end + 20]
        self._keep()

    @property
    def lines(self) -> list[str]:
        """What can be seen."""
        return [line for line in ("".join(line).rstrip() for line in self._lines) if line]

    def _line(self) -> list[str]:
        while len(self._lines) <= self._row:
            self._lines.append([])
        return self._lines[self._row]

    def _keep(self) -> None:
        text = "".join(self._line()).rstrip()
        if text and text not in self.frames[-1:]:
            self.frames.append(text)

    def _put(self, character: str) -> None:
        if self._column == self._columns:
            self._row, self._column = self._row + 1, 0
        line = self._line()
        line += " " * (self._column + 1 - len(line))
        line[self._column] = character
        self._column += 1

    def _control(self, parameters: str, final: str) -> None:
        if final == "m" or parameters.startswith("?"):  # colour; the cursor comes and goes
            return
        if final == "A":
            self._row -= int(parameters or 1)
            assert self._row >= 0
            return
        assert final == "K", final
        line = self._line()
        self._keep()
        if parameters == "2":
            line.clear()
        else:
            assert parameters in ("", "0")
            del line[self._column :]
