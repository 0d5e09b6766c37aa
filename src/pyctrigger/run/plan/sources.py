"""Judges the sources of a directory: the loop in which an idle run spends its time."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence

from ...pyc.header import NO_PYC, Verdict
from ...pyc.names import NAME_MAX
from ...tree.elsewhere import goal_of, leads_to_sources
from ...tree.listing import SourceListing
from ...tree.source import SourceRefused, source_status
from .knowledge import PlannedSite
from .steps import AT_ONCE, DOUBTS, LevelState, Stale, Step, all_missing
from .unchanged import Snapshot
from .verdicts import Judge
from .wanted import BCEP

#: Why a source that is named there is skipped.
LEFT_OUT = f"a package of this system asks not to compile it ({BCEP})"
_UINT32 = 0xFFFFFFFF
#: Characters, of four bytes at most. With a shorter name every pyc's name has room.
_SHORT_NAME = 50


class SourceJudge:
    """Judges the sources of one site directory, directory by directory."""

    def __init__(self, site: PlannedSite) -> None:
        self._layout, self._wanted, self._notes = site.layout, site.wanted, site.notes
        self._others, self._is_library = site.others, site.is_library
        self._measures = site.wanted.measures
        #: Whether it will be asked if a source has changed since the run began.
        self._keeps_status = site.notes is not None and site.notes.again
        self._is_uncompilable = site.knowledge.is_uncompilable
        self._owns = site.knowledge.ownership.owns
        self._excluded: re.Pattern[str] | None = None
        if site.wanted.exclude:
            from fnmatch import translate  # few configurations exclude anything

            self._excluded = re.compile("|".join(map(translate, site.wanted.exclude)))
        self._is_left_out: Callable[[str], bool] | None = None
        if site.wanted.left_out:
            from ...packages.bcep import exclusion_test  # few systems have any

            self._is_left_out = exclusion_test(site.wanted.left_out)
        self._leaves_some = bool(self._excluded or self._is_left_out or self._is_library)
        self.pycs = Judge(site.layout, site.wanted, site.knowledge)
        #: How many there are, how many are fresh, and, if that is measured, how many bytes they have.
        self.sources = self.fresh = self.bytes = 0
        self._manifest = site.knowledge.manifest
        #: What every source without a pyc is missing.
        self._missing = all_missing(site.wanted.suffixes if site.wanted.create_missing else [])
        #: Whether any in the last directory needs something; the path of that, and whether it has pycs.
        self.has_stale = self._has_pycs = False
        self._directory = ""

    def judge(
        self, step: Step, listing: SourceListing, names: dict[str, bool], snapshot: Snapshot | None
    ) -> Generator[Step, None, Step]:
        """Judge every source of a directory; `names` is everything in the directory of its pycs.

        Returns the step, to be continued; of a large directory, earlier ones are yielded.
        """
        self.has_stale, self._has_pycs = False, bool(names)
        self._directory = ""
        sources = sorted([*listing.sources, *listing.links]) if listing.links else listing.sources
        for start in range(0, len(sources) or 1, AT_ONCE):
            if start and step.says_something:
                yield step
                step = step.rest()
            part = sources[start : start + AT_ONCE]
            if not names and not listing.links and self._are_all_missing(part):
                step.stale.extend(self._without_pycs(step.relative, listing, part))
                self.has_stale |= bool(step.stale)
                continue
            found = self._statuses(step, listing, part)
            self.sources += len(found)
            self.pycs.enter(step.relative, names, listing.links)
            self._directory = self._directory or self._layout.describe_source(step.relative)
            for name, status in found:
                if self._leaves_some and (reason := self._reason_to_exclude(step.relative, name)):
                    step.skipped.append((name, reason))
                    continue
                states = self.pycs.states(name, status) if names else self._missing
                self._decide(step, name, status, states)
            step.records.extend(self.pycs.records)
            if snapshot:
                snapshot.add(self.pycs.proving, self.pycs.proven, len(found), len(self._wanted.levels))
        return step

    def judge_bare(self, relative: str, listing: SourceListing) -> Step | None:
        """Returns the step of a directory without pycs and links whose sources all get some; None if not all do."""
        names = listing.sources
        if len(names) > AT_ONCE or not self._are_all_missing(names):
            return None
        step = Step.of(relative, is_bare=True)
        step.stale.extend(self._without_pycs(relative, listing, names))
        return step if step.stale else None

    def _without_pycs(self, relative: str, listing: SourceListing, names: list[str]) -> list[Stale]:
        """Returns what these sources need, all of which is missing."""
        found, missing, keeps_status, lstat, make = [], self._missing, self._keeps_status, os.lstat, tuple.__new__
        with self._layout.sources.entered(relative) as directory:
            for name in names:
                try:
                    status = lstat(name, dir_fd=directory)
                except FileNotFoundError:
                    listing.names.discard(name)
                    continue
                # Not by its own constructor: a function in Python takes as long as the system call.
                found.append(make(Stale, (name, status.st_size, missing, status if keeps_status else None)))
        self.sources += len(found)
        if self._measures:
            self.bytes += sum(each.size for each in found)
        return found

    def _are_all_missing(self, names: list[str]) -> bool:
        """Whether the pycs of all these sources are to be written, if there is none: nothing depends on their names."""
        if not self._missing or self._leaves_some or not self._wanted.header.has_modes:
            return False
        return max(map(len, names), default=0) <= _SHORT_NAME and not self._manifest.uncompilable

    def links_elsewhere(self, relative: str, names: list[str]) -> Iterator[tuple[str, str]]:
        """Yields links to directories with sources outside of the scope, not reported before, and their targets."""
        tree = self._layout.sources
        sites = self._others | {tree.identity}
        for name in names:
            path = self._layout.describe_source(relative, name)
            with contextlib.suppress(OSError):
                if not self._wanted.trust_nothing and self._is_uncompilable(path, tree.lstat(relative, name)):
                    continue
                goal = goal_of(tree, relative, name)
                if goal is not None and leads_to_sources(tree, relative, name, sites):
                    yield name, goal

    def _statuses(self, step: Step, listing: SourceListing, names: list[str]) -> list[tuple[str, os.stat_result]]:
        """Returns the sources with these names, each with its status."""
        found, links = [], []
        is_link = set(listing.links).__contains__ if listing.links else None
        with self._layout.sources.entered(step.relative) as directory:
            for name in names:
                if is_link and is_link(name):
                    links.append(name)
                    continue
                try:
                    found.append((name, os.lstat(name, dir_fd=directory)))
                except FileNotFoundError:
                    listing.names.discard(name)
        if self._measures:
            self.bytes += sum(status.st_size for _, status in found)
        if links:
            refused = len(step.refused)
            found = sorted([*found, *self._linked(step, links)])
            self.sources += len(step.refused) - refused
        return found

    def _decide(self, step: Step, name: str, status: os.stat_result, states: Sequence[LevelState]) -> None:
        if states and len(name) > _SHORT_NAME:
            states = [state for state in states if len(os.fsencode(state.pyc(name))) <= NAME_MAX]
            if not states:
                step.skipped.append((name, "its name is too long for a pyc's"))
                return
        if states and self._has_pycs and self._wanted.keep_owned:
            states = self._without_owned(step, name, states)
            if not states:
                return
        if not states:
            self.fresh += 1
        elif reason := self._reason_to_skip(name, status, states):
            step.skipped.append((name, reason))
        else:
            self.has_stale = True
            step.stale.append(Stale.of(name, status, tuple(states)))

    def _without_owned(self, step: Step, name: str, states: Sequence[LevelState]) -> Sequence[LevelState]:
        """Returns the levels that may be written: pycs of a package are only reported."""
        directory = self._layout.describe_pyc(step.relative)
        left = []
        for state in states:
            pyc = state.pyc(name)
            if state.verdict is Verdict.MISSING or not self._owns(directory, pyc):
                left.append(state)
            elif state.verdict in DOUBTS:  # no sign that it is stale
                self.pycs.adopt(name, pyc)
            else:
                step.owned.append((pyc, name))
        return left

    def _reason_to_exclude(self, relative: str, name: str) -> str | None:
        path = self._layout.describe_source(relative, name)
        if self._excluded and self._excluded.match(path):
            return "excluded"
        if self._is_left_out and self._is_left_out(path):
            return LEFT_OUT
        if self._is_library:
            # Hooks don't need it.
            from ...interpreter.broken import BROKEN_ON_PURPOSE, is_broken_on_purpose

            return BROKEN_ON_PURPOSE if is_broken_on_purpose(f"{relative}/{name}") else None
        return None

    def _reason_to_skip(self, name: str, status: os.stat_result, states: Sequence[LevelState]) -> str | None:
        if not self._wanted.header.has_modes and not 0 <= self._wanted.mtime(status) <= _UINT32:
            return "Python 3.6 accepts no bytecode for a source from before 1970 or after 2106"
        # A source that doesn't compile should have no pyc.
        has_pycs = self._has_pycs and any(state.verdict not in NO_PYC for state in states)
        is_believed = not (has_pycs or self._wanted.trust_nothing)
        if is_believed and self._is_uncompilable(f"{self._directory}/{name}", status):
            return "uncompilable"
        return None

    def _linked(self, step: Step, links: list[str]) -> list[tuple[str, os.stat_result]]:
        """Returns sources that are links, with the status that the target's import sees."""
        found = []
        for name in links:
            try:
                status = source_status(self._layout.sources, step.relative, name)
                found.append((name, status))
                if self._notes:
                    self._notes.link(step.relative, name, status)
            except SourceRefused as refusal:
                source = self._layout.describe_source(step.relative, name)
                if reason := self._reason_to_exclude(step.relative, name):
                    step.skipped.append((name, reason))
                elif self._is_uncompilable(source, self._layout.sources.lstat(step.relative, name)):
                    step.skipped.append((name, "uncompilable"))
                else:
                    step.refused.append((name, str(refusal)))
            except OSError:  # dangling: import doesn't find it either
                if self._notes:
                    self._notes.link(step.relative, name, None)
        return found
