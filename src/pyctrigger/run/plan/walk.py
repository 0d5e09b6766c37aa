"""The plan: what a tree needs, found by reading only. `--dry-run`, `verify`, `status` and the real run share it.

A plan is a stream of steps: on the way down one for each directory that needs something, on the way up one for each
that the planned removals leave empty. It holds one branch of the tree in memory, whatever the tree's size.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
from typing import TYPE_CHECKING

from ...interpreter.scope import PACKAGE_DIRECTORIES
from ...pyc.header import NO_PYC, Verdict
from ...pyc.names import NAME_MAX
from ...stamps import inode_of
from ...tree.elsewhere import goal_of, leads_to_sources
from ...tree.identity import ForeignPlaceError, IdentityRefusedError
from ...tree.listing import list_pycs, list_sources
from ...tree.source import SourceRefused, source_status
from ..scope.paths import Unit
from .disk_usage import Weight
from .orphans import Seen, emptied_directories, emptied_prefix
from .removals import Weeder
from .results import reason_to_refuse
from .steps import DirectoryPlan, Foreign, LevelState, Refused, Stale, Step, Totals, Unexamined
from .unchanged import Settlement
from .verdicts import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from ...tree.layout import Layout
    from ...tree.listing import PycListing, SourceListing
    from .knowledge import Knowledge
    from .notes import Notes
    from .unchanged import Glance
    from .wanted import Wanted

#: Directories below each other. Import paths end at PATH_MAX; what is deeper than this is no package.
_DEEPEST = 200
_UINT32 = 0xFFFFFFFF
#: Characters, of four bytes at most. With a shorter name every pyc's name has room.
_SHORT_NAME = 50
_NOTHING: frozenset[str] = frozenset()
#: Sources and pycs dealt with at once: only of so many anything but the names is held, however large a directory is.
_AT_ONCE = 1024
#: Nothing that speaks against a package's own pyc: its header fits.
_DOUBTS = frozenset({Verdict.UNPROVEN, Verdict.UNKNOWN, Verdict.SUSPECT})


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
        self._sites = others | {layout.sources.identity}
        self._others = others - {layout.sources.identity}
        self._is_library = is_library
        self._notes = notes
        self._is_uncompilable = knowledge.is_uncompilable
        self._owns = knowledge.is_owned
        self._adopt = knowledge.adopt
        self._knowledge = knowledge
        patterns = [fnmatch.translate(pattern) for pattern in wanted.exclude]
        self._excluded = re.compile("|".join(patterns)) if patterns else None
        self._excludes = bool(patterns) or is_library
        self._judge = Judge(layout, wanted, knowledge.records)
        self._weeder = Weeder(layout, wanted, knowledge.owned_in)
        self._settlement = self._settled_before(knowledge)
        self._sources = self._fresh = 0
        #: Top-level directories that may hold nothing but bytecode: only an account that we don't act as can tell.
        self._closed: set[str] = set()
        self.looked: Callable[[int], None] | None = None  # is told how many sources have been looked at
        self._seen = 0
        self._weight = Weight(layout, wanted.cache_tag, wanted.bound) if wanted.measure else None

    def plan(self, units: list[Unit]) -> Iterator[Step]:
        """The steps for these units, and for every top-level directory that holds nothing but bytecode."""
        seen = set()
        for unit in units:
            if unit.relative and unit.deep:
                self._judge.approach(unit.relative)
            yield from self._part(unit)
            seen.add(unit.relative)
        if units and not any(unit == ("", True) for unit in units):
            for name in self._dead_packages():
                if name not in seen:
                    yield from self._part(Unit(name, deep=True))
            yield from (Foreign(name, deep=True, if_dead=True) for name in self._closed if name not in seen)
        yield self._totals()

    def plan_places(self, places: list[Foreign]) -> Iterator[Step]:
        """The steps for places that were left to the process that acts as accounts."""
        for place in places:
            if not place.if_dead or self._is_dead(place.relative, 0):
                yield from self._part(Unit(place.relative, place.deep))
        yield self._totals()

    def _totals(self) -> Totals:
        settled = self._settlement.sources if self._settlement else 0
        weight = (self._weight.sources, self._weight.pycs) if self._weight else (0, 0)
        return Totals(self._sources + settled, self._fresh + settled, *weight)

    def look_again(self, units: Iterable[Unit]) -> None:
        """Take down what there is to be seen of these units now."""
        for unit in units:
            for _ in self._part(unit):
                pass

    def _part(self, unit: Unit) -> Iterator[Step]:
        """The steps for one unit, taken down as a part of its own; below a whole site directory there are many."""
        if not self._notes:
            yield from self._descend(unit.relative, deep=unit.deep)
            return
        self._notes.begin(unit.relative)
        for step in self._descend(unit.relative, deep=unit.deep):
            self._notes.step(step)
            yield step
        self._notes.end()

    def look_into(self, relative: str) -> Iterator[Step]:
        """The steps for one directory alone, without what lies below it."""
        return self._descend(relative, deep=False)

    def _descend(self, relative: str, *, deep: bool, depth: int = 0) -> Generator[Step, None, bool]:
        """Steps for one directory and what lies below. Returns whether they leave it empty."""
        names = self._settled(relative)
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
            if not depth and not relative:
                self._judge.approach(inner)
                if self._notes:
                    self._notes.begin(inner)
            if (yield from self._descend(inner, deep=True, depth=depth + 1)):
                emptied.add(name)
        if seen is None and emptied and self._settlement:
            self._settlement.reconsider(relative)
            seen = yield from self._examined(relative, depth, deep=False)
        if seen is None or (seen.pycs is None and not emptied):
            return False
        leave = emptied_prefix if self._layout.has_prefix else emptied_directories
        return (yield from leave(relative, seen, emptied, purges=self._wanted.purge))

    def _settled(self, relative: str) -> list[str] | None:
        """The directories in one that is as it was when it needed nothing; None for one to look at."""
        names = self._settlement.directories(relative) if self._settlement else None
        if names is not None and self._notes and self._settlement:
            self._notes.unchanged(relative, self._settlement.seen)
        return names

    def _examined(self, relative: str, depth: int, *, deep: bool) -> Generator[Step, None, Seen | None]:
        """What stands in one directory, with a step if it needs something; None where it can't be looked at."""
        if depth >= _DEEPEST:
            yield Unexamined(relative, f"more than {_DEEPEST} directories deep")
            return None
        try:
            return (yield from self._look(relative))
        except ForeignPlaceError:
            yield Foreign(relative, deep=deep)
            return None
        except IdentityRefusedError as refusal:
            yield Refused(relative, str(refusal.strerror))
            return None
        except OSError as error:
            layout = self._layout
            account = layout.pycs.account_at(relative) or layout.sources.account_at(relative)
            places = layout.describe_source(relative), layout.describe_pyc(relative)
            if error.errno in (errno.EACCES, errno.EPERM) and (reason := reason_to_refuse(account, error, *places)):
                yield Refused(relative, reason)
            elif error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                yield Unexamined(relative, error.strerror or str(error))
            return None  # gone meanwhile, or never a directory: nothing below it is ours

    def _settled_before(self, knowledge: Knowledge) -> Settlement | None:
        """Which directories need no look, where that is known, and where a look wouldn't be the point."""
        wanted = self._wanted
        looks_anyway = wanted.trust_nothing or wanted.compare_code or wanted.measure
        does_less = wanted.sweep_only or wanted.purge or self._layout.has_prefix
        if knowledge.records is None or not knowledge.records.keeps_records or looks_anyway or does_less:
            return None
        # A second look comes upon what was written a moment ago: the next run sees it when it is old enough.
        keeps = self._notes is None or not self._notes.again
        unchanged = knowledge.records.unchanged
        return Settlement(self._layout, wanted, unchanged, self._others, self._is_library, keeps=keeps)

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
        """What one directory needs, part by part, and what stands in it. Raises OSError."""
        if self._notes:
            self._notes.directory(relative)
        glance = self._settlement.begin(relative) if self._settlement else None
        listing = self._list(relative)
        if self.looked and listing:
            self._seen += len(listing.sources)
            self.looked(self._seen + (self._settlement.sources if self._settlement else 0))
        try:
            plan, pycs = self._list_pycs(relative, listing, glance)
        except ForeignPlaceError:
            yield Foreign(relative, deep=False)
            return Seen(listing, None, 0, keeps_pycache=True)
        has_stale = False
        if listing and not (self._wanted.sweep_only or self._wanted.purge):
            for part in self._judge_sources(plan, listing, _entries(pycs), glance):
                if plan.is_needed and part is not plan:
                    yield plan
                plan = part
                has_stale |= bool(plan.stale)
            plan.links.extend(self._links_elsewhere(relative, listing.linked))
        removals = self._weeder.removals(relative, listing.names if listing else set(), pycs.names if pycs else {})
        # Who looks, and finds a directory as it was, would be silent about a level that isn't wanted.
        glance = None if self._weeder.waits or self._weeder.unwanted else glance
        if self._notes and self._weeder.waits:
            self._notes.wait(relative, self._weeder.spared, self._weeder.waits_until)
        if self._weight:
            self._weight.add_pycs(relative, pycs)
        told = self._weeder.unwanted if self._wanted.tells_unwanted else []
        is_needed = plan.is_needed or bool(removals or told)
        if self._settlement and listing:
            self._settlement.end(relative, listing, None if is_needed or plan.goes_on else glance)
        for start in range(0, len(removals), _AT_ONCE):
            plan.removals.extend(removals[start : start + _AT_ONCE])
            yield plan
            plan = plan.rest()
        for start in range(0, len(told), _AT_ONCE):
            from .unwanted import judge_unwanted  # not for a hook

            some = told[start : start + _AT_ONCE]
            plan.unwanted.extend(
                judge_unwanted(self._layout, self._wanted, self._knowledge, relative, some, _entries(pycs))
            )
            yield plan
            plan = plan.rest()
        if plan.is_needed:
            yield plan
        return Seen(listing, pycs, len(removals), has_stale or plan.obstacle is not None)

    def _list_pycs(
        self, relative: str, listing: SourceListing | None, glance: Glance | None
    ) -> tuple[DirectoryPlan, PycListing | None]:
        """A plan with what is wrong with the directory of the pycs itself, and what stands in that. Raises OSError."""
        plan = DirectoryPlan.nothing(relative)
        if not (self._layout.has_prefix or (listing and listing.has_pycache)):
            return plan, None
        try:
            with self._layout.pycs.entered(self._layout.pycache(relative)) as descriptor:
                if glance:
                    glance.enter_pycache(descriptor)
                if self._notes:
                    self._notes.pycache(relative, descriptor)
                pycs = list_pycs(descriptor)
            if listing and self._layout.keeps_visitors_out(relative, listing.sources):
                plan = plan._replace(is_closed=True)
            return plan, pycs
        except FileNotFoundError:
            if self._notes:
                self._notes.pycache(relative, None)
            return plan, None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR) or self._layout.has_prefix:
                raise
            return plan._replace(obstacle="is a link or a file"), None

    def _links_elsewhere(self, relative: str, names: list[str]) -> Iterator[tuple[str, str]]:
        """Links to directories with sources outside of the scope, not told before, and where they lead."""
        tree = self._layout.sources
        for name in names:
            path = self._layout.describe_source(relative, name)
            with contextlib.suppress(OSError):
                if not self._wanted.trust_nothing and self._is_uncompilable(path, tree.lstat(relative, name)):
                    continue
                goal = goal_of(tree, relative, name)
                if goal is not None and leads_to_sources(tree, relative, name, self._sites):
                    yield name, goal

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

    def _judge_sources(
        self,
        plan: DirectoryPlan,
        listing: SourceListing,
        names: dict[str, bool],
        glance: Glance | None,
    ) -> Iterator[DirectoryPlan]:
        """The verdict on every source of a directory: the loop that an idle run spends its time in.

        Yields the plan, and for a large directory further parts of it.
        """
        sources = sorted([*listing.sources, *listing.links]) if listing.links else listing.sources
        for start in range(0, len(sources) or 1, _AT_ONCE):
            if plan.is_needed and start:
                yield plan
                plan = plan.rest()
            found = self._statuses(plan, listing, sources[start : start + _AT_ONCE])
            self._judge.enter(plan.relative, names, listing.links)
            self._sources += len(found)
            for name, status in found:
                if self._excludes and (reason := self._reason_to_exclude(plan.relative, name)):
                    plan.skipped.append((name, reason))
                    continue
                self._decide(plan, name, status, self._judge.states(name, status))
            if glance:
                glance.add([status for _, status in found], self._judge.proven, len(self._wanted.levels))
        yield plan

    def _statuses(
        self, plan: DirectoryPlan, listing: SourceListing, names: list[str]
    ) -> list[tuple[str, os.stat_result]]:
        """The sources of these names, each with its status."""
        found, links = [], []
        is_link = set(listing.links).__contains__ if listing.links else None
        with self._layout.sources.entered(plan.relative) as directory:
            for name in names:
                if is_link and is_link(name):
                    links.append(name)
                    continue
                try:
                    found.append((name, os.stat(name, dir_fd=directory, follow_symlinks=False)))
                except FileNotFoundError:
                    listing.names.discard(name)
        if self._weight:
            self._weight.add_sources(status for _, status in found)
        if links:
            refused = len(plan.refused)
            found = sorted([*found, *self._linked(plan, links)])
            self._sources += len(plan.refused) - refused
        return found

    def _decide(self, plan: DirectoryPlan, name: str, status: os.stat_result, states: list[LevelState]) -> None:
        if states and len(name) > _SHORT_NAME:
            states = [state for state in states if len(os.fsencode(state.pyc)) <= NAME_MAX]
            if not states:
                plan.skipped.append((name, "its name leaves no room for a pyc's"))
                return
        if states and self._wanted.keep_owned:
            states = self._without_owned(plan, name, states)
            if not states:
                return
        if not states:
            self._fresh += 1
        elif reason := self._reason_to_skip(plan.relative, name, status, states):
            plan.skipped.append((name, reason))
        else:
            plan.stale.append(Stale(name, status, tuple(states)))

    def _without_owned(self, plan: DirectoryPlan, name: str, states: list[LevelState]) -> list[LevelState]:
        """The levels that may be written: what a package owns is only reported."""
        directory = self._layout.describe_pyc(plan.relative)
        left = []
        for state in states:
            if state.verdict is Verdict.MISSING or not self._owns(directory, state.pyc):
                left.append(state)
            elif state.verdict in _DOUBTS:
                self._adopt(self._layout, plan.relative, name, state.pyc, self._wanted.header.size)
            else:
                plan.owned.append((state.pyc, name))
        return left

    def _reason_to_exclude(self, relative: str, name: str) -> str | None:
        if self._excluded and self._excluded.match(self._layout.describe_source(relative, name)):
            return "excluded"
        if self._is_library:
            from ...interpreter.broken import (  # no hook serves a standard library
                BROKEN_ON_PURPOSE,
                is_broken_on_purpose,
            )

            return BROKEN_ON_PURPOSE if is_broken_on_purpose(f"{relative}/{name}") else None
        return None

    def _reason_to_skip(self, relative: str, name: str, status: os.stat_result, states: list[LevelState]) -> str | None:
        if not self._wanted.header.has_modes and not 0 <= self._wanted.mtime(status) <= _UINT32:
            return "3.6 accepts no bytecode for a source of before 1970 or after 2106"
        # Of a source without code there should be no pyc either.
        has_pycs = any(state.verdict not in NO_PYC for state in states)
        source = self._layout.describe_source(relative, name)
        if not (self._wanted.trust_nothing or has_pycs) and self._is_uncompilable(source, status):
            return "uncompilable"
        return None

    def _linked(self, plan: DirectoryPlan, links: list[str]) -> list[tuple[str, os.stat_result]]:
        """Sources that are links, with the status that the target's import sees."""
        found = []
        for name in links:
            try:
                status = source_status(self._layout.sources, plan.relative, name)
                found.append((name, status))
                if self._notes:
                    self._notes.link(plan.relative, name, status)
            except SourceRefused as refusal:
                source = self._layout.describe_source(plan.relative, name)
                if reason := self._reason_to_exclude(plan.relative, name):
                    plan.skipped.append((name, reason))
                elif self._is_uncompilable(source, self._layout.sources.lstat(plan.relative, name)):
                    plan.skipped.append((name, "uncompilable"))
                else:
                    plan.refused.append((name, str(refusal)))
            except OSError:  # dangling: import doesn't find it either
                if self._notes:
                    self._notes.link(plan.relative, name, None)
        return found


def _entries(pycs: PycListing | None) -> dict[str, bool]:
    """Everything in a directory of pycs: a directory under the name of a pyc is in its way."""
    if pycs is None:
        return {}
    return {**dict.fromkeys(pycs.directories, False), **pycs.names} if pycs.directories else pycs.names
