"""The ways to a directory: which accounts each directory on them keeps out."""

from __future__ import annotations

import os

from ..stamps import inode_of
from .directory import Tree
from .opened import walk_up
from .permission.access_lists import access_list
from .permission.readers import ENTER, Grants


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


def keeps_nobody_out(tree: Tree, directory: str) -> bool:
    """Whether everybody may enter a directory of a tree, and each one above it. Raises OSError."""
    if ways_inside(tree, directory, ""):
        return False
    return all(_grants(above, status).keeps_nobody_out for above, status in walk_up(tree.entered("")))


def _grants(directory: int, status: os.stat_result) -> Grants:
    return Grants.of(status, access_list(directory, status), ENTER)
