"""Telling at a glance that a directory is as it was when it needed nothing, and taking down that one needs nothing.

What is taken down was proven by records: each source and each pyc was what it was when the one was made from the other,
and no name among the pycs may ever become reason to act, such as residue that is young yet.
"""

from __future__ import annotations

import os
import struct
import time
from operator import attrgetter
from typing import TYPE_CHECKING

from ..pyc.names import pyc_suffix
from ..state.record import TICK
from ..state.settled import Settled, key_of
from ..version import VERSION

if TYPE_CHECKING:
    from ..state.settled import SettledDirectories
    from ..tree.layout import Layout
    from ..tree.listing import SourceListing
    from .wanted import Wanted

#: What identifies one state of a file or directory; see `state.record`.
_identity = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
_PACKED = struct.Struct("<QQQqq")


class Settlement:
    """Knows the settled directories of one tree, which keeps its pycs beside its sources."""

    def __init__(self, layout: Layout, wanted: Wanted, known: SettledDirectories, *, skips_packages: bool) -> None:
        self._layout = layout
        self._tree = layout.sources
        self._known = known
        self._base = key_of(layout.sources.path)
        self._suffixes = [pyc_suffix(wanted.cache_tag, level) for level in wanted.levels]
        # Another version may judge otherwise, and so may other options.
        files = (wanted.cache_tag, *wanted.header, wanted.levels, wanted.mode.value, wanted.source_date_epoch)
        self._terms = repr((VERSION, *files, wanted.exclude, wanted.create_missing, skips_packages))
        #: In the directories that were as they had been; all of them are fresh.
        self.sources = 0

    def directories(self, relative: str, *, leaf: bool = False) -> list[str] | None:
        """The directories in this one, if it is settled. With `leaf` only one that has none is looked at."""
        settled = self._known.of(self._key(relative))
        if settled is None or settled.terms != self._terms or (leaf and settled.below):
            return None
        sources = os.fsdecode(settled.sources).split("/") if settled.sources else []
        try:
            if not self._is_as_it_was(relative, settled, sources):
                return None
        except (OSError, struct.error):
            return None
        self.sources += len(sources)
        return os.fsdecode(settled.below).split("/") if settled.below else []

    def reconsider(self, relative: str) -> None:
        """A directory found settled has changed meanwhile, by what was removed below it; it is looked at after all."""
        settled = self._known.of(self._key(relative))
        if settled is not None and settled.sources:
            self.sources -= settled.sources.count(b"/") + 1

    def _is_as_it_was(self, relative: str, settled: Settled, sources: list[str]) -> bool:
        seen = _PACKED.iter_unpack(settled.seen)
        if not (sources or settled.below) and relative:
            above, _, name = relative.rpartition("/")
            return _identity(self._tree.lstat(above, name)) == next(seen, None)
        directory = self._tree.directory(relative)
        if _identity(os.fstat(directory)) != next(seen, None):
            return False
        if not sources:
            return True
        pycache = next(seen, None)
        for name in sources:
            if _identity(os.stat(name, dir_fd=directory, follow_symlinks=False)) != next(seen, None):
                return False
        directory = self._tree.directory(self._layout.pycache(relative))
        if _identity(os.fstat(directory)) != pycache:
            return False
        for name in sources:
            for suffix in self._suffixes:
                status = os.stat(name[:-3] + suffix, dir_fd=directory, follow_symlinks=False)
                if _identity(status) != next(seen, None):
                    return False
        return True

    # -- taking down ---------------------------------------------------------------------------------------------

    def begin(self, relative: str) -> Glance | None:
        """Before a directory is listed: what it looks like. None where it can't be told."""
        try:
            return Glance(os.fstat(self._tree.directory(relative)))
        except OSError:
            return None

    def end(self, relative: str, listing: SourceListing, glance: Glance | None) -> None:
        """A directory was looked at; `glance` is None if it needs something, or may need something by and by."""
        key = self._key(relative)
        before = self._known.of(key)
        below = [os.fsencode(name) for name in listing.directories]
        if before is not None:
            self._known.forget(key, set(before.below.split(b"/")).difference(below, (b"",)))
        seen = glance.packed(listing, len(self._suffixes)) if glance is not None else None
        if seen is not None:
            names = b"/".join([os.fsencode(name) for name, _ in listing.sources])
            self._known.note(key, Settled(self._terms, b"/".join(below), names, seen))

    def _key(self, relative: str) -> bytes:
        return self._base + os.fsencode(relative).replace(b"/", b"\0") + b"\0" if relative else self._base


class Glance:
    """What a directory looked like before it was listed, and its pycs when they were compared."""

    def __init__(self, directory: os.stat_result) -> None:
        # A change within a tick of the kernel's clock may not show.
        self._latest = time.time_ns() - TICK
        self._directories = [directory]
        #: Those that are known to be made from their sources: by source, and by level.
        self.pycs: list[os.stat_result] = []

    def enter_pycache(self, descriptor: int) -> None:
        """Before the `__pycache__` is listed. Raises OSError."""
        self._directories.append(os.fstat(descriptor))

    def packed(self, listing: SourceListing, levels: int) -> bytes | None:
        """All identities; None where they prove nothing."""
        if listing.links or len(self.pycs) != levels * len(listing.sources):
            return None
        if listing.has_pycache != bool(listing.sources) or len(self._directories) != 1 + listing.has_pycache:
            return None
        if any(max(status.st_mtime_ns, status.st_ctime_ns) >= self._latest for status in self._directories):
            return None
        statuses = [*self._directories, *(status for _, status in listing.sources), *self.pycs]
        try:
            return b"".join([_PACKED.pack(*_identity(status)) for status in statuses])
        except struct.error:  # times before 1677 or after 2262
            return None
