"""The directories that lead to a source and not to its pyc: whom one of them keeps out may not read the pyc either.

Beside its source a pyc lies behind the same directories. A pycache prefix and a link lead past some of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from ..identity import ActingAsOurselves
from .access_lists import access_list
from .readers import ENTER, Grants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..directory import Tree
    from ..opened import Opened

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: To look at a directory that may be entered and not be read (open(2), Linux).
_BY_NAME = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Directories above each other, up to the system's root.
_MOST = 4096


def ways_inside(tree: Tree, directory: str, own: str) -> tuple[Grants, ...]:
    """What the directories on the way from `own` to `directory` grant, both in one tree."""
    found = []
    while directory and not f"{own}/".startswith(f"{directory}/"):
        found.append(_grants(tree.directory(directory)))
        directory = directory.rpartition("/")[0]
    return tuple(each for each in found if not each.keeps_nobody_out)


class WaysFromAbove:
    """The way to each directory of a tree, from the root of the system, less what leads to another tree, too."""

    def __init__(self, tree: Tree, other: Tree) -> None:
        self._tree = tree
        self._other = other
        self._above: tuple[Grants, ...] | None = None
        #: Of the directory asked for last.
        self._last: tuple[str, tuple[Grants, ...]] = "\0", ()

    def to(self, directory: str) -> tuple[Grants, ...]:
        """What the directories grant that keep somebody out, this one among them. Raises OSError."""
        if self._last[0] != directory:
            found, inside = [], directory
            while inside:
                found.append(_grants(self._tree.directory(inside)))
                inside = inside.rpartition("/")[0]
            self._last = directory, (*self._to_tree(), *(each for each in found if not each.keeps_nobody_out))
        return self._last[1]

    def _to_tree(self) -> tuple[Grants, ...]:
        if self._above is None:
            shared = {identity for identity, _ in _upwards(self._other.entered(""))}
            ways = [grants for identity, grants in _upwards(self._tree.entered("")) if identity not in shared]
            self._above = tuple(each for each in ways if not each.keeps_nobody_out)
        return self._above


def _upwards(opened: Opened) -> Iterator[tuple[tuple[int, int], Grants]]:
    """An open directory, and each above it, with device and inode."""
    here, last = os.dup(opened.descriptor), None
    try:
        for _ in range(_MOST):
            status = os.fstat(here)
            identity = status.st_dev, status.st_ino
            if identity == last:
                return
            yield identity, _grants(here, status)
            last = identity
            above = _above(here, opened)
            os.close(here)
            here = above
    finally:
        os.close(here)


def _above(directory: int, opened: Opened) -> int:
    """The directory above one, looked at as whose place the way begins in; those further up may keep that one out."""
    for acting in (opened, ActingAsOurselves()):
        for flags in (_DIRECTORY, _BY_NAME):
            with contextlib.suppress(PermissionError), acting:
                return os.open("..", flags, dir_fd=directory)
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _grants(directory: int, status: os.stat_result | None = None) -> Grants:
    status = os.fstat(directory) if status is None else status
    return Grants.of(status, access_list(directory, status), ENTER)
