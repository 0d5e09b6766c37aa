"""Directories that needed no work: recognises unchanged ones by stat alone, and proves which ones need none.

What is proven was proven by records: each source and each pyc was what it was when the one was made from the other,
and nothing among the pycs will have to be removed later, such as residue that is too young.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Iterator

from ...pyc.names import PYCACHE
from ...stamps import stamp_of
from ...state.records.directories import MOST_NOTED, UnchangedDirectories, UnchangedDirectory, key_of
from ...state.records.record import PACKED, is_older
from ...tree.listing import SourceListing
from .knowledge import PlannedSite
from .steps import DirectoryNote

#: Listings never contain them: a row that does is damaged.
_NEVER_BELOW = frozenset({"", ".", "..", PYCACHE})


class UnchangedFinder:
    """Recognises the directories of one tree, which keeps its pycs beside its sources."""

    def __init__(self, site: PlannedSite, known: UnchangedDirectories) -> None:
        self._site = site
        self._layout, self._tree, wanted = site.layout, site.layout.sources, site.wanted
        self._known = known
        self._notes = site.notes
        self._base = key_of(self._tree.path)
        self._suffixes = [suffix for _, suffix in wanted.suffixes]
        self._terms = repr((wanted.terms, site.is_library))
        #: The last directory that was looked up, with its key and its note.
        self._before: tuple[str | None, bytes, UnchangedDirectory | None] = (None, b"", None)

    def find(self, relative: str) -> tuple[list[str], int] | None:
        """Returns the subdirectories of an unchanged directory, and the number of its sources, all fresh; or None."""
        self._before = relative, *self._noted(relative)
        unchanged = self._before[2]
        if unchanged is None or unchanged.terms != self._terms:
            return None
        sources = os.fsdecode(unchanged.sources).split("/") if unchanged.sources else []
        try:
            if not self._is_as_it_was(relative, unchanged, sources):
                return None
        except (OSError, ValueError, struct.error, IndexError):
            return None
        below = os.fsdecode(unchanged.below).split("/") if unchanged.below else []
        if b"\0" in unchanged.below or not _NEVER_BELOW.isdisjoint(below):
            return None
        if self._notes:
            self._notes.unchanged(relative, unchanged.seen[: PACKED.size * (2 if sources else 1)])
        return below, len(sources)

    def _is_as_it_was(self, relative: str, unchanged: UnchangedDirectory, sources: list[str]) -> bool:
        size = PACKED.size
        count = (2 + len(sources) * (1 + len(self._suffixes))) if sources else 1
        if len(unchanged.seen) != count * size:
            return False
        seen = PACKED.iter_unpack(unchanged.seen)
        own = next(seen)
        if relative and own[:2] in self._site.others:
            return False
        if not (sources or unchanged.below) and relative:
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

    # -- proving -------------------------------------------------------------------------------------------------

    def end(self, relative: str, listing: SourceListing, snapshot: Snapshot | None) -> DirectoryNote | None:
        """Returns what was proven about a directory; `snapshot` is None if it needs something now or will later."""
        if self._notes and self._notes.again:
            return None  # what was just written is too young to prove anything
        is_last = relative == self._before[0]
        key, before = self._before[1:] if is_last else self._noted(relative)
        seen = snapshot.packed(listing) if snapshot is not None else None
        if before is None and seen is None:
            return None
        below = [os.fsencode(name) for name in listing.directories]
        gone = set(before.below.split(b"/")).difference(below, (b"",)) if before is not None else ()
        unchanged = None
        if seen is not None:
            names = os.fsencode("/".join(listing.sources))
            unchanged = UnchangedDirectory(self._terms, b"/".join(below), names, seen)
        return DirectoryNote(key, unchanged, tuple(gone))

    def _noted(self, relative: str) -> tuple[bytes, UnchangedDirectory | None]:
        """Returns the key of a directory, and its note."""
        key = self._base + os.fsencode(relative).replace(b"/", b"\0") + b"\0" if relative else self._base
        return key, self._known.of(key)


def _have_identities(directory: int, names: Iterable[str], expected: Iterator[tuple[int, ...]]) -> bool:
    """Whether the files with these names have the next of the expected identities."""
    # The names first: zip() must not take an identity too many.
    for name, known in zip(names, expected):  # noqa: SIM110 - all() and its generator cost a twentieth more
        if stamp_of(os.lstat(name, dir_fd=directory)) != known:
            return False
    return True


class Snapshot:
    """The identities of a directory before it was listed, and of its sources and pycs when they were compared."""

    def __init__(self, directory: os.stat_result) -> None:
        self._began = time.time_ns()
        self._directories = [directory]
        self._sources = bytearray()
        #: Of the pycs that are known to be made from their sources, by source and level.
        self._pycs = bytearray()
        self._is_of_no_use = False

    def enter_pycache(self, descriptor: int) -> None:
        """Before the `__pycache__` is listed. Raises OSError."""
        self._directories.append(os.fstat(descriptor))

    def add(self, sources: list[bytes], pycs: list[bytes], count: int, levels: int) -> None:
        """Add the identities of sources, and of their pycs that are known to be made from them.

        One of `count` sources that isn't among them makes everything useless.
        """
        joined, joined_pycs = b"".join(sources), b"".join(pycs)
        # An identity with times before 1677 or after 2262 is longer than a packed one.
        is_whole = (len(joined), len(joined_pycs)) == (PACKED.size * count, PACKED.size * count * levels)
        if not is_whole or len(self._pycs) > MOST_NOTED:
            self._is_of_no_use = True
        else:
            self._sources += joined
            self._pycs += joined_pycs

    def packed(self, listing: SourceListing) -> bytes | None:
        """Returns all identities, packed; None if they prove nothing."""
        if self._is_of_no_use or listing.links or len(self._sources) != PACKED.size * len(listing.sources):
            return None
        if listing.has_pycache != bool(listing.sources) or len(self._directories) != 1 + listing.has_pycache:
            return None
        if not all(is_older(status, self._began) for status in self._directories):
            return None  # a later change might not show
        try:
            directories = [PACKED.pack(*stamp_of(status)) for status in self._directories]
        except struct.error:
            return None
        return b"".join([*directories, self._sources, self._pycs])
