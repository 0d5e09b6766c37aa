"""Telling at a glance that a directory is as it was when it needed nothing, and taking down that one needs nothing.

What is taken down was proven by records: each source and each pyc was what it was when the one was made from the other,
and no name among the pycs may ever become reason to act, such as residue that is young yet.
"""

from __future__ import annotations

import os
import struct
import time
from typing import TYPE_CHECKING

from ...pyc.names import PYCACHE, pyc_suffix
from ...stamps import stamp_of
from ...state.records.parts import PACKED
from ...state.records.record import is_older
from ...state.records.unchanged import MOST_NOTED, UnchangedDirectory, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...state.records.unchanged import UnchangedDirectories
    from ...tree.layout import Layout
    from ...tree.listing import SourceListing
    from .wanted import Wanted

#: No listing has them: a row that does is damaged.
_NEVER_BELOW = frozenset({"", ".", "..", PYCACHE})


class Settlement:
    """Knows the settled directories of one tree, which keeps its pycs beside its sources."""

    def __init__(
        self,
        layout: Layout,
        wanted: Wanted,
        known: UnchangedDirectories,
        others: frozenset[tuple[int, int]],
        skips_packages: bool,
        *,
        keeps: bool = True,
    ) -> None:
        self._layout = layout
        self._tree = layout.sources
        self._known = known
        self._keeps = keeps
        #: Site directories of their own.
        self._others = others
        self._base = key_of(layout.sources.path)
        self._suffixes = [pyc_suffix(wanted.cache_tag, level) for level in wanted.levels]
        self._terms = repr((wanted.terms, skips_packages))
        #: In the directories that were as they had been; all of them are fresh.
        self.sources = 0
        #: The identities of the last of these directories, and of its `__pycache__` if it has one.
        self.seen = b""

    def directories(self, relative: str) -> list[str] | None:
        """The directories in this one, if it is settled."""
        settled = self._known.of(self._key(relative))
        if settled is None or settled.terms != self._terms:
            return None
        sources = os.fsdecode(settled.sources).split("/") if settled.sources else []
        try:
            if not self._is_as_it_was(relative, settled, sources):
                return None
        except (OSError, ValueError, struct.error, IndexError):
            return None
        below = os.fsdecode(settled.below).split("/") if settled.below else []
        if b"\0" in settled.below or not _NEVER_BELOW.isdisjoint(below):
            return None
        self.sources += len(sources)
        self.seen = settled.seen[: PACKED.size * (2 if sources else 1)]
        return below

    def reconsider(self, relative: str) -> None:
        """A directory found settled has changed meanwhile, by what was removed below it; it is looked at after all."""
        settled = self._known.of(self._key(relative))
        if settled is not None and settled.sources:
            self.sources -= settled.sources.count(b"/") + 1

    def _is_as_it_was(self, relative: str, settled: UnchangedDirectory, sources: list[str]) -> bool:
        size = PACKED.size
        count = (2 + len(sources) * (1 + len(self._suffixes))) if sources else 1
        if len(settled.seen) != count * size:
            return False
        seen = PACKED.iter_unpack(settled.seen)
        own = next(seen)
        if relative and own[:2] in self._others:
            return False
        if not (sources or settled.below) and relative:
            above, _, name = relative.rpartition("/")
            return stamp_of(self._tree.lstat(above, name)) == own
        with self._tree.entered(relative) as directory:
            if stamp_of(os.fstat(directory)) != own:
                return False
            if not sources:
                return True
            pycache = next(seen)
            if not _have_identities(directory, sources, seen):
                return False
        with self._tree.entered(self._layout.pycache(relative)) as directory:
            if stamp_of(os.fstat(directory)) != pycache:
                return False
            pycs = (name[:-3] + suffix for name in sources for suffix in self._suffixes)
            return _have_identities(directory, pycs, seen)

    # -- taking down ---------------------------------------------------------------------------------------------

    def begin(self, relative: str) -> Glance | None:
        """Before a directory is listed: what it looks like. None where it can't be told."""
        try:
            return Glance(os.fstat(self._tree.directory(relative)))
        except OSError:
            return None

    def end(self, relative: str, listing: SourceListing, glance: Glance | None) -> None:
        """A directory was looked at; `glance` is None if it needs something, or may need something by and by."""
        if not self._keeps:
            return
        key = self._key(relative)
        before = self._known.of(key)
        below = [os.fsencode(name) for name in listing.directories]
        if before is not None:
            self._known.forget(key, set(before.below.split(b"/")).difference(below, (b"",)))
        seen = glance.packed(listing) if glance is not None else None
        if seen is not None:
            names = b"/".join([os.fsencode(name) for name in listing.sources])
            self._known.note(key, UnchangedDirectory(self._terms, b"/".join(below), names, seen))

    def _key(self, relative: str) -> bytes:
        return self._base + os.fsencode(relative).replace(b"/", b"\0") + b"\0" if relative else self._base


def _have_identities(directory: int, names: Iterable[str], expected: Iterator[tuple[int, ...]]) -> bool:
    """Whether the files of these names are what the next of the identities say."""
    # The names first: at their end nothing may be taken from the other.
    return all(
        stamp_of(os.stat(name, dir_fd=directory, follow_symlinks=False)) == seen for name, seen in zip(names, expected)
    )


class Glance:
    """What a directory looked like before it was listed, and its pycs when they were compared."""

    def __init__(self, directory: os.stat_result) -> None:
        self._began = time.time_ns()
        self._directories = [directory]
        self._sources = bytearray()
        #: Those that are known to be made from their sources: by source, and by level.
        self._pycs = bytearray()
        self._is_of_no_use = False

    def enter_pycache(self, descriptor: int) -> None:
        """Before the `__pycache__` is listed. Raises OSError."""
        self._directories.append(os.fstat(descriptor))

    def add(self, sources: list[os.stat_result], pycs: list[os.stat_result], levels: int) -> None:
        """Take in sources, and those pycs of them that are known to be made from them. One that isn't spoils all."""
        if self._is_of_no_use or len(pycs) != levels * len(sources) or len(self._pycs) > MOST_NOTED:
            self._is_of_no_use = True
            return
        try:
            self._sources += b"".join([PACKED.pack(*stamp_of(status)) for status in sources])
            self._pycs += b"".join([PACKED.pack(*stamp_of(status)) for status in pycs])
        except struct.error:  # times before 1677 or after 2262
            self._is_of_no_use = True

    def packed(self, listing: SourceListing) -> bytes | None:
        """All identities; None where they prove nothing."""
        if self._is_of_no_use or listing.links or len(self._sources) != PACKED.size * len(listing.sources):
            return None
        if listing.has_pycache != bool(listing.sources) or len(self._directories) != 1 + listing.has_pycache:
            return None
        if not all(is_older(status, self._began) for status in self._directories):
            return None  # a change since then may not show
        try:
            directories = [PACKED.pack(*stamp_of(status)) for status in self._directories]
        except struct.error:
            return None
        return b"".join([*directories, self._sources, self._pycs])
