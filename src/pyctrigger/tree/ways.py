"""The ways to a directory: which accounts each directory on them keeps out."""

from __future__ import annotations

import os
import time

from ..stamps import inode_of
from .directory import Tree
from .opened import walk_up
from .permission.access_lists import READ, access_list
from .permission.readers import ENTER, Grants

#: What a mode has if everybody may read a file: root and the owner may in any case.
_READ_BY_ALL = 0o044
#: Seconds. The way to a tree has some ten directories.
_BELIEVED = 1.0


def ways_inside(tree: Tree, directory: str, own: str) -> tuple[Grants, ...]:
    """Returns the grants of the directories from below `own` to `directory`, in one tree, that keep anybody out.

    Raises OSError.
    """
    found = []
    while directory and not f"{own}/".startswith(f"{directory}/"):
        opened = tree.directory(directory)
        found.append(_grants(opened, os.fstat(opened)))
        directory = directory.rpartition("/")[0]
    return tuple(each for each in found if not each.keeps_nobody_out)


def ways_above(tree: Tree, other: Tree) -> tuple[Grants, ...]:
    """Returns the grants of the directories from "/" to a tree that keep anybody out, without those to `other`, too.

    Raises OSError.
    """
    shared = {inode_of(status) for _, status in walk_up(other.entered(""))}
    ways = walk_up(tree.entered(""))
    found = [_grants(above, status) for above, status in ways if inode_of(status) not in shared]
    return tuple(each for each in found if not each.keeps_nobody_out)


class PublicWays:
    """Says which files everybody may read. Remembers the last directory, and for a second how its tree is reached."""

    def __init__(self) -> None:
        #: Whether everybody may enter a directory, by its tree and path.
        self._entered: tuple[int, str, bool] = (0, "", False)
        #: The same of a tree, with all directories above it, and until when that is believed.
        self._reached: tuple[int, float, bool] = (0, 0.0, False)

    def lead_all_to(self, tree: Tree, directory: str, status: os.stat_result, acl: bytes | None) -> bool:
        """Whether everybody may read a file of this status and access list in this directory of a tree."""
        is_plain = acl is None and status.st_mode & _READ_BY_ALL == _READ_BY_ALL
        if not (is_plain or Grants.of(status, acl, READ).keeps_nobody_out):
            return False
        number, entered, may = self._entered
        if (number, entered) != (id(tree), directory):
            try:
                may = self._is_reached(tree) and not ways_inside(tree, directory, "")
            except OSError:  # it has gone, or somebody keeps us out
                return False
            self._entered = id(tree), directory, may
        return may

    def _is_reached(self, tree: Tree) -> bool:
        number, end, may = self._reached
        now = time.monotonic()
        if number != id(tree) or now >= end:
            ways = walk_up(tree.entered(""))
            may = all(_grants(above, status).keeps_nobody_out for above, status in ways)
            self._reached = id(tree), now + _BELIEVED, may
        return may


def _grants(directory: int, status: os.stat_result) -> Grants:
    return Grants.of(status, access_list(directory, status), ENTER)
