"""Recording a run in the history: what it was asked for, and what it did, cut to a size that a line can have."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import accumulate

from ..outcome.report import FlavourReport, Report, printable
from ..state.history import History, PastFlavour, PastRun, birth_of
from ..state.store import Store
from ..typed import Any, TypeVar
from .scope.request import Request

#: Bytes of paths in one record, and of what failed; the numbers beside them count all.
_MOST_PATHS = 8 << 10
_MOST_FAILURES = 16 << 10
_MOST_ERRORS = 4 << 10
_LONGEST_MESSAGE = 500
#: What has fields of its own.
_APART = frozenset({"paths", "event", "manager", "hook", "state_dir"})

_Thing = TypeVar("_Thing")


class Recording:
    """The record of one run. If it can't be kept, that is reported once, and the run continues without."""

    def __init__(self, request: Request, store: Store, began: float, notice: Callable[[str], None]) -> None:
        transaction = request.transaction
        self._store = store
        self._notice = notice
        self._is_kept = True
        paths = None if transaction.paths is None else [path for path in transaction.paths if path]
        self._run = PastRun(
            number=0,
            began=began,
            ended=None,
            pid=os.getpid(),
            birth=birth_of(os.getpid()),
            command=request.work.value,
            event=transaction.event,
            manager=transaction.manager,
            hook=request.running.hook,
            options=_options(request),
            paths=None if paths is None else tuple(first_that_fit(paths, _MOST_PATHS, len)),
            path_count=len(paths or ()),
        )

    def begin(self) -> None:
        """Record that the run is about to change something."""
        self._add(self._run)

    def end(self, report: Report) -> None:
        """Record what it did."""
        room = _MOST_FAILURES // max(1, len(report.runs))
        errors = [(error.exit_code, printable(str(error))[:_LONGEST_MESSAGE]) for error in report.errors]
        ended = self._run._replace(
            ended=time.time(),
            flavours=tuple(_flavour(run, room) for run in report.runs),
            errors=tuple(first_that_fit(errors, _MOST_ERRORS, lambda error: len(error[1]))),
            exit_code=report.exit_code,
        )
        self._add(ended)

    def _add(self, run: PastRun) -> None:
        base = self._store.base
        if base is None or not self._is_kept:
            return
        try:
            self._run = run._replace(number=History(base).add(run))
        except OSError as error:
            self._notice(f"the history isn't kept: {base}: {error.strerror or error}")
            self._is_kept = False


def _options(request: Request) -> dict[str, Any]:
    """Returns the options of a request that differ from their defaults, as JSON."""
    defaults = Request(request.work).values()
    return {
        name: getattr(value, "value", value)
        for name, value in request.values().items()
        if name not in _APART and value != defaults[name]
    }


def _flavour(run: FlavourReport, room: int) -> PastFlavour:
    tally = run.tally
    everything = [*tally.failures, *tally.unexamined]
    failures = [(each.path, each.kind, printable(each.message)[:_LONGEST_MESSAGE]) for each in everything]
    return PastFlavour(
        flavour=run.flavour,
        installation=run.installation,
        counts={name: count for name, count in tally.counts.as_dict().items() if count},
        failures=tuple(first_that_fit(failures, room, lambda each: len(each[0]) + len(each[2]))),
        failure_count=max(tally.counts.failed, len(everything)),
        exit_code=max(tally.exit_code, run.error.exit_code if run.error else 0),
        elapsed_seconds=round(run.elapsed_seconds, 3),
        deferred=run.deferred,
        taken_over=run.taken_over,
        prefix=run.prefix,
        is_denied=run.error is None and bool(everything) and all(each.needs_root for each in everything),
    )


def first_that_fit(things: Sequence[_Thing], room: int, size: Callable[[_Thing], int]) -> list[_Thing]:
    """Returns as many of the first things as there is room for."""
    sizes = accumulate(map(size, things))
    return [thing for thing, total in zip(things, sizes) if total <= room]
