"""The bytes of the sources of a tree, and of their pycs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ...pyc.names import PycNames
from ...stamps import inode_of
from ...tree.layout import Layout
from ...tree.listing import PycListing


class Weight:
    """Adds up what directories hold; of the pycs those of one cache tag, which costs a call for each."""

    def __init__(self, layout: Layout, cache_tag: str, levels: frozenset[int] | None) -> None:
        self._layout = layout
        #: Those whose pycs count; None: every level.
        self._levels = levels
        self._names = PycNames(cache_tag)
        #: Equal code at several levels is one file with several names, and counts once.
        self._linked: set[tuple[int, int]] = set()
        #: Bytes.
        self.sources = self.pycs = 0

    def add_sources(self, statuses: Iterable[os.stat_result]) -> None:
        """Take in sources."""
        self.sources += sum(status.st_size for status in statuses)

    def add_pycs(self, relative: str, pycs: PycListing | None) -> None:
        """Take in a directory of pycs."""
        for name, regular in pycs.names.items() if pycs else ():
            if regular and self._names.source_of(name) is not None and self._counts(name):
                with contextlib.suppress(FileNotFoundError):
                    status = self._layout.pycs.lstat(self._layout.pycache(relative), name)
                    inode = inode_of(status)
                    if inode not in self._linked:
                        self.pycs += status.st_size
                    if status.st_nlink > 1:
                        self._linked.add(inode)

    def _counts(self, name: str) -> bool:
        return self._levels is None or self._names.level_of(name) in self._levels
