"""One file looked at as a run would: what its bytecode is, by which rule, and what a run would do about it.

The verdict comes from the judge and the plan that runs themselves go by. Nothing is written, and no child is asked:
what only a child could say is said to be open.
"""

from __future__ import annotations

import contextlib
import os
import stat
from functools import partial
from typing import NamedTuple

from ...errors import RefusedError
from ...interpreter.scope import SiteDirectory
from ...pyc.header import Verdict
from ...pyc.names import NAME_MAX, pyc_suffix
from ...run.apply.forecast import Forecast
from ...run.operation import Operation
from ...run.plan.knowledge import Knowledge, PlannedSite
from ...run.plan.steps import LevelState, Step
from ...run.plan.verdicts import Judge
from ...run.plan.walk import Planner
from ...run.plan.wanted import wanted_bytecode
from ...run.scope.paths import Unit, home_of
from ...run.scope.places import real_name
from ...run.scope.request import Work
from ...run.scope.sites import open_layout, require_account_owns
from ...run.scope.target import Target
from ...state.records.manifest import Uncompilable
from ...tree.elsewhere import goal_of
from ...tree.layout import Layout
from ...tree.listing import list_pycs
from ...tree.source import SourceRefused, look_at_pyc, source_status

_EVERY_LEVEL = (0, 1, 2)


class Level(NamedTuple):
    """One optimization level of a source, as it stands."""

    level: int
    name: str
    verdict: Verdict
    head: bytes
    """The first bytes of the pyc; none where there is none to be read."""
    wanted: bool
    """Whether runs write this level."""


class SourceLook(NamedTuple):
    """A source for one flavour."""

    path: str
    status: os.stat_result | None
    """None: there is none."""
    levels: tuple[Level, ...]
    """Those that are wanted, and those that are there."""
    refused: str | None = None
    uncompilable: Uncompilable | None = None


class Directory:
    """One directory of one flavour, open."""

    def __init__(self, layout: Layout, relative: str, plan: Step, *, in_scope: bool) -> None:
        self.layout = layout
        self.relative = relative
        #: What a run would do; empty outside of the scope.
        self.plan = plan
        self.in_scope = in_scope
        #: Why it can't be looked at.
        self.problem: str | None = None
        self.names: dict[str, bool] = {}

    def read_head(self, pyc: str, size: int) -> bytes:
        """The first bytes of a pyc; none where there is none to be read."""
        if not self.names.get(pyc):
            return b""
        try:
            with self.layout.pycs.entered(self.layout.pycache(self.relative)) as directory:
                return look_at_pyc(directory, pyc, size)[0]
        except OSError:
            return b""


