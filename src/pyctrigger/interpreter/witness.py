"""What an answer of an interpreter's rests on: what was judged and read for it, and how to see that it is unchanged."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ..tuples import NamedTuple

if TYPE_CHECKING:
    from .interpreter import Interpreter


class Witness(NamedTuple):
    """A step of a way that was judged, and its facts; without any, nothing was there."""

    path: str
    facts: tuple[int, ...] | None


class Probed(NamedTuple):
    """An answer, and the files whose change makes it worthless."""

    interpreter: Interpreter
    witnesses: tuple[Witness, ...]


def facts_of(status: os.stat_result) -> tuple[int, ...]:
    """What judging a step went by: owner and mode of a directory, whose entries may come and go; all of a file."""
    facts = (status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return facts
    return (*facts, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def is_unchanged(witness: Witness) -> bool:
    """Whether a step is what it was when it was judged."""
    try:
        return facts_of(os.lstat(witness.path)) == witness.facts
    except OSError:
        return witness.facts is None


def environment_of(executable: str) -> str | None:
    """The virtual environment that an executable stands in (PEP 405); `-S` keeps the target from saying so itself."""
    above = os.path.dirname(os.path.dirname(executable))
    return above if os.path.isfile(os.path.join(above, "pyvenv.cfg")) else None
