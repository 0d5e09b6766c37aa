"""Witnesses: the files and path components that a probed answer depends on, and whether they are unchanged."""

from __future__ import annotations

import os
import stat

from ..stamps import inode_of, stamp_of
from ..tuples import NamedTuple
from .interpreter import Interpreter


class Witness(NamedTuple):
    """A path component that was examined, and the facts about it; None if it didn't exist."""

    path: str
    facts: tuple[int, ...] | None


class Probed(NamedTuple):
    """An answer, and the files whose change invalidates it."""

    interpreter: Interpreter
    witnesses: tuple[Witness, ...]


def facts_of(status: os.stat_result) -> tuple[int, ...]:
    """Returns the facts that matter: owner and mode of a directory, whose entries may change, and all of a file."""
    facts = (status.st_mode, status.st_uid, status.st_gid)
    return (*facts, *(inode_of(status) if stat.S_ISDIR(status.st_mode) else stamp_of(status)))


def is_unchanged(witness: Witness) -> bool:
    """Whether a path component is the same as when it was examined."""
    try:
        return facts_of(os.lstat(witness.path)) == witness.facts
    except OSError:
        return witness.facts is None


def environment_of(executable: str) -> str | None:
    """Returns the virtual environment that contains an executable (PEP 405): with `-S` the target doesn't know it."""
    above = os.path.dirname(os.path.dirname(executable))
    return above if os.path.isfile(os.path.join(above, "pyvenv.cfg")) else None