class Examiner:
    """Looks at files for one target. Use it as a context manager."""

    def __init__(self, target: Target, operation: Operation) -> None:
        self.target = target
        self.request = operation.request.about(None)._replace(work=Work.RUN)
        self.wanted = wanted_bytecode(target, self.request, operation.settings, target.installation)
        self.manifest = operation.store.manifest(target.installation)
        self._knowledge = Knowledge(
            self.manifest, self.wanted, operation.ownership, compares_records=not self.request.running.stateless
        )
        self._stack = contextlib.ExitStack()
        self._layouts: dict[str, Layout] = {}
        self._last: tuple[str, Directory] | None = None

    def __enter__(self) -> Examiner:
        self._stack.callback(self.manifest.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def site_of(self, path: str) -> tuple[str, str] | None:
        """The site directory of the scope that a path lies in, and where in it."""
        return home_of(path, [site.path for site in self.target.sites], partial(real_name, self.request.scope.root))

    def directory(self, path: str) -> Directory:
        """The directory of sources `path`, and what a run would do in it. Raises OSError where there is none."""
        if self._last is None or self._last[0] != path:
            self._last = path, self._open(path)
        return self._last[1]

    def _open(self, path: str) -> Directory:
        home = self.site_of(path)
        site, relative = home or (path, "")
        layout = self._layout(site)
        found = Directory(layout, relative, Step.of(relative), in_scope=home is not None)
        with contextlib.suppress(OSError), layout.pycs.entered(layout.pycache(relative)) as directory:
            found.names = list_pycs(directory).entries
        if found.in_scope:
            for step in self.planner(site).plan_parts([Unit(relative, deep=False)]):
                found.plan = found.plan.joined(step)
                found.problem = found.problem or step.unexamined
        return found

    def through_link(self, path: str) -> str | None:
        """What to say of a path in the scope that leads through a link to a directory; None for every other."""
        home = self.site_of(path)
        if home is None:
            return None
        tree, above = self._layout(home[0]).sources, ""
        for name in home[1].split("/") if home[1] else ():
            try:
                goal = goal_of(tree, above, name)
                if goal is not None:
                    link = tree.describe(above, name)
                    if tree.resolve(above, name) is not None:
                        return f"{link} is a link to {goal}; sources there are compiled there"
                    return (
                        f"{link} is a link to {goal}; its sources aren't compiled through it; "
                        f"compile where they are: pyctrigger run --site-dir {goal}"
                    )
            except OSError:
                return None
            above = f"{above}/{name}" if above else name
        return None

    def planner(self, site: str) -> Planner:
        """A plan for a site directory of the scope that was opened."""
        is_library = any(each.is_stdlib for each in self.target.sites if each.path == site)
        for each in self.target.sites:
            with contextlib.suppress(OSError):  # told when somebody asks about it
                self._layout(each.path)
        others = frozenset(layout.sources.identity for name, layout in self._layouts.items() if name != site)
        return Planner(PlannedSite(self._layouts[site], self.wanted, self._knowledge, others, is_library))

    def _layout(self, site: str) -> Layout:
        layout = self._layouts.get(site)
        if layout is None:
            layout = self._stack.enter_context(open_layout(SiteDirectory(site), self.request))
            self._layouts[site] = layout
        return layout

    def source(self, path: str) -> SourceLook:
        """A source, which may be gone, with its levels. Raises OSError where its directory can't be opened."""
        above, name = os.path.split(path)
        seen = self.directory(above)
        status, refused = _status(seen, name)
        levels = self._levels(seen, name, status)
        uncompilable = self.manifest.uncompilable.get(seen.layout.describe_source(seen.relative, name))
        return SourceLook(path, status, levels, refused, uncompilable)

    def _levels(self, seen: Directory, name: str, status: os.stat_result | None) -> tuple[Level, ...]:
        tag, size = self.wanted.cache_tag, self.wanted.header.size
        states = {}
        if status is not None:
            wanted = self.wanted._replace(levels=_EVERY_LEVEL, create_missing=True)
            judge = Judge(seen.layout, wanted, self._knowledge)
            judge.enter(seen.relative, seen.names, (name,))
            states = {state.level: state for state in judge.states(name, status)}
        found = []
        for level in _EVERY_LEVEL:
            pyc = name[:-3] + pyc_suffix(tag, level)
            is_there, is_wanted = pyc in seen.names, level in self.wanted.levels
            if not (is_there or (is_wanted and status is not None)) or len(os.fsencode(pyc)) > NAME_MAX:
                continue
            state: LevelState | None = states.get(level)
            verdict = state.verdict if state else Verdict.FRESH
            head = seen.read_head(pyc, size + 1)
            found.append(Level(level, pyc, verdict, head, is_wanted))
        return tuple(found)

    def is_owned(self, seen: Directory, level: Level) -> bool:
        """Whether a package owns the pyc."""
        return self._knowledge.ownership.owns(seen.layout.describe_pyc(seen.relative), level.name)

    def obstacle(self, layout: Layout, relative: str, pycache: str | None) -> str | None:
        """Why a run would write nothing into a directory, whose `__pycache__` is that; None if it would."""
        try:
            require_account_owns(self.target, layout)
        except RefusedError as error:
            return str(error)
        forecast = Forecast(self.wanted)
        if forecast.permits(layout, Step.of(relative)._replace(obstacle=pycache)):
            return None
        told = forecast.settle()
        for failure in told.failures:
            return f"{failure.path}: {failure.message}{'; run it as root' if failure.needs_root else ''}"
        return told.notices[0]

    def hindrance(self, layout: Layout, step: Step, name: str) -> str | None:
        """Why a run wouldn't do what a source of a directory needs; None if it would."""
        obstacle = self.obstacle(layout, step.relative, step.obstacle)
        if obstacle is not None:
            return obstacle
        forecast = Forecast(self.wanted)
        forecast.can_read(layout, step.relative, name)
        return next((f"its source can't be read: {failure.message}" for failure in forecast.settle().failures), None)


def _status(seen: Directory, name: str) -> tuple[os.stat_result | None, str | None]:
    """The status of a source as the target sees it, and why it must not be read."""
    try:
        status = source_status(seen.layout.sources, seen.relative, name)
    except SourceRefused as refusal:
        return None, str(refusal)
    except OSError:
        return None, None
    return (status, None) if stat.S_ISREG(status.st_mode) else (None, "no regular file")
