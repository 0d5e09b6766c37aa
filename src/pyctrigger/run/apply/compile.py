"""Compiling sources: read one, ask a worker, and remember what can't be compiled."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from ...interpreter.interpreter import Interpreter
from ...outcome.outcome import LASTING_KINDS, Failure, Untried
from ...pyc.header import Verdict
from ...state.records.manifest import Manifest, Uncompilable
from ...state.records.record import digest_of, identity_at
from ...tree.source import SourceRefused, largest_pyc
from ...workers import wire
from ...workers.pool import Answer, Lost, Pool
from ...workers.worker import Job
from ..plan.knowledge import known_to_exceed
from ..plan.wanted import Wanted
from .queue import Asked, Task
from .writing import PycWriter

#: Bytes. Copies of what is this small, most of them empty, aren't worth waiting for.
_SMALL = 128
#: Bytes. Few sources of this size take long.
_QUICK = 32 << 10
#: Sources that wait for another one's answer, or for the end; they are read again then.
_MOST_HELD = 1 << 14


class Compilation:
    """Turns stale sources into code. What became of those that have none is told, and remembered."""

    def __init__(self, interpreter: Interpreter, wanted: Wanted, manifest: Manifest, writer: PycWriter) -> None:
        self._interpreter = interpreter
        self._wanted = wanted
        self._manifest = manifest
        self._writer = writer
        self._results = writer.results
        self._tally = writer.results.tally
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
            self._exceeded, self._suspects = known_to_exceed(manifest, interpreter.magic_number, wanted.limits)
        self._untried = Untried()
        #: System calls that keep workers within their limits, and that the system refuses.
        self._lacks: set[str] = set()

    def compile(
        self, pool: Pool, tasks: Iterable[Task], progress: Callable[[], None]
    ) -> Iterator[tuple[Asked, wire.Compiled | None]]:
        """The code of each source, as the answers come; None where there is none.

        `progress` is called for each source that needs no answer of its own.
        """
        for job, answer in pool.map(self._jobs(tasks, progress)):
            asked = job.context
            assert isinstance(asked, Asked)
            if isinstance(answer, Lost) and answer.is_tried and (answer.limit or answer.kind == "timeout"):
                self._exceeded[asked.digest] = answer
                self._has_lost_time = True
            self._ready.extend(self._waiting.pop(asked.digest, ()))
            yield asked, self._code(asked, answer)
        self._tell_untried()
        if lacks := pool.lacks - self._lacks:
            self._lacks |= lacks
            refused = ", ".join(sorted(lacks))
            self._tally.notices.append(f"this system refuses {refused}: a source that takes too much is stopped later")

    def _jobs(self, tasks: Iterable[Task], progress: Callable[[], None]) -> Iterator[Job | None]:
        """The requests for sources; None where nothing can be asked before another answer has come."""
        for task in tasks:
            yield from self._released(progress)
            yield from self._started(task, progress)
        self._ready.extend(self._later)
        self._held += len(self._later)
        while self._ready or any(self._waiting.values()):
            yield from self._released(progress)
            if any(self._waiting.values()):
                yield None

    def _released(self, progress: Callable[[], None]) -> Iterator[Job]:
        """The requests that waited for the answer to the same content, or for the end."""
        while self._ready:
            self._held -= 1
            yield from self._started(self._ready.popleft(), progress, has_waited=True)

    def _started(self, task: Task, progress: Callable[[], None], *, has_waited: bool = False) -> Iterator[Job]:
        """The request for a source, unless it needs none, or waits."""
        may_wait = not has_waited and self._held + len(self._later) < _MOST_HELD
        if may_wait and self._has_lost_time and task.stale.status.st_size > _QUICK:
            self._later.append(task)
            return
        asked = self._asked_for(task)
        if asked is None:
            progress()
            return
        if exceeded := self._exceeded.get(asked.digest):
            self._code(asked, exceeded)
            progress()
        elif may_wait and asked.digest in self._suspects:
            self._later.append(task)
        elif may_wait and asked.digest in self._waiting and len(asked.text.data) > _SMALL:
            self._waiting[asked.digest].append(task)
            self._held += 1
        else:
            self._waiting.setdefault(asked.digest, [])
            yield self._job(asked)

    def _tell_untried(self) -> None:
        """Name once what wasn't tried for want of time; the next run goes on with it."""
        if self._untried.count:
            self._tally.counts.failed += self._untried.count - 1
            self._tally.fail(self._untried.failure())
            self._untried = Untried()

    def _asked_for(self, task: Task) -> Asked | None:
        """A source, read; None where there is nothing to ask, and the results know why."""
        place, stale = task
        path = place.source(stale.name)
        if not self._results.still_writes(place.layout, place.relative):
            self._results.leave(place.layout, place.relative, 1)
            return None
        try:
            text = place.layout.read_source(place.relative, stale.name)
        except FileNotFoundError:
            return None  # the package manager was faster: no source, no pyc
        except SourceRefused as refusal:
            self._tally.fail(Failure(path, "refused", str(refusal)))
            return None
        except OSError as error:
            self._tally.fail(Failure(path, "io", error.strerror or str(error)))
            return None
        asked = Asked(task, text, digest_of(text.data))
        return None if self._is_known(path, asked) else asked

    def _job(self, asked: Asked) -> Job:
        place, stale = asked.task
        levels = [
            wire.LevelRequest(each.level, each.source_hash if each.verdict is Verdict.UNPROVEN else None)
            for each in stale.levels
        ]
        return Job(wire.request(levels, os.fsencode(place.source(stale.name)), asked.text.data), asked)

    def _is_known(self, path: str, asked: Asked) -> bool:
        """Whether this very source is known not to compile; if only its times changed, that is noted."""
        fact, text = self._fact(path, asked), asked.text
        if fact is None or self._wanted.trust_nothing:
            return False
        self._manifest.learn(path, fact._replace(identity=identity_at(text.status, text.when)))
        self._results.uncompilable(path)
        self._writer.remove_code(asked, fact.kind)
        return True

    def _fact(self, path: str, asked: Asked) -> Uncompilable | None:
        fact = self._manifest.uncompilable.get(path)
        if fact is None or not fact.holds(self._interpreter.magic_number, self._wanted.limits):
            return None
        return fact if fact.digest == asked.digest else None

    def _code(self, asked: Asked, answer: Answer) -> wire.Compiled | None:
        """The code that an answer brings; None, and it is told why, where it brings none."""
        place, stale = asked.task
        path = place.source(stale.name)
        if isinstance(answer, wire.Compiled):
            if len(answer.levels) != len(stale.levels):
                self._fail(asked, Failure(path, "crash", "the worker's answer is not whole"))
            elif self._is_too_large(asked, answer):
                self._fail(asked, Failure(path, "unmarshallable", "its bytecode is larger than any that is read"))
            else:
                return answer
        elif isinstance(answer, wire.Failed):
            line = f"line {answer.line}, " if answer.line else ""
            self._fail(asked, Failure(path, answer.kind, f"{line}{answer.name}"))
        elif answer.is_tried:
            is_all = 0 < self._wanted.limits.get(answer.kind, 0) <= answer.limit
            self._fail(asked, Failure(path, answer.kind, answer.message, is_remembered=is_all), answer.limit)
        else:
            self._untried.add(path)
        return None

    def _is_too_large(self, asked: Asked, answer: wire.Compiled) -> bool:
        """Whether it would be corrupt when it is there."""
        largest = largest_pyc(len(asked.text.data)) - self._wanted.header.size
        return any(len(level.body) > largest for level in answer.levels)

    def _fail(self, asked: Asked, failure: Failure, limit: float = 0) -> None:
        self._writer.remove_code(asked, failure.kind)
        if failure.kind in LASTING_KINDS or limit > 0:
            if self._fact(failure.path, asked) is not None:
                self._results.uncompilable(failure.path)
                return
            fact = Uncompilable(
                identity_at(asked.text.status, asked.text.when),
                asked.digest,
                self._interpreter.magic_number,
                failure.kind,
                failure.message,
                limit,
            )
            self._manifest.learn(failure.path, fact)
        self._tally.fail(failure)
