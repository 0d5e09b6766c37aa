"""Proving hash-based pycs by looking only: the target computes the hash of the source, nothing is compiled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..tree.source import SourceRefused, read_source
from ..workers import wire
from ..workers.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tree.layout import Layout
    from ..workers.pool import Pool
    from .steps import Stale


class Prover:
    """Asks a worker, which starts with the first question. Use it as a context manager."""

    def __init__(self, open_pool: Callable[[], Pool]) -> None:
        self._open_pool = open_pool
        self._pool: Pool | None = None

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.__exit__()

    def changed_levels(self, layout: Layout, relative: str, stale: Stale) -> frozenset[int]:
        """The levels whose pyc carries another hash than their source has; all of them where it can't be told."""
        asked = [state for state in stale.levels if state.source_hash is not None]
        everything = frozenset(state.level for state in asked)
        try:
            text = read_source(layout.sources, relative, stale.name)
        except (OSError, SourceRefused):
            return everything
        levels = [wire.LevelRequest(state.level, state.source_hash) for state in asked]
        path = os.fsencode(layout.describe_source(relative, stale.name))
        job = Job(wire.request(levels, path, text.data, check_only=True), None)
        if self._pool is None:
            self._pool = self._open_pool()
        answer = self._pool.ask(job)
        if not isinstance(answer, wire.Compiled):
            return everything
        return frozenset(state.level for state, level in zip(asked, answer.levels) if level.state != wire.SAME)
