"""Lanes: where there is much to do, processes make the changes side by side, and this one deals them out.

A piece is a part of what one directory needs, bounded in bytes; they are dealt in the run's order (`workers.py`). What
needs a worker of its own is dealt on to one more lane, which starts for it. If a lane ends before its work, its pieces
are dealt once more, each alone; what ends two lanes is named as failed.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Any

from ...errors import InterpreterError, PyctriggerError, ShortageError
from ...outcome.outcome import Failure
from ...pyc.names import writer_of
from ...tree.layout import Layout, Place
from ...tree.listing import list_pycs
from ...tree.sweep import remove_files
from ...workers.pool import Duty
from ..scope.forked import Child, DeathError, Relay, packed
from .execution import Change, Execution
from .lane import Lane, Outcome
from .pieces import Key, Piece, pieces_of
from .workers import Order, Workers

#: Work that a lane has ahead of it.
_AHEAD = 512 << 10
#: Pieces taken from the plan at a time, until so much work waits.
_STEP, _MOST_WAITING = 8, 1 << 20
#: Seconds that all lanes have to end by themselves, and between two checks that silent ones live.
_END, _PATIENCE = 1.0, 1.0
#: Lanes that may end without having work, and before any has done something: then lanes can't live here.
_MOST_UNEXPLAINED, _MOST_FRUITLESS = 3, 8


class _Lane:
    """What is known of a lane here."""

    def __init__(self, crew: _Crew, child: Child) -> None:
        self.crew = crew
        self.child = child
        self.pieces: dict[Key, list[Piece]] = {}
        self.is_retrying = False
        self.ahead = 0
        #: Whose trees it works on; None while it has none.
        self.owner: int | None = None
        #: Whether it waits for more, whatever it has kept for later.
        self.is_idle = False
        #: What it was just given, and is sent next.
        self.given: list[Piece] = []
        self._unsent = bytearray()

    def give(self, piece: Piece) -> None:
        """Give it another piece."""
        self.is_idle = False
        self.ahead += piece.work
        self.pieces.setdefault(piece.key, []).append(piece)
        self.given.append(piece)

    @property
    def events(self) -> int:
        """What to wait for."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def send(self, *messages: Any) -> None:
        """Send as much as its socket takes, and the rest with the next call: it may wait until it is heard itself."""
        self._unsent += b"".join(map(packed, messages))
        try:
            del self._unsent[: self.child.channel.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # it has ended, as reading will show

    def finish(self, key: Key, names: list[str]) -> None:
        """Note that these sources of a directory are done, and for each "" a step."""
        pieces = self.pieces.pop(key)
        for _ in range(names.count("")):  # those of one directory are done in their order
            next(each for each in pieces if "" in each.left).left.remove("")
        done = {*names} - {""}
        left = []
        for piece in pieces:
            piece.left -= done
            if piece.left:
                left.append(piece)
            else:
                self.ahead -= piece.work
        if left:
            self.pieces[key] = left


def _least_ahead(lane: _Lane) -> tuple[bool, int]:
    """Orders lanes: those that wait, and then those with the least work."""
    return not lane.is_idle, lane.ahead


class _Crew:
    """Up to `count` lanes with the same duty, and the pieces that wait for them."""

    def __init__(self, duty: Duty, count: int, order: Order) -> None:
        self.duty = duty
        self.count = count
        self._order = order
        self.lanes: list[_Lane] = []
        self.unexplained = self.lost = 0
        self.have_worked = False
        self.waiting: list[tuple[float, int, Piece]] = []
        #: The work that waits, its sources, and pieces to be dealt alone.
        self.work = self.sources = 0
        self.retries: list[Piece] = []
        self._number = 0

    @property
    def has_waiting(self) -> bool:
        """Whether pieces wait."""
        return bool(self.waiting or self.retries)

    @property
    def has_enough(self) -> bool:
        """Whether there are enough to choose from."""
        is_random, most_sources = self._order
        return self.sources >= most_sources if is_random else self.work >= _MOST_WAITING

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be done."""
        return self.has_waiting or any(lane.pieces for lane in self.lanes)

    def put(self, pieces: list[Piece]) -> None:
        """Add what is to be done."""
        for piece in pieces:
            self._number += 1
            self.work += piece.work
            self.sources += len(piece.step.stale)
            heapq.heappush(self.waiting, (self._order.rank(piece.work), self._number, piece))

    def take_all(self) -> list[Piece]:
        """Returns all that waits; none of it waits any more."""
        left = [*(piece for _, _, piece in self.waiting), *self.retries]
        self.waiting, self.work, self.sources, self.retries = [], 0, 0, []
        return left

    def deal(self) -> None:
        """Give what waits to lanes that have too little ahead."""
        for lane in self.lanes:
            if not lane.pieces:
                lane.is_retrying, lane.ahead = bool(self.retries), 0
                if self.retries:
                    lane.give(self.retries.pop())
        able = [lane for lane in self.lanes if not lane.is_retrying]
        while self.waiting and able:
            lane = min(able, key=_least_ahead)
            if lane.ahead >= _AHEAD and not lane.is_idle:
                break
            piece = heapq.heappop(self.waiting)[2]
            self.work -= piece.work
            self.sources -= len(piece.step.stale)
            lane.give(piece)


class Lanes:
    """Makes changes in up to `count` lanes, which keep these descriptors. Use it as a context manager: it ends them."""

    def __init__(
        self, count: int, layouts: Sequence[Layout], execution: Execution, workers: Workers, keep: Sequence[int]
    ) -> None:
        order = workers.order
        self._usual = _Crew(Duty.USUAL, count, order)
        self._special = _Crew(Duty.APART, 1, order)
        self._layouts = layouts
        self._numbers = {id(layout): number for number, layout in enumerate(layouts)}
        self._levels = len(execution.wanted.levels)
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
            lane.crew.lanes.remove(lane)
            with lane.child, contextlib.suppress(PyctriggerError, DeathError):
                while lane.child.says_more(max(0.0, end - time.monotonic())):
                    self._take_all(lane)
            self._deserted.update(lane.pieces)
        for number, relative in sorted(self._deserted):
            self._sweep_temporary(self._layouts[number], relative)

    @property
    def _lanes(self) -> list[_Lane]:
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

    def _deal(self, crew: _Crew, owner: int, *, is_over: bool) -> None:
        """Deal what waits for these lanes; without any, it is left to this process.

        If nothing more comes, they are told: what they have kept for later is done then.
        """
        while crew.has_waiting and len(crew.lanes) < crew.count:
            self._start(crew)
        if not crew.lanes:
            self.apart += [(self._layouts[piece.key[0]], piece.part(piece.left)) for piece in crew.take_all()]
        crew.deal()
        for lane in crew.lanes:
            if lane.given:
                beginning = [owner] if lane.owner is None else []
                lane.owner = owner
                lane.send(*beginning, [piece.dealt(self._levels) for piece in lane.given])
                lane.given = []
            if is_over and not crew.waiting and lane.owner is not None:  # retries wait for a lane that has finished
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

    def _start(self, crew: _Crew) -> None:
        """Start a lane; if that isn't possible, there are fewer."""
        trees = {id(tree): tree for layout in self._layouts for tree in (layout.sources, layout.pycs)}
        uncompilable = self._execution.knowledge.manifest.uncompilable  # read before there are lanes

        def work(relay: Relay) -> None:
            for tree in trees.values():
                tree.forget_all()
            with self._workers.of_a_lane(crew.duty) as workers:
                Lane(relay, self._layouts, self._execution, workers, uncompilable).work()

        kept: list[int] = []
        try:
            kept += map(os.dup, self._keep)  # filelock closes its own descriptor in each child that is forked
            keep = [*kept, *self._workers.share_store(self._usual.count), *(tree.descriptor for tree in trees.values())]
            crew.lanes.append(_Lane(crew, Child(work, self._results.observer, keep)))
        except OSError:
            crew.count = len(crew.lanes)
        finally:
            for descriptor in kept:
                os.close(descriptor)

    def _hear(self, lane: _Lane) -> None:
        try:
            self._take_all(lane)
        except DeathError as death:
            self._lose(lane, f"the process that worked on it ended: {death}")
        except (InterpreterError, ShortageError):  # no processes or memory; without any lane we do it ourselves
            lane.crew.count = len(lane.crew.lanes) - 1
            self._lose(lane)

    def _lose(self, lane: _Lane, reason: str | None = None) -> None:
        """Deal the pieces of a lane that has ended once more. What has ended two lanes has failed.

        Without a reason they had no part in its end.
        """
        crew = lane.crew
        crew.lanes.remove(lane)
        self._deserted.update(lane.pieces)
        lane.child.__exit__()
        crew.lost += 1
        crew.unexplained += not lane.pieces
        is_fruitless = not crew.have_worked and crew.lost >= _MOST_FRUITLESS
        if is_fruitless or crew.unexplained >= _MOST_UNEXPLAINED:
            crew.count = len(crew.lanes)
        for piece in chain.from_iterable(lane.pieces.values()):
            if reason is None or not piece.is_retry:
                crew.retries.append(piece.retry())
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

    def _take_all(self, lane: _Lane) -> None:
        """Take in what a lane says next. Raises DeathError, and what has ended it."""
        for kind, *values in lane.child.receive():
            if kind == "error":
                raise values[0]
            if kind == "did":
                self._take(lane, values[0])

    def _take(self, lane: _Lane, outcome: Outcome) -> None:
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
            lane.crew.have_worked = True
            lane.finish(key, names)
        lane.is_idle = outcome.is_idle
        manifest.save_if_full()
        if results.observer.is_watched and outcome.done:
            self._done += sum(bool(name) for names in outcome.done.values() for name in names)
            results.observer.progress(self._done, self.known)
