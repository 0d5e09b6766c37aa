"""Finds the files to remove from directories of pycs, and the directories that become empty.

Orphans, residue, levels that are no longer wanted, and everything that a purge asks for; never files of a package.
"""

from __future__ import annotations

import time
from collections.abc import Set

from ...pyc.names import PycNames, writer_of
from .knowledge import PlannedSite
from .steps import Removal, Seen, Step

#: Seconds. Importers take no lock, so what looks like their residue may be a pyc in the making.
RESIDUE_AGE = 3600


class RemovalFinder:
    """Finds what to remove from the directories of pycs of one tree."""

    def __init__(self, site: PlannedSite) -> None:
        self._layout, wanted = site.layout, site.wanted
        self._wanted = wanted
        self._ownership = site.knowledge.ownership
        self._names = PycNames(wanted.cache_tag)
        self._suffixes = [suffix for _, suffix in wanted.suffixes]
        self._old = time.time() - RESIDUE_AGE
        #: Whether something in the last directory may have to be removed later: it is too young, or a package owns it.
        self.waits = False
        #: When the first of what is too young will be old enough (seconds since the epoch).
        self.waits_until: float | None = None
        #: The files that stay because a package owns them.
        self.spared: list[str] = []
        #: The pycs of levels that aren't wanted, beside their sources: each with the source.
        self.unwanted: list[tuple[str, str]] = []

    def removals(self, relative: str, sources: Set[str], names: dict[str, bool]) -> list[Removal]:
        """Returns what to remove of these names, each given with whether it is a regular file."""
        self.waits, self.waits_until, self.spared, self.unwanted = False, None, [], []
        if not names:
            return []
        doubtful = set(names)
        if not self._wanted.purges:
            doubtful.difference_update(source[:-3] + suffix for source in sources for suffix in self._suffixes)
        removals = []
        for name in sorted(doubtful):
            source = self._names.source_of(name)
            if source is None:
                if self._is_dead_residue(relative, name, regular=names[name]):
                    removals.append(Removal(name, "residue"))
            elif not self.is_meant(name):
                continue
            elif self._wanted.purges:
                removals.append(Removal(name, "pyc", source))
            elif source not in sources:
                removals.append(Removal(name, "orphan", source))
            elif self._names.level_of(name) not in self._wanted.levels:
                self.unwanted.append((name, source))
        if self._wanted.sweeps_unwanted:
            removals += [Removal(name, "unwanted", source) for name, source in self.unwanted]
        if not removals:
            return []
        owned = self._ownership.owned_in(self._layout.describe_pyc(relative))
        left = [removal for removal in removals if removal.name not in owned]
        self.spared = [removal.name for removal in removals if removal.name in owned]
        self.waits |= bool(self.spared)
        return left

    def is_meant(self, name: str) -> bool:
        """Whether this is the name of a pyc of the wanted cache tag, and of a level that may be removed or counted."""
        if self._names.source_of(name) is None:
            return False
        return self._wanted.bound is None or self._names.level_of(name) in self._wanted.bound

    def _is_dead_residue(self, relative: str, name: str, *, regular: bool) -> bool:
        writer = writer_of(name)
        if writer is not None:  # its name has no level, so it is removed with all levels
            is_meant = self._wanted.bound is None
            return is_meant and (writer == self._wanted.writer or self._is_old(relative, name))
        if not regular or not self._names.is_residue(name) or not self.is_meant(name.rpartition(".")[0]):
            return False
        return self._is_old(relative, name)

    def _is_old(self, relative: str, name: str) -> bool:
        try:
            status = self._layout.pycs.lstat(self._layout.pycache(relative), name)
        except OSError:
            is_old = False
        else:
            born = max(status.st_mtime, status.st_ctime)
            is_old = born < self._old
            if not is_old:
                self.waits_until = min(born + RESIDUE_AGE, self.waits_until or born + RESIDUE_AGE)
        self.waits |= not is_old
        return is_old

    # -- directories ---------------------------------------------------------------------------------------------

    def emptied(self, relative: str, seen: Seen, emptied: set[str]) -> Step | None:
        """Returns what becomes empty in a directory once these directories in it have gone.

        The `__pycache__`, and then the directory, never the site directory itself. With a pycache prefix only that
        tree's own directories become empty.
        """
        listing, pycs, removals, keeps_pycache = seen
        if self._layout.has_prefix:
            if keeps_pycache or not (relative and pycs and (removals or emptied or self._wanted.purges)):
                return None
            goes = removals + len(emptied) == len(pycs.names) + len(pycs.directories)
            return Step.of(relative)._replace(emptied_pycache=True) if goes else None
        if listing is None:
            return None
        barren = listing.is_barren and emptied.issuperset(listing.directories)
        pycache_goes = (
            pycs is not None
            and not (pycs.directories or keeps_pycache)
            and removals == len(pycs.names)
            # A purge that was killed may have left an empty one.
            and (removals > 0 or self._wanted.purges or (barren and relative != ""))
        )
        goes = bool(relative and barren and (pycache_goes or (emptied and not listing.has_pycache)))
        if not (pycache_goes or goes):
            return None
        return Step.of(relative)._replace(emptied_pycache=pycache_goes, emptied=goes)
