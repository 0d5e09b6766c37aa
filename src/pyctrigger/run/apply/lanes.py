"""Lanes: where there is much to do, processes make the changes side by side, and this one deals them out.

A piece is a part of what one directory needs, bounded in bytes; they are dealt in the run's order (`workers.py`). What
needs a worker of its own is dealt on to one more lane, which starts for it. If a lane ends before its work, its pieces
are dealt once more, each alone; what ends two lanes is named as failed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice

from ...errors import InterpreterError, PyctriggerError, ShortageError
from ...outcome.outcome import Failure
from ...pyc.names import writer_of
from ...tree.layout import Layout, Place
from ...tree.listing import list_pycs
from ...tree.sweep import remove_files
from ...workers.pool import Duty
from ..plan.steps import all_missing
from ..scope.forked import Child, DeathError, Relay
from .execution import Change, Execution
from .lane import Lane, Outcome
from .pieces import Key, pieces_of
from .team import LaneAtWork, Team
from .workers import Workers

with contextlib.suppress(ImportError):  # whoever digests does without
    import hashlib  # noqa: F401 - once, before lanes are forked: OpenSSL would take a MiB in each

#: Pieces taken from the plan at a time, until enough of them wait.
_STEP = 32
#: Seconds that all lanes have to end by themselves, and between two checks that silent ones live.
_END, _PATIENCE = 1.0, 1.0
#: Lanes that may end without having work, and before any has done something: then lanes can't live here.
_MOST_UNEXPLAINED, _MOST_FRUITLESS = 3, 8


class Lanes:
    """Makes changes in up to `count` lanes, which keep these descriptors. Use it as a context manager: it ends them."""

    def __init__(
        self, count: int, layouts: Sequence[Layout], execution: Execution, workers: Workers, keep: Sequence[int]
    ) -> None:
        order = workers.order
        self._usual = Team(Duty.USUAL, count, order)
        self._special = Team(Duty.APART, 1, order)
        self._layouts = layouts
        self._numbers = {id(layout): number for number, layout in enumerate(layouts)}
        self._bare = all_missing(execution.wanted.suffixes)
        self._execution = execution
        self._results = execution.results
        self._workers = workers
        self._keep = keep
        self._refused: set[Failure] = set()
        #: Directories where lanes have ended before their work, which may have left temporary files.
        self._deserted: set[Key] = set()
        #: How many sources are done, and how many there are, if they were counted for a watcher.
        self._done = 0
        self.known: int | None = None
        #: What is left to this process: what is slow, and all that no lane can be had for.
        self.apart: list[Change] = []

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        """End all lanes. What they have done is counted, if they say so in time."""
        end = time.monotonic() + _END
        for lane in self._lanes:
            with contextlib.suppress(OSError):
                lane.child.channel.shutdown(socket.SHUT_WR)
        for lane in self._lanes:
            lane.team.lanes.remove(lane)
            with lane.child, contextlib.suppress(PyctriggerError, DeathError):
                while lane.child.says_more(max(0.0, end - time.monotonic())):
                    self._take_all(lane)
            self._deserted.update(lane.pieces)
        for number, relative in sorted(self._deserted):
            self._sweep_temporary(self._layouts[number], relative)

    @property
    def _lanes(self) -> list[LaneAtWork]:
        return [*self._usual.lanes, *self._special.lanes]

    def run(self, changes: Iterator[Change]) -> None:
        """Make these changes; what no lane can do is in `apart` then. Raises PyctriggerError."""
        for owner, of_one_owner in groupby(changes, lambda change: change[0].sources.owner):
            found = (pieces_of(self._numbers[id(layout)], step) for layout, step in of_one_owner)
            pieces, is_over = chain.from_iterable(found), False
            while not is_over or self._usual.is_busy or self._special.is_busy:
                is_full = is_over or self._usual.has_enough
                if not is_full:
                    taken = list(islice(pieces, _STEP))
                    is_over = len(taken) < _STEP
                    self._usual.put(taken)
                self._deal(self._usual, owner, is_over=is_over)
                self._deal(self._special, owner, is_over=is_over and not self._usual.is_busy)
                self._wait(_PATIENCE if is_full else 0)

    def _deal(self, team: Team, owner: int, *, is_over: bool) -> None:
        """Deal what waits for these lanes; without any, it is left to this process.

        If nothing more comes, they are told: what they have kept for later is done then.
        """
        while team.has_waiting and len(team.lanes) < team.count:
            self._start(team)
        if not team.lanes:
            self.apart += [(self._layouts[piece.key[0]], piece.part(piece.left)) for piece in team.take_all()]
        team.deal(is_over=is_over)
        for lane in team.lanes:
            if lane.given:
                beginning = [owner] if lane.owner is None else []
                lane.owner = owner
                # As bare tuples: pickle asks each value of a class what it is made from.
                lane.send(*beginning, [tuple(piece.dealt(self._bare)) for piece in lane.given])
                lane.given = []
            if is_over and not team.waiting and lane.owner is not None:  # retries wait for a lane that has finished
                lane.owner = None
                lane.send(None)

    def _wait(self, seconds: float) -> None:
        """Hear what the lanes say, and send what they had no room for."""
        lanes = {lane.child.channel.fileno(): lane for lane in self._lanes}
        if not lanes:
            return
        poller = select.poll()
        for descriptor, lane in lanes.items():
            poller.register(descriptor, lane.events)
        ready = poller.poll(seconds * 1000)
        for descriptor, events in ready:
            lane = lanes[descriptor]
            if events & select.POLLOUT:
                lane.send()
            if events & ~select.POLLOUT:
                self._hear(lane)
        if not ready and seconds:
            for lane in self._lanes:
                if lane.child.has_ended():
                    self._hear(lane)

    # -- lanes that begin and end --------------------------------------------------------------------------------

    def _start(self, team: Team) -> None:
        """Start a lane; if that isn't possible, there are fewer."""
        trees = {id(tree): tree for layout in self._layouts for tree in (layout.sources, layout.pycs)}
        uncompilable = self._execution.knowledge.manifest.uncompilable  # read before there are lanes

        def work(relay: Relay) -> None:
            for tree in trees.values():
                tree.forget_all()
            with self._workers.of_a_lane(team.duty) as workers:
                Lane(relay, self._layouts, self._execution, workers, uncompilable).work()

        kept: list[int] = []
        try:
            kept += map(os.dup, self._keep)  # the lock's own descriptor is closed in each child that is forked
            keep = [*kept, *self._workers.share_store(self._usual.count), *(tree.descriptor for tree in trees.values())]
            team.lanes.append(LaneAtWork(team, Child(work, self._results.observer, keep)))
        except OSError:
            team.count = len(team.lanes)
        finally:
            for descriptor in kept:
                os.close(descriptor)

    def _hear(self, lane: LaneAtWork) -> None:
        try:
            self._take_all(lane)
        except DeathError as death:
            self._lose(lane, f"the process that worked on it ended: {death}")
        except (InterpreterError, ShortageError):  # no processes or memory; without any lane we do it ourselves
            lane.team.count = len(lane.team.lanes) - 1
            self._lose(lane)

    def _lose(self, lane: LaneAtWork, reason: str | None = None) -> None:
        """Deal the pieces of a lane that has ended once more. What has ended two lanes has failed.

        Without a reason they had no part in its end.
        """
        team = lane.team
        team.lanes.remove(lane)
        self._deserted.update(lane.pieces)
        lane.child.__exit__()
        team.lost += 1
        team.unexplained += not lane.pieces
        is_fruitless = not team.have_worked and team.lost >= _MOST_FRUITLESS
        if is_fruitless or team.unexplained >= _MOST_UNEXPLAINED:
            team.count = len(team.lanes)
        for piece in chain.from_iterable(lane.pieces.values()):
            if reason is None or not piece.is_retry:
                team.retries.append(piece.retry())
                continue
            place = Place(self._layouts[piece.key[0]], piece.step.relative)
            for name in sorted(piece.left - {""}) or [""]:
                path = place.source(name) if name else place.source_directory
                self._results.tally.fail(Failure(path, "crash", reason))

    def _sweep_temporary(self, layout: Layout, relative: str) -> None:
        """Remove what lanes were writing when they ended: nobody else writes under the id of this run now."""
        writer = self._execution.wanted.writer
        with contextlib.suppress(OSError):
            with layout.pycs.entered(layout.pycache(relative)) as directory:
                names = [name for name in list_pycs(directory).names if writer_of(name) == writer]
            for _ in remove_files(layout, relative, [(name, None) for name in names]):
                pass

    # -- what they have done -------------------------------------------------------------------------------------

    def _take_all(self, lane: LaneAtWork) -> None:
        """Take in what a lane says next. Raises DeathError, and what has ended it."""
        for kind, *values in lane.child.receive():
            if kind == "error":
                raise values[0]
            if kind == "did":
                self._take(lane, values[0])

    def _take(self, lane: LaneAtWork, outcome: Outcome) -> None:
        results, manifest, tally = self._results, self._execution.knowledge.manifest, outcome.tally
        for number in outcome.written:
            results.wrote(self._layouts[number])
        # Two lanes may come to one directory.
        tally.failures = [each for each in tally.failures if each not in self._refused]
        self._refused.update(each for each in tally.failures if each.kind == "refused")
        tally.notices = [each for each in tally.notices if each not in results.tally.notices]
        results.tally.add(tally)
        for name, arguments in outcome.events:
            getattr(results.observer, name)(*arguments)
        for name, number, arguments, options in outcome.calls:
            getattr(results, name)(self._layouts[number], *arguments, **options)
        manifest.pycs.add(outcome.records)
        for path, fact in outcome.learned.items():
            if fact is None:
                manifest.unlearn(path)
            else:
                manifest.learn(path, fact)
        self._execution.gate.add_shared(outcome.shared)
        for key, needs in outcome.apart.items():
            found = [piece.apart(needs) for piece in lane.pieces[key]]
            self._special.put([piece for piece in found if piece])
            lane.finish(key, [*needs])
        for key, names in outcome.slow.items():
            parts = [piece.part(piece.left.intersection(names)) for piece in lane.pieces[key]]
            self.apart += [(self._layouts[key[0]], part) for part in parts if part.stale]
            lane.finish(key, names)
        for key, names in outcome.done.items():
            lane.team.have_worked = True
            lane.finish(key, names)
        lane.is_idle = outcome.is_idle
        manifest.save_if_full()
        if results.observer.is_watched and outcome.done:
            self._done += sum(bool(name) for names in outcome.done.values() for name in names)
            results.observer.progress(self._done, self.known)
