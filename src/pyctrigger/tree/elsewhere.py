"""Links to directories. Nothing is compiled through one; where that leaves sources without bytecode, it is reported."""

from __future__ import annotations

import os
import stat
from collections.abc import Container

from ..pyc.names import SOURCE_SUFFIX
from ..stamps import inode_of
from .directory import Tree
from .opened import DIRECTORY, Opened, walk_up


def goal_of(tree: Tree, relative: str, name: str) -> str | None:
    """Returns the path that a link to a directory names, or None for anything else. Raises OSError."""
    if not stat.S_ISLNK(tree.lstat(relative, name).st_mode) or not stat.S_ISDIR(tree.follow(relative, name).st_mode):
        return None
    destination = tree.read_link(relative, name)
    return os.path.normpath(os.path.join(tree.describe(relative), destination))


def leads_to_sources(tree: Tree, relative: str, name: str, sites: Container[tuple[int, int]]) -> bool:
    """Whether a link leads to importable sources that lie in none of these site directories. Raises OSError.

    Only that directory and those directly in it are searched: packages link their data, too.
    """
    linked = tree.open_linked(relative, name)
    try:
        with linked as directory:
            return _holds_sources(directory, 1) and not is_below(linked, sites)
    finally:
        os.close(linked.descriptor)


def _holds_sources(directory: int, depth: int) -> bool:
    below = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SOURCE_SUFFIX) and entry.is_file():
                return True
            if depth and entry.name.isidentifier() and entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
    for name in below:
        inner = os.open(name, DIRECTORY, dir_fd=directory)
        try:
            if _holds_sources(inner, depth - 1):
                return True
        finally:
            os.close(inner)
    return False


def is_below(opened: Opened, sites: Container[tuple[int, int]]) -> bool:
    """Whether an open directory is one of `sites`, or lies below one. Raises OSError."""
    return any(inode_of(status) in sites for _, status in walk_up(opened))
