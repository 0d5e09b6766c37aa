"""What an answer of an interpreter's rests on: the files whose change makes it worthless."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..tuples import NamedTuple

if TYPE_CHECKING:
    from .interpreter import Interpreter


class Witness(NamedTuple):
    """A file that the answer depends on, and what it looked like."""

    path: str
    identity: tuple[int, ...]


class Probed(NamedTuple):
    """An answer, and the files whose change makes it worthless."""

    interpreter: Interpreter
    witnesses: tuple[Witness, ...]


def identity(path: str) -> tuple[int, ...] | None:
    """Device, inode, size and times of what `path` leads to; None where it leads nowhere."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def environment_of(executable: str) -> str | None:
    """The virtual environment that an executable stands in (PEP 405); `-S` keeps the target from saying so itself."""
    above = os.path.dirname(os.path.dirname(executable))
    return above if os.path.isfile(os.path.join(above, "pyvenv.cfg")) else None
