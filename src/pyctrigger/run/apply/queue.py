"""The order of work: large sources first, so that the workers end together and none has a long one left at the end."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from ...tree.layout import Place
from ...tree.source import SourceText
from ...tuples import NamedTuple
from ..plan.steps import Stale

#: Sources that wait while larger ones behind them are found; what is held is their names and status.
_MOST_WAITING = 256
#: Sources taken from the plan for each one that is given out, until so many wait.
_STEP = 8


class Task(NamedTuple):
    """A source to compile."""

    place: Place
    stale: Stale


class Asked(NamedTuple):
    """A source that was read, on its way through a worker."""

    task: Task
    text: SourceText
    digest: bytes


def largest_first(tasks: Iterable[Task]) -> Iterator[Task]:
    """The same tasks, each the largest of those that the plan has come to; reading the plan is spread over the work."""
    source = iter(tasks)
    waiting: list[tuple[int, int, Task]] = []
    number = 0
    exhausted = False
    while True:
        for _ in range(_STEP if len(waiting) < _MOST_WAITING else 1):
            task = None if exhausted else next(source, None)
            if task is None:
                exhausted = True
                break
            number += 1
            heapq.heappush(waiting, (-task.stale.status.st_size, number, task))
        if not waiting:
            return
        yield heapq.heappop(waiting)[2]
