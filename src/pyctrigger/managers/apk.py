"""apk: one text for all packages, `F:` lines with a directory and `R:` lines with a file in it (apk-db(5))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .manager import Manager, read

if TYPE_CHECKING:
    from collections.abc import Iterator


class Apk(Manager):
    """Alpine's."""

    database = "/lib/apk/db/installed"

    def owned_pycs(self) -> Iterator[bytes]:
        directory = b""
        for line in read(self.inside(self.database)).split(b"\n"):
            if line.startswith(b"F:"):
                directory = line[2:]
            elif line.startswith(b"R:") and line.endswith(b".pyc"):
                yield b"/" + directory + b"/" + line[2:]
