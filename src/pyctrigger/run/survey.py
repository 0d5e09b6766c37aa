"""A survey: the site directories of one target opened, and the steps that a request's paths ask for in them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ..pyc.header import InvalidationMode
from .outcome import Failure
from .plan import Planner
from .request import Work
from .targets import open_layout, require_account_owns
from .wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..tree.layout import Layout
    from .config import Settings
    from .knowledge import Knowledge
    from .request import Request
    from .steps import Step
    from .targets import Target
    from .transaction import Unit


def wanted_bytecode(target: Target, request: Request, settings: Settings, writer: str) -> Wanted:
    """What every source of this target should have. `writer` is the id in the names of files in the making."""
    header = target.header
    mode = request.invalidation_mode or settings.invalidation_mode
    return Wanted(
        cache_tag=target.interpreter.cache_tag,
        header=header,
        levels=request.levels(settings, target.dotted),
        # 3.6 knows no other: asking it for a hash can only mean the nearest that it has.
        mode=mode if header.has_modes else InvalidationMode.TIMESTAMP,
        writer=writer,
        exclude=(*settings.exclude, *request.exclude),
        create_missing=settings.create_missing,
        source_date_epoch=request.source_date_epoch,
        trust_nothing=request.work is Work.REPAIR,
        compare_code=request.compare_code,
        sweep_only=request.work is Work.SWEEP,
        purge=request.work is Work.PURGE,
        trust_all_directories=settings.untrusted_directories == "allow",
        links_twins=settings.duplicates == "hardlink",
        # Who only looks is told of every stale pyc, whosever it is.
        keep_owned=settings.owned_stale == "keep" and request.work.writes and not request.replaces_owned,
        measure=request.work is Work.STATUS,
    )


class Survey:
    """The trees of one target, open. Use it as a context manager: the layouts in its steps live as long as it does."""

    def __init__(self, target: Target, request: Request, wanted: Wanted, knowledge: Knowledge) -> None:
        self._target = target
        self._request = request
        self._wanted = wanted
        self._knowledge = knowledge
        self._stack = contextlib.ExitStack()
        self._sites: list[tuple[Layout, bool, list[Unit]]] = []
        #: Site directories that could not be opened.
        self.unexamined: list[Failure] = []

    def __enter__(self) -> Survey:
        units = self._target.touched(self._request).units
        with contextlib.ExitStack() as stack:
            for site in self._target.sites:
                try:
                    layout = stack.enter_context(open_layout(site, self._request))
                except OSError as error:
                    self.unexamined.append(Failure(site.path, "io", error.strerror or str(error)))
                    continue
                if self._request.work.writes:
                    require_account_owns(self._target, layout)
                self._sites.append((layout, site.is_stdlib, units.get(site.path, [])))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_read_only(self) -> bool:
        """Whether everything that was touched lies on file systems that are mounted read-only."""
        touched = [(layout, unit) for layout, _, units in self._sites for unit in units]
        return bool(touched) and all(layout.is_read_only(unit.relative) for layout, unit in touched)

    def steps(self) -> Iterator[tuple[Layout, Step]]:
        """Every step of every site directory's plan."""
        identities = frozenset(layout.sources.identity for layout, _, _ in self._sites)
        for layout, is_stdlib, units in self._sites:
            planner = Planner(layout, self._wanted, self._knowledge, others=identities, skip_packages=is_stdlib)
            for step in planner.plan(units):
                yield layout, step
