"""What a purge takes, told before it takes it: from which place, how much, and how much of it others have written."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ...outcome.report import Taking
from ...pyc.names import writer_of
from ...stamps import inode_of
from ...state.records.record import digest_of_pieces, identity_of
from ...tree.source import LARGEST_SOURCE, SourceRefused, digest_pyc

if TYPE_CHECKING:
    import os

    from ...state.records.manifest import Manifest
    from ...tree.layout import Layout
    from .steps import Removal


class Takings:
    """Adds up what is to go, site directory by site directory. The state's records say what is our own work."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._found: dict[str, Taking] = {}
        #: Equal code at several levels is one file with several names, and counts once.
        self._linked: set[tuple[int, int]] = set()

    def add(self, layout: Layout, relative: str, removal: Removal) -> None:
        """Take in one file."""
        found = self._found.get(layout.sources.path) or Taking(layout.describe_source(""))
        is_ours = writer_of(removal.name) is not None
        size = 0
        with contextlib.suppress(FileNotFoundError):
            status = layout.pycs.lstat(layout.pycache(relative), removal.name)
            inode = inode_of(status)
            size = 0 if inode in self._linked else status.st_size
            if status.st_nlink > 1:
                self._linked.add(inode)
            is_ours |= self._is_recorded(layout, relative, removal.name, status)
        self._found[layout.sources.path] = found._replace(
            pycs=found.pycs + 1, bytes=found.bytes + size, by_others=found.by_others + (not is_ours)
        )

    def _is_recorded(self, layout: Layout, relative: str, name: str, status: os.stat_result) -> bool:
        """Whether a pyc is what we have written, by the file or, where it was copied back or linked, by its bytes."""
        record = self._manifest.records(layout.describe_pyc(relative)).get(name)
        if record is None or not record.microseconds:
            return False  # without a time it is of somebody else's pyc, which a run has looked at
        if record.pyc == identity_of(status):
            return True
        pycache = layout.pycache(relative)
        try:
            found = digest_pyc(layout.pycs, pycache, name, LARGEST_SOURCE, len(record.header), digest_of_pieces)
        except (OSError, SourceRefused):
            return False
        return (found.header, found.digest) == (record.header, record.body_digest)

    def by_site(self) -> list[Taking]:
        """Each site directory that loses something."""
        return list(self._found.values())
