"""Decides whether the changes of a plan are worth lanes: processes that make them side by side.

It also says before a long work of a hook how much there is: somebody waits, and sees nothing of a package manager then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import chain

from ...tree.layout import Layout
from ..plan.steps import MOST_COUNTED
from .execution import Change, Execution, needs_compiler
from .workers import Workers

#: Work that lanes are worth being started for.
LEAST = 512 << 10
#: Sources that a hook holds at most to say how many there are.
MOST_ANNOUNCED = 20_000
#: Seconds of work from which on it does, and bytes of sources that a process compiles in a second, at one level
#: (docs/performance.md: 5 to 8 MiB).
_LONG, _PACE = 3.0, 5 << 20


def spread(
    changes: Iterator[Change],
    execution: Execution,
    workers: Workers,
    layouts: Sequence[Layout],
    keep: Sequence[int],
    *,
    hook_of: str | None = None,
) -> Iterator[Change]:
    """Make the changes in lanes, if they are many. Yields those that this process has to make. Raises PyctriggerError.

    Nothing is forked beside another thread, which might hold a lock for ever. `hook_of` is the flavour that a hook
    works for.
    """
    found, size, count = [], 0, 0
    observer = execution.results.observer
    is_watched = observer.is_watched
    most = MOST_COUNTED if is_watched else MOST_ANNOUNCED
    for change in changes:
        found.append(change)
        size += change[1].work
        count += len(change[1].stale)
        if count >= most or (size >= LEAST and not is_watched and hook_of is None):
            break
    if hook_of is not None:
        code = [stale for _, step in found for stale in step.stale if needs_compiler(stale)]
        if sum(stale.work for stale in code) * len(execution.wanted.levels) > _LONG * _PACE * workers.count:
            number = f"{len(code)}" if count < most else f"more than {len(code)}"
            observer.remark(f"{hook_of}: {number} sources need bytecode")
    lanes = workers.count if size >= LEAST and threading.active_count() == 1 else 1
    if lanes == 1:
        yield from chain(found, changes)
        return
    from .lanes import Lanes  # a hook seldom needs them

    workers.end()  # the one that was warmed up
    with Lanes(lanes, layouts, execution, workers, keep) as running:
        running.known = count if is_watched and count < MOST_COUNTED else None
        running.run(chain(found, changes))
    yield from running.apart
