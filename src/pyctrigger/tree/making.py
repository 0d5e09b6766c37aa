"""Making the directories on a way, each as the account whose place it is to be in."""

from __future__ import annotations

import contextlib
import os

from .directory import open_way
from .identity import making_for, masking_nothing_of


def make_directories(path: str, root: str = "/") -> None:
    """Make a directory inside a staged root, and those above it, as whose place each of them is to be in.

    Raises like `open_way`.
    """
    above, name = os.path.split(path.rstrip("/"))
    try:
        os.close(open_way(path, root).descriptor)
    except FileNotFoundError:
        if not name:
            raise  # the root itself is gone
        make_directories(above, root)
        opened = open_way(above, root)
        try:
            with (
                opened as directory,
                masking_nothing_of(0o755),
                contextlib.suppress(FileExistsError),
                making_for(os.fstat(directory).st_gid),
            ):
                os.mkdir(name, 0o755, dir_fd=directory)
        finally:
            os.close(opened.descriptor)
