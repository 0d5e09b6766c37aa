"""The plan: what a tree needs, found by reading only. `--dry-run`, `verify`, `status` and the real run share it.

A plan is a stream of steps: on the way down one for each directory that needs something, on the way up one for each
that the planned removals leave empty. It holds one branch of the tree in memory, whatever the tree's size.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator, Iterable, Iterator

from ...interpreter.scope import PACKAGE_DIRECTORIES
from ...stamps import inode_of
from ...tree.identity import ForeignPlaceError, IdentityRefusedError
from ...tree.layout import Layout
from ...tree.listing import PycListing, SourceListing, list_pycs, list_sources
from ..scope.paths import Unit
from ..scope.sites import reason_to_refuse
from .knowledge import Knowledge
from .notes import Notes
from .orphans import Seen, Weeder, emptied_directories, emptied_prefix
from .sources import AT_ONCE, SourceJudge
from .steps import ForeignPlace, Step, Totals
from .unchanged import Sight, UnchangedFinder
from .wanted import Wanted

#: Directories below each other. Import paths end at PATH_MAX; what is deeper than this is no package.
_DEEPEST = 200
_NOTHING: frozenset[str] = frozenset()


class Planner:
    """Plans one site directory."""

    def __init__(
        self,
        layout: Layout,
        wanted: Wanted,
        knowledge: Knowledge,
        *,
        others: frozenset[tuple[int, int]] = frozenset(),
        is_library: bool = False,
        notes: Notes | None = None,
    ) -> None:
        self._layout = layout
        self._wanted = wanted
        self._knowledge = knowledge
        self._sites = others | {layout.sources.identity}
        self._others = others - {layout.sources.identity}
        self._is_library = is_library
        self._notes = notes
        self._sources = SourceJudge(layout, wanted, knowledge, is_library=is_library, notes=notes)
        self._weeder = Weeder(layout, wanted, knowledge.owned_in)
        self._unchanged = self._unchanged_before(knowledge)
        #: Top-level directories that may hold nothing but bytecode: only an account that we don't act as can tell.
        self._closed: set[str] = set()
        self.looked: Callable[[int], None] | None = None  # is told how many sources have been looked at
        self._seen = 0
        #: Places of others, which were left out.
        self.foreign: list[ForeignPlace] = []

    def plan(self, units: list[Unit]) -> Iterator[Step]:
        """The steps for these units, and for every top-level directory that holds nothing but bytecode."""
        seen = set()
        for unit in units:
            yield from self._part(unit)
            seen.add(unit.relative)
        if units and not any(unit == ("", True) for unit in units):
            for name in self._dead_packages():
                if name not in seen:
                    yield from self._part(Unit(name, deep=True))
            self.foreign += (ForeignPlace(name, deep=True, if_dead=True) for name in self._closed if name not in seen)

    def plan_places(self, places: list[ForeignPlace]) -> Iterator[Step]:
        """The steps for places that were left to the process that acts as accounts."""
        for place in places:
            if not place.if_dead or self._is_dead(place.relative, 0):
                yield from self._part(Unit(place.relative, place.deep))

    def plan_again(self, units: Iterable[Unit]) -> Iterator[Step]:
        """The parts that these units are now, and nothing else: the run has done what it could."""
        for unit in units:
            yield from (step for step in self._part(unit) if step.part)

    @property
    def totals(self) -> Totals:
        """What was seen in all."""
        unchanged = self._unchanged.sources if self._unchanged else 0
        weight = (self._sources.weight.sources, self._sources.weight.pycs) if self._sources.weight else (0, 0)
        return Totals(self._sources.sources + unchanged, self._sources.fresh + unchanged, *weight)

    def _part(self, unit: Unit) -> Iterator[Step]:
        """The steps for one unit, a part of its own for a glance; below a whole site directory there are many."""
        if not self._notes:
            yield from self._descend(unit.relative, deep=unit.deep)
            return
        self._notes.begin(unit.relative)
        for step in self._descend(unit.relative, deep=unit.deep):
            self._notes.step(step)
            yield step
        yield from self._ended(None)

    def _ended(self, following: str | None) -> Iterator[Step]:
        """The part that has been looked at, if anything is to be said of it; goes on with the following one."""
        assert self._notes is not None
        part = self._notes.end() if following is None else self._notes.begin(following)
        if part is not None:
            yield Step.of(part.name)._replace(part=part)

    def look_into(self, relative: str) -> Iterator[Step]:
        """The steps for one directory alone, without what lies below it."""
        return self._descend(relative, deep=False)

    def _descend(self, relative: str, *, deep: bool, depth: int = 0) -> Generator[Step, None, bool]:
        """Steps for one directory and what lies below. Returns whether they leave it empty."""
        names = self._unchanged_below(relative)
        if not names and names is not None:
            return False  # most directories: nothing to do, nothing below
        seen = None
        if names is None:
            seen = yield from self._examined(relative, depth, deep=deep)
            if seen is None:
                return False
            names = self._below(relative, seen)
        emptied: set[str] = set()
        for name in names if deep else ():
            inner = f"{relative}/{name}" if relative else name
            if not depth and not relative and self._notes:
                yield from self._ended(inner)
            if (yield from self._descend(inner, deep=True, depth=depth + 1)):
                emptied.add(name)
        if seen is None and emptied and self._unchanged:
            self._unchanged.reconsider(relative)
            seen = yield from self._examined(relative, depth, deep=False)
        if seen is None or (seen.pycs is None and not emptied):
            return False
        leave = emptied_prefix if self._layout.has_prefix else emptied_directories
        step = leave(relative, seen, emptied, purges=self._wanted.purge)
        if step is None:
            return False
        yield step
        return step.emptied or self._layout.has_prefix

    def _unchanged_below(self, relative: str) -> list[str] | None:
        """The directories in one that is as it was when it needed nothing; None for one to look at."""
        names = self._unchanged.directories(relative) if self._unchanged else None
        if names is not None and self._notes and self._unchanged:
            self._notes.unchanged(relative, self._unchanged.seen)
        return names

    def _examined(self, relative: str, depth: int, *, deep: bool) -> Generator[Step, None, Seen | None]:
        """What stands in one directory, with a step if it needs something; None where it can't be looked at."""
        problem = Step.of(relative)
        if depth >= _DEEPEST:
            yield problem._replace(unexamined=f"more than {_DEEPEST} directories deep")
            return None
        try:
            return (yield from self._look(relative))
        except ForeignPlaceError:
            self._leave_to_others(relative, deep=deep)
        except IdentityRefusedError as refusal:
            yield problem._replace(forbidden=str(refusal.strerror))
        except OSError as error:
            layout = self._layout
            account = layout.pycs.account_at(relative) or layout.sources.account_at(relative)
            places = layout.describe_source(relative), layout.describe_pyc(relative)
            if error.errno in (errno.EACCES, errno.EPERM) and (reason := reason_to_refuse(account, error, *places)):
                yield problem._replace(forbidden=reason)
            elif error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                yield problem._replace(unexamined=error.strerror or str(error))
        return None  # gone meanwhile, or never a directory: nothing below it is ours

    def _leave_to_others(self, relative: str, *, deep: bool) -> None:
        self.foreign.append(ForeignPlace(relative, deep=deep))
        if self._notes:
            self._notes.need(relative)

    def _unchanged_before(self, knowledge: Knowledge) -> UnchangedFinder | None:
        """Which directories need no look, where that is known, and where a look wouldn't be the point."""
        wanted = self._wanted
        looks_anyway = wanted.trust_nothing or wanted.compare_code or wanted.measure
        does_less = wanted.sweep_only or wanted.purge or self._layout.has_prefix
        if knowledge.records is None or not knowledge.records.keeps_records or looks_anyway or does_less:
            return None
        # A second look comes upon what was written a moment ago: the next run sees it when it is old enough.
        keeps = self._notes is None or not self._notes.again
        unchanged = knowledge.records.unchanged
        return UnchangedFinder(self._layout, wanted, unchanged, self._others, self._is_library, keeps=keeps)

    def _below(self, relative: str, seen: Seen) -> list[str]:
        names = seen.sources.directories if seen.sources else []
        if self._layout.has_prefix and seen.pycs:
            return sorted({*names, *seen.pycs.directories} - self._skipped(relative))
        return names

    def _dead_packages(self) -> list[str]:
        """Top-level directories that hold nothing but bytecode.

        pkg reports neither what only the old version of a package had nor a package that was renamed, and `import`
        still finds them, as namespace packages.
        """
        dead: list[str] = []
        with contextlib.suppress(OSError):
            listing = self._list("")
            names = listing.directories if listing else []
            dead += [name for name in names if self._is_dead(name, 0)]
            if self._layout.has_prefix:
                # What is gone altogether has no directory left but that of its pycs.
                below = self._layout.pycs.directories_in(self._layout.pycache(""))
                dead += sorted({*below} - {*names} - self._skipped(""))
        return dead

    def _is_dead(self, relative: str, depth: int) -> bool:
        try:
            listing = self._list(relative) if depth < _DEEPEST else None
        except ForeignPlaceError:
            self._closed.add(relative.partition("/")[0])
            return False
        except OSError:
            return False
        if listing is None or not listing.is_barren or not (listing.has_pycache or listing.directories):
            return False
        return all(self._is_dead(f"{relative}/{name}", depth + 1) for name in listing.directories)

    def _look(self, relative: str) -> Generator[Step, None, Seen]:
        """What one directory needs, step by step, and what stands in it. Raises OSError."""
        if self._notes:
            self._notes.directory(relative)
        sight = self._unchanged.begin(relative) if self._unchanged else None
        listing = self._list(relative)
        if self.looked and listing:
            self._seen += len(listing.sources)
            self.looked(self._seen + (self._unchanged.sources if self._unchanged else 0))
        try:
            step, pycs = self._list_pycs(relative, listing, sight)
        except ForeignPlaceError:
            self._leave_to_others(relative, deep=False)
            return Seen(listing, None, 0, keeps_pycache=True)
        has_stale = is_needed = False
        if listing and not (self._wanted.sweep_only or self._wanted.purge):
            for each in self._sources.judge(step, listing, _entries(pycs), sight):
                if each is not step and step.says_something:
                    yield step
                step = each
                has_stale |= bool(step.stale)
                is_needed |= step.is_needed
            step.links.extend(self._sources.links_elsewhere(relative, listing.linked, self._sites))
        removals = self._weeder.removals(relative, listing.names if listing else set(), pycs.names if pycs else {})
        # Who looks, and finds a directory as it was, would be silent about a level that isn't wanted.
        sight = None if self._weeder.waits or self._weeder.unwanted else sight
        if self._notes and self._weeder.waits:
            self._notes.wait(relative, self._weeder.spared, self._weeder.waits_until)
        if self._sources.weight:
            self._sources.weight.add_pycs(relative, pycs)
        told = self._weeder.unwanted if self._wanted.tells_unwanted else []
        if self._unchanged and listing:
            is_needed |= bool(step.is_needed or removals or told)
            note = self._unchanged.end(relative, listing, None if is_needed else sight)
            step = step._replace(note=note) if note else step
        for start in range(0, len(removals), AT_ONCE):
            step.removals.extend(removals[start : start + AT_ONCE])
            yield step
            step = step.rest()
        for start in range(0, len(told), AT_ONCE):
            from .verdicts import judge_unwanted

            some = told[start : start + AT_ONCE]
            judged = judge_unwanted(self._layout, self._wanted, self._knowledge, relative, some, _entries(pycs))
            step.unwanted.extend(judged)
            yield step
            step = step.rest()
        if step.says_something:
            yield step
        return Seen(listing, pycs, len(removals), has_stale or step.obstacle is not None)

    def _list_pycs(
        self, relative: str, listing: SourceListing | None, sight: Sight | None
    ) -> tuple[Step, PycListing | None]:
        """A step with what is wrong with the directory of the pycs itself, and what stands in that. Raises OSError."""
        step = Step.of(relative)
        if not (self._layout.has_prefix or (listing and listing.has_pycache)):
            return step, None
        try:
            with self._layout.pycs.entered(self._layout.pycache(relative)) as descriptor:
                if sight:
                    sight.enter_pycache(descriptor)
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
        """What stands in a source directory; None where, with a pycache prefix, only its pycs are left."""
        try:
            opened = self._layout.sources.entered(relative)
        except FileNotFoundError:
            if self._layout.has_prefix:
                return None
            raise
        if self._others and relative and inode_of(os.fstat(opened.descriptor)) in self._others:
            raise FileNotFoundError(errno.ENOENT, "a site directory of its own")
        with opened as directory:
            return list_sources(directory, self._skipped(relative))

    def _skipped(self, relative: str) -> frozenset[str]:
        """Directories that lie in the standard library's and don't belong to it."""
        return PACKAGE_DIRECTORIES if self._is_library and not relative else _NOTHING


def _entries(pycs: PycListing | None) -> dict[str, bool]:
    """Everything in a directory of pycs: a directory under the name of a pyc is in its way."""
    if pycs is None:
        return {}
    return {**dict.fromkeys(pycs.directories, False), **pycs.names} if pycs.directories else pycs.names
