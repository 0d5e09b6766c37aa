"""Environments that have state here, each in its own directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from . import files

_NAME = "environment.json"


class ServedEnvironment(NamedTuple):
    """An environment that a run has worked on."""

    installation: str
    prefix: str
    """Its real path."""
    executable: str
    """The interpreter that was last used for it, its own or another one."""


def note(directory: str, prefix: str, executable: str) -> None:
    """Record which environment a state directory belongs to. Raises OSError."""
    path, value = os.path.join(directory, _NAME), {"prefix": prefix, "executable": executable}
    if files.read(path) != value:
        files.write_durably(path, value)


def served(base: str) -> Iterator[ServedEnvironment]:
    """Yields all environments that have state below a state directory."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return  # no run has left any state
    for name in names:
        known = files.read(os.path.join(base, name, _NAME))
        with contextlib.suppress(KeyError, TypeError):
            yield ServedEnvironment(name, os.fspath(known["prefix"]), os.fspath(known["executable"]))
