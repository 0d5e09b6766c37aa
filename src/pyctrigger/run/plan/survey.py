"""A survey: the site directories of one target opened, and the steps that a request's paths ask for in them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ...outcome.outcome import Failure
from ...tree.identity import ForeignPlaceError, IdentityRefusedError
from ..scope.paths import Unit
from ..scope.target import open_layout, require_account_owns
from .results import reason_to_refuse
from .steps import Foreign, Totals
from .walk import Planner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...interpreter.scope import SiteDirectory
    from ...outcome.observer import Observer
    from ...tree.layout import Layout
    from ..scope.request import Request
    from ..scope.target import Target
    from .foreign import Places
    from .glance import Overview
    from .knowledge import Knowledge
    from .notes import Notes
    from .steps import Step
    from .wanted import Wanted


class Survey:
    """The trees of one target, open. Use it as a context manager: the layouts in its steps live as long as it does."""

    def __init__(  # noqa: PLR0913 - what a look is about, and who listens
        self,
        target: Target,
        request: Request,
        wanted: Wanted,
        knowledge: Knowledge,
        overview: Overview | None = None,
        observer: Observer | None = None,
        *,
        places: Places | None = None,
    ) -> None:
        self._target = target
        self._request = request
        self._wanted = wanted
        self._knowledge = knowledge
        self._overview = overview
        self._observer = observer if observer and observer.is_watched else None
        #: All that there is to look at; None: everything but the places of others.
        self._places = places
        #: Sources looked at, in all site directories, and in those before this one.
        self._looked = self._before = 0
        self._stack = contextlib.ExitStack()
        self._sites: list[tuple[Layout, SiteDirectory, list[Unit]]] = []
        #: Site directories that could not be opened, and those where nothing can be done as whose they are.
        self.unexamined: list[Failure] = []
        self.refused: list[Failure] = []
        #: Places where somebody else may rename: they are for a process that acts as that account.
        self.foreign: Places = {}

    def __enter__(self) -> Survey:
        units = self._target.touched(self._request).units
        with contextlib.ExitStack() as stack:
            for site in self._target.sites:
                try:
                    layout = stack.enter_context(open_layout(site, self._request))
                except ForeignPlaceError:
                    if units.get(site.path):
                        self.foreign[site.path] = None
                    continue
                except OSError as error:
                    if self._places is None or site.path in self._places:
                        self._note_closed(site.path, error)
                    continue
                if self._request.work.writes:
                    require_account_owns(self._target, layout)
                self._sites.append((layout, site, units.get(site.path, [])))
            self._stack = stack.pop_all()
        return self

    def _note_closed(self, path: str, error: OSError) -> None:
        if isinstance(error, IdentityRefusedError):
            self.refused.append(Failure(path, "refused", str(error.strerror)))
        elif isinstance(error, PermissionError) and (reason := reason_to_refuse(None, error, path)):
            self.refused.append(Failure(path, "refused", reason))
        else:
            self.unexamined.append(Failure(path, "io", error.strerror or str(error)))

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_read_only(self) -> bool:
        """Whether everything that was touched lies on file systems that are mounted read-only."""
        touched = [(layout, unit) for layout, _, units in self._sites for unit in units]
        return bool(touched) and all(layout.is_read_only(unit.relative) for layout, unit in touched)

    @property
    def denied(self) -> list[Failure]:
        """Why this account may write nothing of what was touched; empty if it may write some of it."""
        touched = [(layout, unit) for layout, _, units in self._sites for unit in units]
        if any(layout.may_write(part) for layout, unit in touched for part in _parts(layout, unit)):
            return []
        from .denials import denials_of  # an account that may write never needs it

        return denials_of([(layout, unit.relative) for layout, unit in touched])

    def steps(self) -> Iterator[tuple[Layout, Step]]:
        """Every step of every site directory's plan, but for those that another process has to take."""
        for layout, site, units in self._sites:
            if self._places is not None and site.path not in self._places:
                continue
            places = self._places[site.path] if self._places is not None else None
            is_noted = all(map(_is_part, places or ()))
            notes = self._overview.notes(site.path, layout) if self._overview and is_noted else None
            planner = self._planner(layout, site, notes)
            for step in planner.plan(units) if places is None else planner.plan_places(places):
                if isinstance(step, Foreign):
                    if step.if_dead and self._overview and self._request.running.hook:
                        continue  # its glance has seen that nothing has changed there
                    found = self.foreign.setdefault(site.path, [])
                    assert found is not None
                    found.append(step)
                    continue
                if isinstance(step, Totals):
                    self._before = self._looked
                yield layout, step
            if notes:
                self._learn(site, notes)

    def look_again(self) -> None:
        """Take down what is left of the parts that needed something, once the run has done what it could."""
        for layout, site, _ in self._sites if self._overview else ():
            assert self._overview is not None
            if names := self._overview.unserved(site.path):
                notes = self._overview.notes(site.path, layout, again=True)
                self._planner(layout, site, notes).look_again(Unit(name, deep=bool(name)) for name in names)
                self._learn(site, notes)

    def _learn(self, site: SiteDirectory, notes: Notes) -> None:
        assert self._overview is not None
        if self._knowledge.knows_owners:  # else what is left is left for the moment
            self._overview.learn(site, notes)

    def _planner(self, layout: Layout, site: SiteDirectory, notes: Notes | None) -> Planner:
        others = frozenset(layout.sources.identity for layout, _, _ in self._sites)
        library = site.is_stdlib
        planner = Planner(layout, self._wanted, self._knowledge, others=others, is_library=library, notes=notes)
        planner.looked = self._tell_looked if self._observer else None
        return planner

    def _tell_looked(self, sources: int) -> None:
        assert self._observer is not None
        self._looked = self._before + sources
        self._observer.looked(self._looked)


def _is_part(place: Foreign) -> bool:
    """Whether a place is a whole part of its site directory."""
    return "/" not in place.relative and (place.deep or not place.relative)


def _parts(layout: Layout, unit: Unit) -> Iterator[str]:
    """A unit, and where that is a whole site directory, the packages in it: they may be somebody else's."""
    yield unit.relative
    if unit.deep and not unit.relative:
        with contextlib.suppress(OSError):
            yield from layout.sources.directories_in("")
