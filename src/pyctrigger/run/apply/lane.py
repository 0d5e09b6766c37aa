"""A lane: a process forked from the host that makes a part of the changes, with a worker of its own.

It reads, asks, writes and sweeps, and sends what became of it. Lock, manifest and observer are the host's. What needs a
worker of its own (a second try, another codec) is left to one lane for all of them, and what is slow to the host.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from ...outcome.observer import Observer
from ...outcome.outcome import Tally
from ...state.records.manifest import Manifest, Uncompilable
from ...state.records.pycs import Noted, PycRecords
from ...state.records.record import Record
from ...tree.layout import Layout, Place
from ...typed import Any, NamedTuple
from ...workers.pool import Apart
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import Stale, all_missing
from ..scope.forked import Relay
from .execution import Change, Execution
from .pieces import AHEAD, Dealt, Key
from .workers import Workers

#: A method of Results, the number of a tree, and the arguments after it.
Call = tuple[str, int, tuple[Any, ...], dict[str, Any]]

#: Seconds, sources, and work after which the host hears what was done, and deals out more: before all is done.
_MOST_SECONDS, _MOST_DONE, _MOST_WORK = 0.1, 512, AHEAD // 2
#: What shows, where the system has it, that the host will send no more, even if not all is read.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)


class Outcome(NamedTuple):
    """What a lane has done since it last said so."""

    tally: Tally
    events: list[tuple[str, tuple[Any, ...]]]
    """What the observer of the host is to hear."""
    shared: dict[str, set[str]]
    """Who else may write directories of root's."""
    calls: list[Call]
    """What the results of the host are to be told about a tree."""
    written: set[int]
    records: Noted
    learned: dict[str, Uncompilable | None]
    done: dict[Key, list[str]]
    """The names of sources, and "" for each step that is done."""
    apart: dict[Key, dict[str, Apart]]
    """What needs a worker of its own."""
    slow: dict[Key, list[str]]
    """What needs more time."""
    is_idle: bool
    """Whether it waits for more."""


class Listener(Observer):
    """Collects what the observer of the host is to hear."""

    def __init__(self, observer: Observer) -> None:
        self.events: list[tuple[str, tuple[Any, ...]]] = []
        heard = {"notice", "remark", "detail"}
        heard |= {"compiled", "stored", "refreshed", "opened", "removed", "skipped"} if observer.names_files else set()
        for name in heard:
            setattr(self, name, partial(self._hear, name))

    def _hear(self, name: str, *arguments: Any) -> None:
        self.events.append((name, arguments))


class LaneResults(Results):
    """Collects what became of each file, for the results of the host."""

    def __init__(self, listener: Listener, layouts: Sequence[Layout], began: int) -> None:
        super().__init__(listener)
        self.began = began
        self._numbers = {id(layout): number for number, layout in enumerate(layouts)}
        self._left: set[tuple[int, str]] = set()
        self.begin()

    def begin(self) -> None:
        """Forget what the host has been told."""
        self.calls: list[Call] = []
        self.written: set[int] = set()
        self.count = 0
        self.done: dict[Key, list[str]] = {}
        self.apart: dict[Key, dict[str, Apart]] = {}
        self.slow: dict[Key, list[str]] = {}

    def finish(self, place: Place, *names: str) -> None:
        """Note it for the host."""
        self.count += len(names)
        self.done.setdefault((self._numbers[id(place.layout)], place.relative), []).extend(names)

    def set_apart(self, place: Place, stale: Stale, need: Apart) -> None:
        """Note it for the host."""
        self.apart.setdefault((self._numbers[id(place.layout)], place.relative), {})[stale.name] = need

    def leave_slow(self, place: Place, stale: Stale) -> None:
        """Note it for the host."""
        self.slow.setdefault((self._numbers[id(place.layout)], place.relative), []).append(stale.name)

    def wrote(self, layout: Layout) -> None:
        """Note it for the host."""
        self.written.add(self._numbers[id(layout)])

    # What is said once for a whole place is said by the host.

    def still_writes(self, layout: Layout, relative: str) -> bool:
        """Whether nothing has shown otherwise."""
        return (id(layout), relative) not in self._left

    def leave(self, layout: Layout, relative: str, sources: int) -> None:
        """Have the host count them."""
        self._left.add((id(layout), relative))
        self._tell("leave", layout, relative, sources)

    def may_write(self, layout: Layout, relative: str, sources: int = 0, *, is_bare: bool = False) -> bool:
        """Whether the pycs of a directory can be written, as far as a look shows."""
        may = layout.may_write(relative) and not layout.is_read_only(relative)
        if not may:
            self._tell("may_write", layout, relative, sources)
        return may

    def io_failure(self, layout: Layout, relative: str, path: str, error: OSError, *, source: bool = False) -> None:
        """Have the host report it."""
        self._tell("io_failure", layout, relative, path, error, source=source)

    def _tell(self, name: str, layout: Layout, *arguments: Any, **options: Any) -> None:
        self.calls.append((name, self._numbers[id(layout)], arguments, options))


