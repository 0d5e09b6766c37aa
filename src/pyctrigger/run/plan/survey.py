"""The steps that are needed in the site directories of one target. Only reads, and yields values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ...interpreter.scope import SiteDirectory
from ...outcome.observer import Observer
from ...outcome.outcome import Failure
from ...tree.layout import Layout
from ...typed import Union
from ..scope.paths import Unit, Units
from ..scope.sites import OpenSites
from .glance import Notes, Overview
from .knowledge import Knowledge, PlannedSite
from .results import Denial, Results
from .steps import ForeignPlace, Step, Totals
from .walk import Planner
from .wanted import Wanted

#: By site directory: the places for another process; None for all of it.
Places = dict[str, Union[list[ForeignPlace], None]]


class Survey:
    """Plans the `units` of all site directories of a target, or only these `places` of other accounts."""

    def __init__(  # noqa: PLR0913 - what to examine, and where results go
        self,
        sites: OpenSites,
        units: Units,
        wanted: Wanted,
        knowledge: Knowledge,
        *,
        overview: Overview | None = None,
        observer: Observer | None = None,
        places: Places | None = None,
    ) -> None:
        self._sites = sites
        self._units = units
        self.wanted = wanted
        self.knowledge = knowledge
        self._overview = overview
        self._observer = observer if observer and observer.is_watched else None
        self._places = places
        #: Site directories that can't be opened, and those where nothing can be done as their owner.
        self.unexamined, self.refused = sites.find_closed(places)
        #: Places where another account may rename: for a process that acts as that account.
        self.foreign: Places = {path: None for path in sites.find_foreign() if units.get(path)}
        #: What was seen in each site directory that has been examined.
        self.totals: dict[str, Totals] = {}

    @property
    def total(self) -> Totals:
        """What was seen in all of them, added up."""
        return Totals(*map(sum, zip(*self.totals.values())))

    def steps(self) -> Iterator[tuple[Layout, Step]]:
        """Yields every step of every site directory's plan, except those for another process."""
        for site, layout in self._sites.layouts:
            for step in self._steps_in(site, layout):
                yield layout, step

    def _steps_in(self, site: SiteDirectory, layout: Layout) -> Iterator[Step]:
        if self._places is not None and site.path not in self._places:
            return
        places = self._places[site.path] if self._places is not None else None
        # Places inside a part say nothing about the whole of it.
        are_parts = all("/" not in place.relative and (place.deep or not place.relative) for place in places or ())
        notes = Notes(layout, self._overview.began) if self._overview and are_parts else None
        planner = self._planner(site, layout, notes)
        if places is None:
            yield from planner.plan(self._units.get(site.path, []))
        else:
            yield from planner.plan_places(places)
        self.totals[site.path] = planner.totals
        # A hook's glance has found packages without sources unchanged.
        has_seen_dead = self._overview is not None and self._overview.is_hook
        if foreign := [place for place in planner.foreign if not (place.if_dead and has_seen_dead)]:
            self.foreign[site.path] = foreign

    def changes(self, results: Results) -> Iterator[tuple[Layout, Step]]:
        """Yields the steps that can change something; what all of them report and prove is kept."""
        tally = results.tally
        tally.unexamined += self.unexamined
        tally.failures += self.refused
        for site, layout in self._sites.layouts:
            for step in self._steps_in(site, layout):
                self.knowledge.learn(layout, step)
                self._learn_part(layout, step)
                results.note(layout, step, self.knowledge)
                if not step.would_change:
                    continue
                if results.may_write(layout, step.place, len(step.stale), is_bare=step.is_bare):
                    yield layout, step
            tally.counts.fresh += self.totals.get(site.path, Totals()).fresh

    def look_again(self) -> None:
        """Record what is left of the parts that needed something, after the run has done what it could."""
        if self._overview is None:
            return
        for site, layout in self._sites.layouts:
            if units := [Unit(name, deep=bool(name)) for name in self._overview.unfinished.get(site.path, ())]:
                planner = self._planner(site, layout, Notes(layout, self._overview.began, again=True))
                for step in planner.plan_parts(units):
                    self._learn_part(layout, step)

    def _learn_part(self, layout: Layout, step: Step) -> None:
        # If packages couldn't be asked what they own, nothing is left to them for good.
        if step.part is not None and self._overview is not None and not self.knowledge.ownership.is_unreadable:
            self._overview.learn(layout.sources.path, step.part)

    def _planner(self, site: SiteDirectory, layout: Layout, notes: Notes | None) -> Planner:
        others = self._sites.identities - {layout.sources.identity}
        planned = PlannedSite(layout, self.wanted, self.knowledge, others, site.is_stdlib, notes)
        # What a hook's glance has found changed is among the units.
        planner = Planner(planned, finds_dead=not (self._overview and self._overview.has_glanced))
        if self._observer is not None:
            before, observer = self.total.sources, self._observer
            planner.looked = lambda sources: observer.looked(before + sources)
        return planner


def touched_places(sites: OpenSites, units: Units) -> list[tuple[Layout, Unit]]:
    """Returns the units in those site directories that could be opened."""
    return [(layout, unit) for site, layout in sites.layouts for unit in units.get(site.path, ())]


def are_read_only(places: list[tuple[Layout, Unit]]) -> bool:
    """Whether there are any, and all are on file systems that are mounted read-only."""
    return bool(places) and all(layout.is_read_only(unit.relative) for layout, unit in places)


def find_denials(places: list[tuple[Layout, Unit]]) -> list[Failure]:
    """Returns why this account may write none of them; empty if it may write some."""
    if any(layout.may_write(part) for layout, unit in places for part in _parts_of(layout, unit)):
        return []
    denials = {denial.path: denial for denial in (Denial(layout, unit.relative) for layout, unit in places)}
    return [denial.failure() for denial in denials.values()]


def _parts_of(layout: Layout, unit: Unit) -> Iterable[str]:
    """Yields a unit; of a whole site directory also its packages, which may belong to somebody else."""
    yield unit.relative
    if unit.deep and not unit.relative:
        with contextlib.suppress(OSError):
            yield from layout.sources.directories_in("")
