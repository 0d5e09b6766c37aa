"""Directories that lead to a source, but not to its pyc: whoever can't enter one may not read the pyc either.

A pyc next to its source is below the same directories. With a pycache prefix, or through a link, it isn't.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from ...stamps import inode_of
from ..directory import Tree
from ..identity import ActingAsOurselves
from ..opened import Opened
from .access_lists import access_list
from .readers import ENTER, Grants

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: For a directory that may be entered, but not read (open(2), Linux).
_BY_NAME = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Levels of directories up to the system's root.
_MAX_DEPTH = 4096


def ways_inside(tree: Tree, directory: str, own: str) -> tuple[Grants, ...]:
    """Returns what the directories on the way from `own` to `directory` grant, both in one tree."""
    found = []
    while directory and not f"{own}/".startswith(f"{directory}/"):
        found.append(_grants(tree.directory(directory)))
        directory = directory.rpartition("/")[0]
    return tuple(each for each in found if not each.keeps_nobody_out)


class WaysFromAbove:
    """Grants of the directories from "/" to each directory of a tree, without those that lead to another tree, too."""

    def __init__(self, tree: Tree, other: Tree) -> None:
        self._tree = tree
        self._other = other
        self._above: tuple[Grants, ...] | None = None
        #: The last directory and its result.
        self._last: tuple[str, tuple[Grants, ...]] = "\0", ()

    def to(self, directory: str) -> tuple[Grants, ...]:
        """Returns the grants of those directories, `directory` included, that keep anybody out. Raises OSError."""
        if self._last[0] != directory:
            found, inside = [], directory
            while inside:
                found.append(_grants(self._tree.directory(inside)))
                inside = inside.rpartition("/")[0]
            self._last = directory, (*self._to_tree(), *(each for each in found if not each.keeps_nobody_out))
        return self._last[1]

    def _to_tree(self) -> tuple[Grants, ...]:
        if self._above is None:
            shared = {identity for identity, _ in _walk_up(self._other.entered(""))}
            ways = [grants for identity, grants in _walk_up(self._tree.entered("")) if identity not in shared]
            self._above = tuple(each for each in ways if not each.keeps_nobody_out)
        return self._above


def _walk_up(opened: Opened) -> Iterator[tuple[tuple[int, int], Grants]]:
    """Yields device, inode and grants of an open directory, and of each one above it."""
    here, last = os.dup(opened.descriptor), None
    try:
        for _ in range(_MAX_DEPTH):
            status = os.fstat(here)
            identity = inode_of(status)
            if identity == last:
                return
            yield identity, _grants(here, status)
            last = identity
            above = _open_parent(here, opened)
            os.close(here)
            here = above
    finally:
        os.close(here)


def _open_parent(directory: int, opened: Opened) -> int:
    """Open the parent of a directory: as the account that owns the place, or as ourselves where it has no access."""
    for acting in (opened, ActingAsOurselves()):
        for flags in (_DIRECTORY, _BY_NAME):
            with contextlib.suppress(PermissionError), acting:
                return os.open("..", flags, dir_fd=directory)
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _grants(directory: int, status: os.stat_result | None = None) -> Grants:
    status = os.fstat(directory) if status is None else status
    return Grants.of(status, access_list(directory, status), ENTER)