class LaneRecords(PycRecords):
    """Notes also what is to be dropped: only the host knows what there is."""

    def note(self, directory: str, name: str, record: Record | None) -> None:
        """Record a pyc; None drops its record."""
        self._note(directory, name, record)


class LaneManifest(Manifest):
    """What is known when the lane begins; what it records is for the host."""

    def __init__(self, known: dict[str, Uncompilable]) -> None:
        super().__init__(None)
        self._known = known
        self.pycs = LaneRecords(lambda *_: [])

    def take_learned(self) -> dict[str, Uncompilable | None]:
        """Returns what was learned about sources, and drops it."""
        learned, self._learned = self._learned, {}
        return learned


class Lane:
    """The lane's side: makes the changes that it is dealt, as they come."""

    def __init__(
        self,
        relay: Relay,
        layouts: Sequence[Layout],
        host: Execution,
        workers: Workers,
        uncompilable: dict[str, Uncompilable],
    ) -> None:
        self._relay = relay
        self._layouts = layouts
        self._workers = workers
        self._manifest = LaneManifest(uncompilable)
        self._listener = Listener(host.results.observer)
        self._results = LaneResults(self._listener, layouts, host.results.began)
        host.knowledge.ownership.notice = self._listener.notice
        knowledge = Knowledge(self._manifest, host.wanted, host.knowledge.ownership, compares_records=False)
        self._execution = Execution(host.wanted, knowledge, workers, self._results)
        self._bare = all_missing(host.wanted.suffixes)
        self._dealt: deque[Change] = deque()
        #: When the host has heard something, and the work since then.
        self._said, self._work = time.monotonic(), 0
        self._poller = select.poll()
        self._poller.register(relay, select.POLLIN | _HUNG_UP)

    def work(self) -> None:
        """Make the changes of one owner's trees after the other, until the host sends no more."""
        with contextlib.suppress(EOFError):
            while True:
                owner = self._relay.receive()
                for source, code in self._execution.run_for(owner, self._changes(owner)):
                    self._tell_in_time()  # what came before is finished now
                    self._execution.writer.store(source, code)
                    self._work += source.stale.work
                self._tell()
        self._tell()

    def _changes(self, owner: int) -> Iterator[Change | None]:
        """Yields the changes in trees of one owner, and None while none has come and the worker has work."""
        while True:
            while self._dealt:
                self._tell_in_time()  # where a store knows everything, no worker's answer comes between
                yield self._dealt.popleft()
            if not self._poller.poll(0):
                if self._execution.compilation.has_more:
                    self._tell_in_time()
                    pool = self._workers.pool_for(owner)
                    pool.channel = self._relay.fileno()
                    yield None
                    pool.channel = None
                    continue
                self._tell(is_idle=True)
            dealt = self._relay.receive()
            if dealt is None:
                return
            for each in map(Dealt._make, dealt):
                layout = self._layouts[each.number]
                self._dealt.append((layout, each.step(self._bare)))
                for name, need in each.needs.items():
                    self._execution.compilation.needs[Place(layout, each.relative).source(name)] = need

    def _tell_in_time(self) -> None:
        is_much = self._work >= _MOST_WORK or self._results.count >= _MOST_DONE
        if is_much or time.monotonic() - self._said > _MOST_SECONDS:
            self._tell()
            if any(events & _HUNG_UP for _, events in self._poller.poll(0)):
                raise EOFError  # the host has been interrupted: what was dealt is left

    def _tell(self, *, is_idle: bool = False) -> None:
        results = self._results
        outcome = Outcome(
            results.tally.take(),
            self._listener.events,
            self._execution.gate.take_shared(),
            results.calls,
            results.written,
            self._manifest.pycs.take(),
            self._manifest.take_learned(),
            results.done,
            results.apart,
            results.slow,
            is_idle,
        )
        self._listener.events = []
        results.begin()
        self._said, self._work = time.monotonic(), 0
        self._relay.send("did", outcome)
        self._relay.flush()
