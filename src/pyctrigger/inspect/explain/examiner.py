"""Examines sources and their pycs as a run would, by the plan and the judge of runs. Nothing is written.

No child process is asked either: what only a child could find out is left open.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import NamedTuple

from ...interpreter.scope import SiteDirectory
from ...outcome.observer import Observer
from ...run.operation import Operation
from ...run.plan.knowledge import Knowledge
from ...run.plan.steps import LevelState, Step
from ...run.plan.survey import Survey
from ...run.plan.verdicts import Judge
from ...run.plan.wanted import wanted_bytecode
from ...run.scope.paths import Unit, Units, home_of
from ...run.scope.places import real_name
from ...run.scope.request import Work
from ...run.scope.sites import OpenSites, open_layout
from ...run.scope.target import Target
from ...tree.layout import Layout
from .bytecode import Directory, describe_link, name_of_pyc

_EVERY_LEVEL = (0, 1, 2)


class Level(NamedTuple):
    """One optimization level of a source, wanted or there."""

    level: int
    pyc: str
    state: LevelState | None
    """What is wrong with it; None if that is nothing."""


class Examined(NamedTuple):
    """A source for one flavour."""

    name: str
    status: os.stat_result | None
    """None if there is none."""
    refused: str | None
    """Why it must not be read."""
    levels: list[Level]


class Examiner:
    """Examines files for one target; `paths` are those that it will be asked about. Use it as a context manager."""

    def __init__(self, target: Target, operation: Operation, paths: Iterable[str]) -> None:
        self.target = target
        self.request = operation.request.about(None)._replace(work=Work.RUN)
        self.wanted = wanted_bytecode(target, self.request, operation.settings, target.installation)
        self.manifest = operation.store.manifest(target.installation)
        self.knowledge = Knowledge(
            self.manifest, self.wanted, operation.ownership, compares_records=not self.request.running.stateless
        )
        self._directories = dict.fromkeys(map(os.path.dirname, paths))
        self._sites = OpenSites(target, self.request)
        self._stack = contextlib.ExitStack()
        self._outside: dict[str, Layout] = {}
        #: What runs need to do in these directories.
        self._steps: dict[tuple[Layout, str], Step] = {}
        self._last: tuple[str, Directory] | None = None

    def __enter__(self) -> Examiner:
        self._stack.callback(self.manifest.close)
        self._stack.enter_context(self._sites)
        units: Units = {}
        for site, relative in filter(None, map(self.site_of, self._directories)):
            units.setdefault(site, []).append(Unit(relative, deep=False))
        for layout, step in Survey(self._sites, units, self.wanted, self.knowledge).steps():
            known = self._steps.get((layout, step.relative))
            self._steps[layout, step.relative] = known.joined(step) if known else step
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def site_of(self, path: str) -> tuple[str, str] | None:
        """Returns the site directory of the scope that a path lies in, and where in it."""
        return home_of(path, [site.path for site in self.target.sites], partial(real_name, self.request.scope.root))

    def describe_link(self, path: str) -> str | None:
        """Returns what to say of a path in the scope that leads through a link. Raises OSError."""
        home = self.site_of(path)
        return None if home is None else describe_link(self.layout(home[0]).sources, home[1])

    def survey(self, site: str, relative: str, observer: Observer) -> Survey:
        """Returns the plan for a directory in a site directory, and all below it."""
        units = {site: [Unit(relative, deep=True)]}
        return Survey(self._sites, units, self.wanted, self.knowledge, observer=observer)

    def directory(self, path: str) -> Directory:
        """Returns a directory of sources. Raises OSError."""
        if self._last is None or self._last[0] != path:
            site, relative = self.site_of(path) or (None, "")
            layout = self._open_outside(path) if site is None else self.layout(site)
            plan = self._steps.get((layout, relative)) or Step.of(relative)
            self._last = path, Directory(layout, relative, plan, in_scope=site is not None)
        return self._last[1]

    def layout(self, site: str) -> Layout:
        """Returns a site directory of the scope. Raises OSError."""
        for each, layout in self._sites.layouts:
            if each.path == site:
                return layout
        for failure in chain(*self._sites.find_closed([site])):
            raise OSError(errno.EACCES, failure.message)
        raise self._sites.find_foreign()[site]

    def _open_outside(self, path: str) -> Layout:
        if path not in self._outside:
            self._outside[path] = self._stack.enter_context(open_layout(SiteDirectory(path), self.request))
        return self._outside[path]

    def source(self, path: str) -> Examined:
        """Returns a source, which may be gone, with its levels. Raises OSError where its directory can't be opened."""
        above, name = os.path.split(path)
        seen = self.directory(above)
        status, refused = seen.status_of(name)
        states: dict[int, LevelState] = {}
        if status is not None:
            every_level = self.wanted._replace(levels=_EVERY_LEVEL, create_missing=True)
            judge = Judge(seen.layout, every_level, self.knowledge)
            judge.enter(seen.relative, seen.names, (name,))
            states = {state.level: state for state in judge.states(name, status)}
        wanted = self.wanted.levels if status is not None else ()
        pycs = {level: name_of_pyc(name, self.wanted.cache_tag, level) for level in _EVERY_LEVEL}
        levels = [
            Level(level, pyc, states.get(level))
            for level, pyc in pycs.items()
            if pyc and (pyc in seen.names or level in wanted)
        ]
        return Examined(name, status, refused, levels)
