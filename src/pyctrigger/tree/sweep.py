"""Removing, with the proof at the moment of removal.

A pyc goes when its source is gone: ENOENT for the name itself, no link followed; every other answer keeps it. A
directory goes when it is empty, which rmdir(2) proves by itself. Everything happens through the directory's descriptor.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Optional

from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .directory import Tree
    from .layout import Layout

#: What became of a file whose source is gone: its name, whether it is gone by us, and what went wrong.
Removed = tuple[str, bool, Optional[OSError]]


def remove_files(layout: Layout, relative: str, doomed: Iterable[tuple[str, str | None]]) -> Iterator[Removed]:
    """Remove files from the directory of the pycs of `relative`, each with the source that has to be gone, or None.

    Both directories are opened once.
    """
    with contextlib.ExitStack() as held:
        try:
            pycs = _hold(layout.pycs, layout.pycache(relative), held)
        except OSError as error:
            for name, _ in () if error.errno == errno.ENOENT else doomed:
                yield name, False, error
            return
        try:
            sources = _hold(layout.sources, relative, held)
            all_gone = False
        except OSError as error:
            sources, all_gone = None, error.errno == errno.ENOENT
        for name, source in doomed:
            if source is not None and not (all_gone or (sources is not None and _is_gone(sources, source))):
                continue
            try:
                with pycs as directory:
                    os.unlink(name, dir_fd=directory)
            except FileNotFoundError:
                yield name, False, None
            except OSError as error:
                yield name, False, error
            else:
                yield name, True, None


def _hold(tree: Tree, relative: str, held: contextlib.ExitStack) -> Opened:
    """A directory with a descriptor of our own: the tree gives its own back when it needs others."""
    opened = tree.entered(relative)
    descriptor = os.dup(opened.descriptor)
    held.callback(os.close, descriptor)
    return Opened(descriptor, opened.identity)


def _is_gone(sources: Opened, source: str) -> bool:
    """Whether there is nothing at all under the name of a source."""
    try:
        with sources as directory:
            os.stat(source, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:  # ENOENT; what else may be wrong proves nothing
        return True
    except OSError:
        return False
    return False


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
        with tree.entered(above) as directory:
            os.rmdir(name, dir_fd=directory)
    except OSError as error:
        # Somebody put something there meanwhile (or, POSIX allows it, EEXIST), it is gone already, or it is a mount's.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY):
            return False
        raise
    tree.forget(relative)
    return True
