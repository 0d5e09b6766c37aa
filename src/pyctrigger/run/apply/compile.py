"""Compiles sources: reads each, asks a worker, and records what can't be compiled."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from ...outcome.outcome import LASTING_KINDS, Failure, Untried
from ...pyc.header import Verdict
from ...state.records.record import identity_at, shortened, whole_digest_of
from ...tree.layout import Place
from ...tree.source import SourceRefused, largest_pyc
from ...workers import wire
from ...workers.pool import SLOW, Answer, Apart, Lost, Result
from ...workers.worker import Job
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import MOST_COUNTED, Stale
from ..plan.wanted import Wanted
from .workers import Workers
from .writing import PycWriter, SourceRead, SourceTurn, Task

TYPE_CHECKING = False  # a checker takes it for typing's, which takes long to import
if TYPE_CHECKING:
    from .stores import StoreClient

#: Bytes. Copies of what is this small, most of them empty, aren't worth waiting for.
_SMALL = 128
#: Bytes. Few sources of this size take long.
_QUICK = 32 << 10
#: Sources that wait for another one's answer, or for the end; they are read again then.
_MOST_HELD = 1 << 14


class Compilation:
    """Turns stale sources into code. Reports and records those that have none."""

    def __init__(
        self, workers: Workers, wanted: Wanted, knowledge: Knowledge, writer: PycWriter, results: Results
    ) -> None:
        self._workers = workers
        self._wanted = wanted
        self._knowledge = knowledge
        self._writer = writer
        self._results = results
        self._tally = results.tally
        #: What may have code that was made elsewhere.
        self._store: StoreClient | None = None
        #: How many sources there are, if they were counted for a watcher, and how many are done.
        self._known: int | None = None
        self._done = 0
        #: By the digest of what is being compiled: what has the same content, and waits for an answer that may cost a
        #: minute; and what needs wait no longer.
        self._waiting: dict[bytes, list[Task]] = {}
        self._ready: deque[Task] = deque()
        self._held = 0
        #: By digest: the answer to what has exceeded a limit, in this run or an earlier one, under whatever name.
        self._exceeded: dict[bytes, Lost] = {}
        #: Digests of what was too slow when there was less time than usual. It comes last, and so does, once a source
        #: was too slow, what isn't small.
        self._suspects: set[bytes] = set()
        self._later: deque[Task] = deque()
        self._has_lost_time = False
        if not wanted.trust_nothing:
            self._exceeded, self._suspects = knowledge.find_exceeding()
        self._untried = Untried()
        #: By digest: why it is left to another process than this lane.
        self._left: dict[bytes, Apart | Lost] = {}
        #: Digests of what a worker compiles with its own name, and no store has.
        self._named_by_itself: set[bytes] = set()
        #: Paths of sources that are being compiled with another name.
        self._renamed: set[str] = set()
        #: By path: the worker that a source needs, where a lane has found out.
        self.needs: dict[str, Apart] = {}
        #: System calls that keep workers within their limits, and that the system refuses.
        self._lacks: set[str] = set()

    def compile(self, owner: int, tasks: Iterator[Task | None]) -> Iterator[tuple[SourceRead, wire.Compiled]]:
        """Yields the code of sources in trees of one owner, as the answers come. Raises PyctriggerError."""
        pool = self._workers.pool_for(owner)
        self._store = self._workers.store
        jobs = self._jobs(self._missing(self._workers.arranged(self._counted(tasks))))
        for first in jobs:  # no worker starts where a store has everything
            for job, answer in pool.map(chain([first], jobs)):
                source = job.context
                assert isinstance(source, SourceRead)
                result = self._result(source, answer)
                if result is None:
                    continue
                code = self._code(source, result)
                if code is not None:
                    yield source, code
                self._progress(source.place, source.stale)
        self._report_untried()
        self._report_store()
        if lacks := pool.lacks - self._lacks:
            self._lacks |= lacks
            refused = ", ".join(sorted(lacks))
            self._tally.notices.append(f"this system refuses {refused}: a source that needs too much is stopped later")

    def _result(self, source: SourceRead, answer: Answer) -> Result | None:
        """Returns what a worker made of a source; None if it is left to another, or asked for once more."""
        if isinstance(answer, Lost) and answer.is_tried and (answer.limit or answer.kind == "timeout"):
            self._exceeded[source.digest] = answer
            self._has_lost_time = True
        if waited := self._waiting.pop(source.digest, None):
            self._ready.extend(waited)
        was_renamed = bool(self._renamed) and source.path in self._renamed
        if was_renamed:
            self._renamed.remove(source.path)
        if answer is SLOW or isinstance(answer, Apart):
            self._left[source.digest] = answer
            self._leave(source.place, source.stale, answer)
            return None
        return self._kept(source, answer) if was_renamed and isinstance(answer, wire.Compiled) else answer

    def _store_for(self, source: SourceRead) -> StoreClient | None:
        """Returns the store that may know a source, if there is one."""
        return None if self._store is None or source.digest in self._named_by_itself else self._store

    def _kept(self, source: SourceRead, answer: wire.Compiled) -> wire.Compiled | None:
        """Keep what was compiled with another name. Returns it with its own; None if a worker has to say it."""
        if len(answer.levels) != len(source.stale.levels):
            return answer  # which is a failure
        own = None if self._store is None else self._store.keep(source, answer)
        if own is None:
            self._named_by_itself.add(source.digest)
            self._ready.append((source.place, source.stale))
            self._held += 1
        return own

    def _counted(self, tasks: Iterator[Task | None]) -> Iterator[Task | None]:
        """Returns the same tasks. For a watcher all are found first, unless they are more than should be held."""
        if not self._results.observer.is_watched:
            return tasks
        found = list(islice(tasks, MOST_COUNTED))
        self._known, self._done = len(found) if len(found) < MOST_COUNTED else None, 0
        return chain(found, tasks)

    def _progress(self, place: Place, stale: Stale) -> None:
        self._done += 1
        self._results.finish(place, stale.name)
        self._results.observer.progress(self._done, self._known)

    @property
    def has_more(self) -> bool:
        """Whether a worker has work, or can be given some."""
        return self._has_work or (self._store is not None and self._store.holds_some)

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting or self._ready)

    def _missing(self, tasks: Iterator[Task | None]) -> Iterator[Task | None]:
        """Returns the same tasks, or those that a store of another machine has nothing for."""
        if self._store is None:
            return tasks
        return self._store.missing(tasks, SourceTurn(self._read_or_finish, self._is_stored, lambda: self._has_work))

    def _jobs(self, tasks: Iterable[Task | None]) -> Iterator[Job | None]:
        """Yields the requests for sources, and None where nothing can be asked before another answer has come."""
        for task in tasks:
            if self._ready:
                yield from self._released()
            job = None if task is None else self._start(task)
            # A store may have had all that was released: without an answer to come, whoever asks would wait for one.
            if job is not None or (task is None and self._has_work):
                yield job
        self._ready.extend(self._later)
        self._held += len(self._later)
        while self._ready or self._renamed or any(self._waiting.values()):
            yield from self._released()
            if self._renamed or any(self._waiting.values()):
                yield None

    def _released(self) -> Iterator[Job]:
        """Yields the requests that waited for the answer to the same content, or for the end."""
        while self._ready:
            self._held -= 1
            job = self._start(self._ready.popleft(), has_waited=True)
            if job is not None:
                yield job

    def _start(self, task: Task, *, has_waited: bool = False) -> Job | None:
        """Returns the request for a source; None if it needs none, or waits."""
        may_wait = not has_waited and self._held + len(self._later) < _MOST_HELD
        place, stale = task
        known = None if self._store is None else self._store.take(place.source(stale.name))
        if may_wait and self._has_lost_time and stale.size > _QUICK:
            self._later.append(task)
            return None
        source = known or self._read_or_finish(place, stale)
        if source is None:
            return None
        digest, is_small = source.digest, len(source.text.data) <= _SMALL
        if exceeded := self._exceeded.get(digest):
            self._code(source, exceeded)
            self._progress(place, stale)
        elif digest in self._left and not is_small:
            self._leave(place, stale, self._left[digest])
        elif may_wait and digest in self._suspects:
            self._later.append(task)
        elif may_wait and digest in self._waiting and not is_small:
            self._waiting[digest].append(task)
            self._held += 1
        elif known is not None or not self._is_stored(source):
            self._waiting.setdefault(digest, [])
            name = path = os.fsencode(source.path)
            store = self._store_for(source)
            if store is not None:
                name = store.name_for(source)
                if name != path:
                    self._renamed.add(source.path)
            return _job(source, name, self.needs.pop(source.path, None) if self.needs else None)
        return None

    def _is_stored(self, source: SourceRead) -> bool:
        """Whether a store has the code of a source. If so, it is written."""
        store = self._store_for(source)
        found = None if store is None else store.find(source)
        if found is None:
            return False
        self._writer.store(source, found.code, found)
        self._progress(source.place, source.stale)
        return True

    def _report_store(self) -> None:
        """Report once why a store can't be used, or keeps nothing more."""
        store, trouble = self._store, self._workers.store_trouble
        told = store.take_notices() if store is not None else [trouble] if trouble else []
        self._tally.notices += [each for each in told if each not in self._tally.notices]

    def _leave(self, place: Place, stale: Stale, answer: Answer) -> None:
        if isinstance(answer, Apart):
            self._results.set_apart(place, stale, answer)
        else:
            self._results.leave_slow(place, stale)

    def _report_untried(self) -> None:
        """Report once what wasn't tried for lack of time; the next run continues with it."""
        if self._untried.count:
            self._tally.counts.failed += self._untried.count - 1
            self._tally.fail(self._untried.failure())
            self._untried = Untried()

    def _read_or_finish(self, place: Place, stale: Stale) -> SourceRead | None:
        """Read a source. Returns None if there is nothing to compile: it is done."""
        source = self._read(place, stale)
        if source is None:
            self._progress(place, stale)
        return source

    def _read(self, place: Place, stale: Stale) -> SourceRead | None:
        """Read a source. Returns None, after reporting the reason, if there is nothing to compile."""
        path = place.source(stale.name)
        if not self._results.still_writes(place.layout, place.relative):
            self._results.leave(place.layout, place.relative, 1)
            return None
        try:
            text = place.layout.read_source(place.relative, stale.name)
        except (OSError, SourceRefused) as error:
            self._results.unreadable(path, error)
            return None
        whole = whole_digest_of(text.data)
        source = SourceRead(place, stale, path, text, shortened(whole), whole)
        return None if self._is_known(source) else source

    def _is_known(self, source: SourceRead) -> bool:
        """Whether this very source is known not to compile. Records it if only its times have changed."""
        known = self._knowledge.failure_of(source.path, source.digest)
        if known is None or self._wanted.trust_nothing:
            return False
        self._learn_failure(source, known.kind, known.message, known.tried_with)
        self._results.uncompilable(source.path)
        self._writer.remove_code(source, known.kind)
        return True

    def _learn_failure(self, source: SourceRead, kind: str, message: str, limit: float) -> None:
        identity = identity_at(source.text.status, source.text.when)
        self._knowledge.learn_failure(source.path, identity, source.digest, kind, message, limit)

    def _code(self, source: SourceRead, answer: Result) -> wire.Compiled | None:
        """Returns the code of an answer; None, after reporting the reason, if it has none."""
        if isinstance(answer, wire.Compiled):
            fault = self._fault_of(source, answer)
            if fault is None:
                return answer
            self._fail(source, Failure(source.path, *fault))
            return None
        path = source.path
        if isinstance(answer, wire.Failed):
            line = f"line {answer.line}, " if answer.line else ""
            self._fail(source, Failure(path, answer.kind, f"{line}{answer.name}"))
        elif answer.is_tried:
            is_all = 0 < self._wanted.limits.get(answer.kind, 0) <= answer.limit
            self._fail(source, Failure(path, answer.kind, answer.message, is_remembered=is_all), answer.limit)
        else:
            self._untried.add(path)
        return None

    def _fault_of(self, source: SourceRead, code: wire.Compiled) -> tuple[str, str] | None:
        """Returns why the code of a source can't be written, as the kind of a failure and its message, or None."""
        if len(code.levels) != len(source.stale.levels):
            return "crash", "the worker's answer is incomplete"
        size = max([len(level.body) for level in code.levels], default=0) + self._wanted.header.size
        if size > largest_pyc(len(source.text.data)):  # it would be judged corrupt
            return "unmarshallable", "its bytecode is too large to be read back"
        return None

    def _fail(self, source: SourceRead, failure: Failure, limit: float = 0) -> None:
        self._writer.remove_code(source, failure.kind)
        if failure.kind in LASTING_KINDS or limit > 0:
            if self._knowledge.failure_of(source.path, source.digest) is not None:
                self._results.uncompilable(failure.path)
                return
            self._learn_failure(source, failure.kind, failure.message, limit)
        self._tally.fail(failure)


def _job(source: SourceRead, name: bytes, need: Apart | None) -> Job:
    levels = [
        (each.level, each.source_hash if each.verdict is Verdict.UNPROVEN else None) for each in source.stale.levels
    ]
    job = Job(wire.request(levels, name, source.text.data), source)
    if need:
        job.setup, job.is_retry = need
    return job
