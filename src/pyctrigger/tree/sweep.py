"""Removing orphaned pycs and empty directories, each proven to be one at the moment of removal.

A pyc is removed when its source is gone: ENOENT for the name itself, without following a link; any other answer keeps
it. A directory is removed when it is empty, which rmdir(2) checks itself. All calls go through directory descriptors.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from .directory import Tree
from .layout import Layout


def remove_files(
    layout: Layout, relative: str, doomed: Iterable[tuple[str, str | None]]
) -> Iterator[tuple[str, bool, OSError | None]]:
    """Remove files from the pycache of `relative`. Each comes with the source that has to be gone first, or None.

    Yields the result for each file whose source is gone, or can't be asked about: its name, whether we removed it, and
    the error.
    """
    pycache = layout.pycache(relative)
    for name, source in doomed:
        try:
            if source is not None and not _is_gone(layout.sources, relative, source):
                continue
            with layout.pycs.entered(pycache) as directory:
                os.unlink(name, dir_fd=directory)
            yield name, True, None
        except OSError as error:
            yield name, False, None if error.errno == errno.ENOENT else error


def _is_gone(sources: Tree, relative: str, source: str) -> bool:
    """Whether nothing at all has the name of a source. Raises OSError if that can't be found out."""
    try:
        sources.lstat(relative, source)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # something else is in the place of its directory
            raise
    return False


def remove_directory(tree: Tree, relative: str) -> bool:
    """Remove a directory if it is empty. Returns whether it was. Raises OSError, FileNotFoundError if it is gone."""
    above, _, name = relative.rpartition("/")
    try:
        with tree.entered(above) as directory:
            os.rmdir(name, dir_fd=directory)
    except OSError as error:
        # Not empty any more (ENOTEMPTY, or EEXIST as POSIX allows), or a mount point.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            return False
        raise
    tree.forget(relative)
    return True
