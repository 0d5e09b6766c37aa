"""Removing, with the proof at the moment of removal.

A pyc goes when its source is gone: ENOENT for the name itself, no link followed; every other answer keeps it. A
directory goes when it is empty, which rmdir(2) proves by itself. Everything happens through the directory's descriptor.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layout import Layout


def source_is_gone(layout: Layout, relative: str, source: str) -> bool:
    """Whether there is nothing at all under the name of a source."""
    try:
        layout.sources.lstat(relative, source)
    except OSError as error:
        return error.errno == errno.ENOENT
    return False


def remove_file(layout: Layout, pycache: str, name: str) -> bool:
    """Remove a file from a directory of pycs; False if it was gone. Raises OSError."""
    try:
        os.unlink(name, dir_fd=layout.pycs.directory(pycache))
    except FileNotFoundError:
        return False
    return True


def remove_pycache(layout: Layout, relative: str) -> bool:
    """Remove the directory that holds the pycs of `relative`, if it is empty; whether it was. Raises OSError."""
    return _remove_directory(layout, layout.pycache(relative), of_pycs=True)


def remove_package(layout: Layout, relative: str) -> bool:
    """Remove a source directory that a sweep has emptied; whether it was empty. Raises OSError."""
    return _remove_directory(layout, relative, of_pycs=False)


def _remove_directory(layout: Layout, relative: str, *, of_pycs: bool) -> bool:
    tree = layout.pycs if of_pycs else layout.sources
    above, _, name = relative.rpartition("/")
    try:
        os.rmdir(name, dir_fd=tree.directory(above))
    except OSError as error:
        # Somebody put something there meanwhile (or, POSIX allows it, EEXIST), or it is gone already.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            return False
        raise
    tree.forget(relative)
    return True
