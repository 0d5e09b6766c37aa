"""Which environments have state here: each has a directory of its own, and what is gone needs none."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, NamedTuple

from . import files

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "environment.json"


class ServedEnvironment(NamedTuple):
    """An environment that a run has served."""

    installation: str
    prefix: str
    """Its real path."""
    executable: str
    """The interpreter that served it last, its own or another."""


def note(directory: str, prefix: str, executable: str) -> None:
    """Take down what a state directory is about. Raises OSError."""
    path, value = os.path.join(directory, _NAME), {"prefix": prefix, "executable": executable}
    if files.read(path) != value:
        files.write_durably(path, value)


def served(base: str) -> Iterator[ServedEnvironment]:
    """Every environment with state below a state directory."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return  # no run has left any state
    for name in names:
        known = files.read(os.path.join(base, name, _NAME))
        with contextlib.suppress(KeyError, TypeError):
            yield ServedEnvironment(name, os.fspath(known["prefix"]), os.fspath(known["executable"]))
