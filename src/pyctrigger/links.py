"""Where a path leads, component by component: what could change a file is everything on its way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

#: Links that the kernel follows in one path (path_resolution(7)).
MAX_LINKS = 40


def follow_links(path: str, examine: Callable[[str, bool], os.stat_result]) -> str:
    """Follow a path from `/` on, component by component. Returns where it leads.

    `examine` is called with each component, and with whether that is in a sticky directory, and returns its status.
    Raises OSError if the path leads nowhere.
    """
    pending = path.split("/")[::-1]
    current, above, links = "/", examine("/", False), 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        step = os.path.dirname(current) if part == ".." else os.path.join(current, part)
        status = examine(step, part != ".." and bool(above.st_mode & stat.S_ISVTX))
        if not stat.S_ISLNK(status.st_mode):
            current, above = step, status
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        destination = os.readlink(step)
        if destination.startswith("/"):
            current, above = "/", examine("/", False)
        pending += destination.split("/")[::-1]
    return current
