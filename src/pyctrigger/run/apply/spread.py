"""Decides whether the changes of a plan are worth lanes: processes that make them side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import chain

from ...tree.layout import Layout
from ..plan.steps import MOST_COUNTED
from .execution import Change, Execution
from .workers import Workers

#: Work that lanes are worth being started for.
LEAST = 512 << 10


def spread(
    changes: Iterator[Change], execution: Execution, workers: Workers, layouts: Sequence[Layout], keep: Sequence[int]
) -> Iterator[Change]:
    """Make the changes in lanes, if they are many. Yields those that this process has to make. Raises PyctriggerError.

    Nothing is forked beside another thread, which might hold a lock for ever.
    """
    found, size, count = [], 0, 0
    is_watched = execution.results.observer.is_watched
    for change in changes:
        found.append(change)
        size += change[1].work
        count += len(change[1].stale)
        if count >= MOST_COUNTED or (size >= LEAST and not is_watched):
            break
    lanes = workers.count if size >= LEAST and threading.active_count() == 1 else 1
    if lanes == 1:
        yield from chain(found, changes)
        return
    from .lanes import Lanes  # a hook seldom needs them

    workers.__exit__()  # the one that was warmed up
    with Lanes(lanes, layouts, execution, workers, keep) as running:
        running.known = count if is_watched and count < MOST_COUNTED else None
        running.run(chain(found, changes))
    yield from running.apart
