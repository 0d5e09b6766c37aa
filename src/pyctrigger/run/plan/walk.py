"""The plan: what a tree needs, found by reading only. `--dry-run`, `verify`, `status` and the real run share it.

A plan is a stream of steps: on the way down one for each directory that needs something, on the way up one for each
that the planned removals leave empty. It holds one branch of the tree in memory, whatever the tree's size.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cached_property

from ...interpreter.scope import PACKAGE_DIRECTORIES
from ...stamps import inode_of
from ...tree.identity import ForeignPlaceError
from ...tree.listing import PycListing, SourceListing, list_pycs, list_sources
from ...typed import TYPE_CHECKING
from ..scope.paths import Unit
from ..scope.sites import reason_to_refuse
from .knowledge import PlannedSite
from .steps import AT_ONCE, ForeignPlace, Seen, Step, Totals
from .unchanged import Snapshot, UnchangedFinder

if TYPE_CHECKING:
    from .disk_usage import FileSizes
    from .orphans import RemovalFinder
    from .sources import SourceJudge

#: Directories below each other. Import paths end at PATH_MAX; what is deeper than this is no package.
_DEEPEST = 200
_NOTHING: frozenset[str] = frozenset()


class Planner:
    """Plans one site directory."""

    def __init__(self, site: PlannedSite, *, finds_dead: bool = True) -> None:
        self._site, self._finds_dead = site, finds_dead
        self._layout, self._wanted, self._notes = site.layout, site.wanted, site.notes
        self._judges_sources = site.wanted.judges_sources
        self._unchanged: UnchangedFinder | None = None
        self._unchanged_sources = 0
        records = site.knowledge.records
        can_pass = site.wanted.passes_unchanged and not site.layout.has_prefix
        if records is not None and records.keeps_records and can_pass:
            self._unchanged = UnchangedFinder(site, records.directories)
        self._sizes: FileSizes | None = None
        if site.wanted.measures:
            from .disk_usage import FileSizes  # not for a hook

            self._sizes = FileSizes()
        self._pyc_bytes = 0
        #: The directories in the site directory, once it has been looked at.
        self._top: list[str] = []
        #: Top-level directories that may hold nothing but bytecode: only another account can find out.
        self._closed: set[str] = set()
        #: Called with the number of sources that have been examined so far.
        self.looked: Callable[[int], None] | None = None
        self._seen = 0
        #: Places of other accounts, which were left out.
        self.foreign: list[ForeignPlace] = []

    def plan(self, units: list[Unit]) -> Iterator[Step]:
        """Yields the steps for these units and, with `finds_dead`, each top-level directory of nothing but bytecode."""
        yield from self.plan_parts(units)
        if self._finds_dead and units and not any(unit == ("", True) for unit in units):
            seen = {unit.relative for unit in units}
            dead = [name for name in self._dead_packages() if name not in seen]
            yield from self.plan_parts(Unit(name, deep=True) for name in dead)
            self.foreign += (ForeignPlace(name, deep=True, if_dead=True) for name in self._closed if name not in seen)

    def plan_places(self, places: list[ForeignPlace]) -> Iterator[Step]:
        """Yields the steps for places that only a process that acts as their accounts may enter."""
        found = (place for place in places if not place.if_dead or self._is_dead(place.relative))
        yield from self.plan_parts(Unit(place.relative, place.deep) for place in found)

    def plan_parts(self, units: Iterable[Unit]) -> Iterator[Step]:
        """Yields the steps for these units only."""
        for unit in units:
            yield from self._part(unit.relative, deep=unit.deep and unit.relative != "")
            if unit == ("", True):
                for name in self._top:
                    yield from self._part(name, deep=True)

    @property
    def totals(self) -> Totals:
        """Everything that was seen, added up."""
        unchanged = self._unchanged_sources
        if "_sources" not in vars(self):  # no directory had to be examined
            return Totals(unchanged, unchanged, 0, self._pyc_bytes)
        sources = self._sources
        return Totals(
            sources.sources + unchanged, sources.fresh + unchanged, sources.bytes, self._pyc_bytes, sources.pycs.stored
        )

    @cached_property
    def _sources(self) -> SourceJudge:
        """Judges the sources of the directories that have changed."""
        from .sources import SourceJudge  # an idle hook passes over all directories, and needs none of what it imports

        return SourceJudge(self._site)

    @cached_property
    def _finder(self) -> RemovalFinder:
        """Finds what to remove from these directories."""
        from .orphans import RemovalFinder  # as above

        return RemovalFinder(self._site)

    def _part(self, relative: str, *, deep: bool) -> Iterator[Step]:
        """Yields the steps for one part: a top-level directory, or the modules directly in the site directory."""
        if not self._notes:
            yield from self._descend(relative, deep=deep)
            return
        self._notes.begin(relative)
        for step in self._descend(relative, deep=deep):
            self._notes.step(step)
            yield step
        part = self._notes.end()
        if part is not None:
            yield Step.of(part.name)._replace(part=part)

    def _descend(self, relative: str, *, deep: bool) -> Generator[Step, None, bool]:
        """Yields steps for one directory and what lies below. Returns whether they leave it empty."""
        unchanged = self._unchanged.find(relative) if self._unchanged else None
        seen = None
        if unchanged is None:
            seen = yield from self._examined(relative, deep=deep)
        names = self._below(relative, seen) if seen else unchanged[0] if unchanged else []
        if not relative:
            self._top = names
        emptied: set[str] = set()
        for name in names if deep else ():
            if (yield from self._descend(f"{relative}/{name}", deep=True)):
                emptied.add(name)
        if unchanged is not None and emptied:  # removing something below has changed it
            seen = yield from self._examined(relative, deep=False)
        elif unchanged is not None:
            self._unchanged_sources += unchanged[1]
        if seen is None or (seen.pycs is None and not emptied):
            return False
        step = self._finder.emptied(relative, seen, emptied)
        if step is None:
            return False
        yield step
        return step.emptied or self._layout.has_prefix

    def _examined(self, relative: str, *, deep: bool) -> Generator[Step, None, Seen | None]:
        """Yields the steps for one directory. Returns what is in it, or None if it can't be examined."""
        if relative.count("/") + 1 >= _DEEPEST:
            yield Step.of(relative)._replace(unexamined=f"more than {_DEEPEST} directories deep")
            return None
        try:
            return (yield from self._look(relative))
        except ForeignPlaceError:
            self._leave_to_others(relative, deep=deep)
        except OSError as error:
            layout = self._layout
            account = layout.pycs.account_at(layout.pycache(relative)) or layout.sources.account_at(relative)
            places = layout.describe_source(relative), layout.describe_pyc(relative)
            if reason := reason_to_refuse(account, error, *places):
                yield Step.of(relative)._replace(forbidden=reason)
            elif error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                yield Step.of(relative)._replace(unexamined=error.strerror or str(error))
        return None  # it is gone, or was never a directory

    def _leave_to_others(self, relative: str, *, deep: bool) -> None:
        self.foreign.append(ForeignPlace(relative, deep=deep))
        if self._notes:
            self._notes.need(relative)

    def _below(self, relative: str, seen: Seen) -> list[str]:
        names = seen.sources.directories if seen.sources else []
        if self._layout.has_prefix and seen.pycs:
            return sorted({*names, *seen.pycs.directories} - self._skipped(relative))
        return names

    def _dead_packages(self) -> list[str]:
        """Returns the top-level directories that contain nothing but bytecode.

        pkg reports neither what only the old version of a package had nor a package that was renamed, and `import`
        still finds them, as namespace packages.
        """
        dead: list[str] = []
        with contextlib.suppress(OSError):
            listing = self._list("")
            names = listing.directories if listing else []
            dead += [name for name in names if self._is_dead(name)]
            if self._layout.has_prefix:
                # Of a package that is gone only the directory of its pycs is left.
                below = self._layout.pycs.directories_in(self._layout.pycache(""))
                dead += sorted({*below} - {*names} - self._skipped(""))
        return dead

    def _is_dead(self, relative: str) -> bool:
        try:
            listing = self._list(relative) if relative.count("/") + 1 < _DEEPEST else None
        except ForeignPlaceError:
            self._closed.add(relative.partition("/")[0])
            return False
        except OSError:
            return False
        if listing is None or not listing.is_barren or not (listing.has_pycache or listing.directories):
            return False
        return all(self._is_dead(f"{relative}/{name}") for name in listing.directories)

    def _look(self, relative: str) -> Generator[Step, None, Seen]:
        """Yields what one directory needs. Returns what is in it. Raises OSError."""
        status = self._status(relative) if self._notes or self._unchanged else None
        if self._notes:
            self._notes.directory(relative, status)
        snapshot = Snapshot(status) if self._unchanged and status else None
        listing = self._list(relative)
        if self.looked and listing:
            self._seen += len(listing.sources)
            self.looked(self._seen + self._unchanged_sources)
        if listing and not listing.has_pycache and not self._layout.has_prefix:
            bare = self._judge_bare(relative, listing, snapshot)
            if bare is not None:
                if bare.says_something:
                    yield bare
                return Seen(listing, None, 0, keeps_pycache=bool(bare.stale))
        return (yield from self._judge(relative, listing, snapshot))

    def _judge(
        self, relative: str, listing: SourceListing | None, snapshot: Snapshot | None
    ) -> Generator[Step, None, Seen]:
        """Yields what a directory with pycs, or with anything unusual, needs. Returns and raises like `_look`."""
        try:
            step, pycs = self._list_pycs(relative, listing, snapshot)
        except ForeignPlaceError:
            self._leave_to_others(relative, deep=False)
            return Seen(listing, None, 0, keeps_pycache=True)
        has_stale = False
        if listing and self._judges_sources:
            step = yield from self._sources.judge(step, listing, pycs.entries if pycs else {}, snapshot)
            has_stale = self._sources.has_stale
            if listing.linked:
                step.links.extend(self._sources.links_elsewhere(relative, listing.linked))
        removals = self._finder.removals(relative, listing.names if listing else set(), pycs.names if pycs else {})
        # A directory that is passed over as unchanged wouldn't have its unwanted levels reported.
        snapshot = None if self._finder.waits or self._finder.unwanted else snapshot
        if self._notes and self._finder.waits:
            self._notes.wait(relative, self._finder.spared, self._finder.waits_until)
        if self._sizes and pycs:
            self._pyc_bytes += sum(map(self._sizes.of, self._statuses(relative, pycs)))
        unwanted = self._finder.unwanted if not self._wanted.work.writes else []
        if self._unchanged and listing:
            is_needed = step.is_needed or removals or unwanted
            note = self._unchanged.end(relative, listing, None if is_needed else snapshot)
            step = step if note is None else step._replace(note=note)
        for start in range(0, len(removals), AT_ONCE):
            step.removals.extend(removals[start : start + AT_ONCE])
            yield step
            step = step.rest()
        for start in range(0, len(unwanted), AT_ONCE):
            judged = (self._sources.pycs.judge_unwanted(*each) for each in unwanted[start : start + AT_ONCE])
            step.unwanted.extend(filter(None, judged))
            yield step
            step = step.rest()
        if step.says_something:
            yield step
        return Seen(listing, pycs, len(removals), has_stale or step.obstacle is not None)

    def _judge_bare(self, relative: str, listing: SourceListing, snapshot: Snapshot | None) -> Step | None:
        """Returns the step of a directory without pycs; None if it takes a closer look.

        In a first run nearly all directories are like this, and the parent's time is what more lanes don't share.
        """
        step = None
        if listing.links or listing.linked:
            return None
        if not listing.sources:
            step = Step.of(relative, is_bare=True)
        elif self._judges_sources:
            step = self._sources.judge_bare(relative, listing)
        if step is None or self._unchanged is None:
            return step
        note = self._unchanged.end(relative, listing, None if step.stale else snapshot)
        return step if note is None else step._replace(note=note)

    def _status(self, relative: str) -> os.stat_result | None:
        """Returns the status of a directory that is about to be listed; None if listing it will show what is wrong."""
        try:
            return os.fstat(self._layout.sources.directory(relative))
        except OSError:
            return None

    def _statuses(self, relative: str, pycs: PycListing) -> Iterator[os.stat_result]:
        """Yields the statuses of the pycs of the wanted cache tag and levels."""
        for name, regular in pycs.names.items():
            if regular and self._finder.is_meant(name):
                with contextlib.suppress(FileNotFoundError):
                    yield self._layout.pycs.lstat(self._layout.pycache(relative), name)

    def _list_pycs(
        self, relative: str, listing: SourceListing | None, snapshot: Snapshot | None
    ) -> tuple[Step, PycListing | None]:
        """Returns a step with what is wrong with the directory of pycs itself, and its listing. Raises OSError."""
        if not (self._layout.has_prefix or (listing and listing.has_pycache)):
            return Step.of(relative, is_bare=True), None
        step = Step.of(relative)
        try:
            with self._layout.pycs.entered(self._layout.pycache(relative)) as descriptor:
                if snapshot:
                    snapshot.enter_pycache(descriptor)
                if self._notes:
                    self._notes.pycache(relative, descriptor)
                pycs = list_pycs(descriptor)
            if listing and self._layout.keeps_visitors_out(relative, listing.sources):
                step = step._replace(is_closed=True)
            return step, pycs
        except FileNotFoundError:
            if self._notes:
                self._notes.pycache(relative, None)
            return step, None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR) or self._layout.has_prefix:
                raise
            return step._replace(obstacle="is a link or a file"), None

    def _list(self, relative: str) -> SourceListing | None:
        """Returns the listing of a source directory; None if only its pycs, below a pycache prefix, are left."""
        try:
            opened = self._layout.sources.entered(relative)
        except FileNotFoundError:
            if self._layout.has_prefix:
                return None
            raise
        if self._site.others and relative and inode_of(os.fstat(opened.descriptor)) in self._site.others:
            raise FileNotFoundError(errno.ENOENT, "a site directory of its own")
        with opened as directory:
            return list_sources(directory, self._skipped(relative))

    def _skipped(self, relative: str) -> frozenset[str]:
        """Returns the directories inside the standard library's that don't belong to it."""
        return PACKAGE_DIRECTORIES if self._site.is_library and not relative else _NOTHING
