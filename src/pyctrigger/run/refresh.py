"""Refreshing: a new header for the same code.

A reinstalled package, an upgrade and a copied tree change the times of sources, and few of their contents. Where the
manifest knows that a body was made from just these bytes, compiling again would only give that body again.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from ..pyc.header import Verdict
from ..state.record import identity_at, identity_of
from ..tree.source import SourceRefused, source_status

if TYPE_CHECKING:
    from ..state.manifest import Manifest
    from ..tree.layout import Layout
    from .steps import Stale
    from .wanted import Wanted

_OPEN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def refresh(layout: Layout, relative: str, stale: Stale, wanted: Wanted, manifest: Manifest) -> Stale | None:
    """Refresh those levels of a source that can be; what is left to compile, None if that is nothing.

    The header is written in its place: the file has one name, so nobody else's file changes with it, and its body stays
    what it was at every moment. What has changed since it was looked at is left to be compiled.
    """
    left = []
    expected = wanted.header.timestamp(wanted.mtime(stale.status), stale.status.st_size)
    is_still = _is_still(layout, relative, stale)
    for state in stale.levels:
        can_be = is_still and state.verdict is Verdict.REFRESHABLE
        if not (can_be and _write(layout, relative, state.pyc, expected, manifest, stale.status)):
            left.append(state)
    return stale._replace(levels=tuple(left)) if left else None


def _is_still(layout: Layout, relative: str, stale: Stale) -> bool:
    try:
        status = source_status(layout.sources, relative, stale.name)
    except (OSError, SourceRefused):
        return False
    return identity_of(status) == identity_of(stale.status)


def _write(layout: Layout, relative: str, pyc: str, header: bytes, manifest: Manifest, source: os.stat_result) -> bool:
    """Put the header into its file. Raises OSError where the file system doesn't take it."""
    directory = layout.describe_pyc(relative)
    record = manifest.records(directory).get(pyc)
    if record is None:
        return False
    descriptor = os.open(pyc, _OPEN, dir_fd=layout.pycs.directory(layout.pycache(relative)))
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_nlink != 1 or identity_of(before) != record.pyc:
            return False
        if os.pwrite(descriptor, header, 0) != len(header):
            return False
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    manifest.record(
        directory,
        pyc,
        record._replace(source=identity_at(source, time.time_ns()), pyc=identity_of(after), header=header),
    )
    return True
