"""Compiling one source: read it, ask a worker, write what comes back, and remember what can't be compiled."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ...outcome.outcome import LASTING_KINDS, Failure, Untried
from ...pyc.header import NO_PYC, InvalidationMode, Verdict
from ...state.records.manifest import Uncompilable
from ...state.records.record import (
    UNSEEN,
    Record,
    digest_of,
    digest_of_pieces,
    identity_at,
    identity_written,
    learn_clock,
)
from ...tree.source import SourceRefused, SourceText, digest_pyc, largest_pyc, source_status
from ...tree.writer import Writer, WriteRefused
from ...workers import wire
from ...workers.pool import Lost
from ...workers.worker import Job
from ..plan.exceeded import known_to_exceed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...buffers import Buffer
    from ...interpreter.interpreter import Interpreter
    from ...state.records.manifest import Manifest
    from ...tree.layout import Layout, Place
    from ...tree.source import PycDigest
    from ...workers.pool import Answer
    from ..plan.results import Results
    from ..plan.steps import LevelState
    from ..plan.wanted import Wanted
    from .queue import Task

#: How often a `__pycache__` may vanish under a write, by another flavour's sweep, before that is a failure.
_TRIES = 4
#: The header fits, and whether the code does is known once there is a new compilation. Who imports while files are
#: replaced writes the code of one version behind the header of the next, if both have the same mtime and size.
_UNVOUCHED = frozenset({Verdict.UNKNOWN, Verdict.SUSPECT})
#: What is removed where there is nothing to replace it with.
_NEVER_KEPT = frozenset({Verdict.OTHER_CONTENT, Verdict.EXPOSED})
#: Bytes. Copies of what is this small, most of them empty, aren't worth waiting for.
_SMALL = 128
#: Bytes. Few sources of this size take long.
_QUICK = 32 << 10
#: Sources that wait for another one's answer, or for the end; they are read again then.
_MOST_HELD = 1 << 14


class Asked(NamedTuple):
    """What belongs to a request on its way through the pool."""

    task: Task
    text: SourceText
    digest: bytes


class Written(NamedTuple):
    """A pyc in its place, and what of it will be recorded."""

    status: os.stat_result
    header: bytes
    body: Buffer
    microseconds: int
    names: list[str]
    """One for each level that has this code."""


class Compilation:
    """Turns stale sources into requests, and answers into pycs. What became of them goes into `results`."""

    def __init__(
        self,
        interpreter: Interpreter,
        wanted: Wanted,
        manifest: Manifest,
        results: Results,
        owns: Callable[[str, str], bool] = lambda directory, name: False,
    ) -> None:
        self._interpreter = interpreter
        self._wanted = wanted
        self._manifest = manifest
        self._results = results
        self._owns = owns
        self._tally = results.tally
        self._writers: dict[int, Writer] = {}
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

    def jobs(self, tasks: Iterable[Task], progress: Callable[[], None]) -> Iterator[Job | None]:
        """The requests for sources; None where nothing can be asked before another answer has come.

        `progress` is called for each source that needs no answer of its own.
        """
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
            self._answered(asked, exceeded)
            progress()
        elif may_wait and asked.digest in self._suspects:
            self._later.append(task)
        elif may_wait and asked.digest in self._waiting and len(asked.text.data) > _SMALL:
            self._waiting[asked.digest].append(task)
            self._held += 1
        else:
            self._waiting.setdefault(asked.digest, [])
            yield self._job(asked)

    def tell_untried(self) -> None:
        """Name once what wasn't tried for want of time; the next run goes on with it."""
        if self._untried.count:
            self._tally.counts.failed += self._untried.count - 1
            self._tally.fail(self._untried.failure())

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
        self._remove_code(asked, fact.kind)
        return True

    def _fact(self, path: str, asked: Asked) -> Uncompilable | None:
        fact = self._manifest.uncompilable.get(path)
        if fact is None or not fact.holds(self._interpreter.magic_number, self._wanted.limits):
            return None
        return fact if fact.digest == asked.digest else None

    def finish(self, job: Job, answer: Answer) -> None:
        """Take in the answer to a job of ours."""
        asked = job.context
        assert isinstance(asked, Asked)
        if isinstance(answer, Lost) and answer.is_tried and (answer.limit or answer.kind == "timeout"):
            self._exceeded[asked.digest] = answer
            self._has_lost_time = True
        self._ready.extend(self._waiting.pop(asked.digest, ()))
        self._answered(asked, answer)

    def _answered(self, asked: Asked, answer: Answer) -> None:
        place, stale = asked.task
        path = place.source(stale.name)
        if isinstance(answer, wire.Compiled) and len(answer.levels) != len(stale.levels):
            self._failed(asked, Failure(path, "crash", "the worker's answer is not whole"))
        elif isinstance(answer, wire.Compiled) and self._is_too_large(asked, answer):
            self._failed(asked, Failure(path, "unmarshallable", "its bytecode is larger than any that is read"))
        elif isinstance(answer, wire.Compiled):
            self._store(asked, answer, path)
        elif isinstance(answer, wire.Failed):
            line = f"line {answer.line}, " if answer.line else ""
            self._failed(asked, Failure(path, answer.kind, f"{line}{answer.name}"))
        elif answer.is_tried:
            is_all = 0 < self._wanted.limits.get(answer.kind, 0) <= answer.limit
            self._failed(asked, Failure(path, answer.kind, answer.message, is_remembered=is_all), answer.limit)
        else:
            self._untried.add(path)

    def _is_too_large(self, asked: Asked, answer: wire.Compiled) -> bool:
        """Whether it would be corrupt when it is there."""
        largest = largest_pyc(len(asked.text.data)) - self._wanted.header.size
        return any(len(level.body) > largest for level in answer.levels)

    def _failed(self, asked: Asked, failure: Failure, limit: float = 0) -> None:
        self._remove_code(asked, failure.kind)
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

    def _remove_code(self, asked: Asked, kind: str) -> None:
        """Remove the pycs of a source that has no code: `import` would take an earlier version's if its header fits.

        Where it failed for the moment, or exceeded a limit of ours, those go that are known to be another source's, or
        that show it to others.
        """
        place, stale = asked.task
        doomed = [
            (state.pyc, None)
            for state in stale.levels
            if state.verdict in _NEVER_KEPT or (kind in LASTING_KINDS and state.verdict not in NO_PYC)
            if not self._owns(place.pyc_directory, state.pyc)
        ]
        if doomed:
            self._results.remove(place, doomed, self._manifest, {pyc: "uncompilable" for pyc, _ in doomed})

    def _store(self, asked: Asked, answer: wire.Compiled, path: str) -> None:
        place, stale = asked.task
        written: list[Written] = []
        changed: list[Verdict] = []
        body: Buffer = b""
        header = self._header(asked.text.status, answer)
        try:
            for state, level in zip(stale.levels, answer.levels):
                if level.state not in (wire.BODY, wire.TWIN):
                    continue
                body = level.body or body
                if self._is_there(asked, state, header, body):
                    continue
                changed.append(state.verdict)
                if level.state == wire.TWIN and written and self._link(place, state.pyc, written[-1]):
                    continue
                status = self._put(asked, state, header, body)
                if status is not None:  # nobody else had this file before it got its name
                    written.append(Written(status, header, body, level.microseconds, [state.pyc]))
        except FileNotFoundError:
            return  # the whole directory is gone, and its sources with it
        except WriteRefused as refusal:
            self._remove_code(asked, "refused")
            self._tally.fail(Failure(path, "refused", str(refusal)))
            return
        except OSError as error:
            self._results.io_failure(place.layout, place.relative, path, error, source=True)
            return
        finally:
            self._record(asked, written)
        self._manifest.unlearn(path)
        if changed:
            self._tally.counts.compiled += 1
            self._results.observer.compiled(path, changed)
        else:
            self._tally.counts.fresh += 1

    def _header(self, source: os.stat_result, answer: wire.Compiled) -> bytes:
        wanted = self._wanted
        if wanted.mode is InvalidationMode.TIMESTAMP:
            return wanted.header.timestamp(wanted.mtime(source), source.st_size)
        return wanted.header.hashed(wanted.mode, answer.source_hash)

    def _is_there(self, asked: Asked, state: LevelState, header: bytes, body: Buffer) -> bool:
        """Whether a pyc that no record vouches for turns out to hold just these bytes; then it stays."""
        if state.verdict not in _UNVOUCHED:
            return False
        place, text = asked.task.place, asked.text
        found, digest = self._digest(place, state.pyc, len(text.data)), digest_of(body)
        if found is None or (found.header, found.digest) != (header, digest):
            return False
        seen = identity_at(text.status, text.when)
        identity = identity_at(found.status, found.when)
        record = Record(seen, asked.digest, identity, digest, header)
        self._manifest.record(place.pyc_directory, state.pyc, record)
        return True

    def _put(self, asked: Asked, state: LevelState, header: bytes, body: Buffer) -> os.stat_result | None:
        """Write one pyc; its status, unless somebody else has written it since. Raises OSError and WriteRefused."""
        place, stale = asked.task
        layout = place.layout
        writer = self.writer(layout)
        for attempt in range(_TRIES):
            try:
                pycache = _ensure_pycache(writer, place)
                if state.verdict is Verdict.OBSTRUCTED:
                    with contextlib.suppress(FileNotFoundError):
                        writer.make_way(pycache, state.pyc)
                now = time.time_ns()
                readers = layout.readers(place.relative, asked.text.rights)
                status = writer.replace(pycache, state.pyc, (header, body), readers)
                if status is not None:
                    learn_clock(status, now)
                break
            except FileNotFoundError:
                # Another flavour shares the directory, and has swept it away under our descriptor.
                layout.pycs.forget(place.pycache)
                layout.sources.forget(place.relative)
                source_status(layout.sources, place.relative, stale.name)
                if attempt == _TRIES - 1:
                    raise
        self._results.wrote(layout)
        return status

    def _link(self, place: Place, pyc: str, first: Written) -> bool:
        """Give a pyc that was just written the name of one more level; False where that has to be a file of its own."""
        if not self._wanted.links_twins:
            return False
        if not self.writer(place.layout).link(place.pycache, first.names[0], pyc, first.status):
            return False
        first.names.append(pyc)
        return True

    def _record(self, asked: Asked, written: list[Written]) -> None:
        """Remember of which source pycs were made, and how both look."""
        if not written:
            return
        place, text = asked.task.place, asked.text
        seen, source_digest = identity_at(text.status, text.when), asked.digest
        for status, header, body, microseconds, names in written:
            identity = identity_written(status) if len(names) == 1 else self._identity_now(place, names[0], status)
            record = Record(seen, source_digest, identity, digest_of(body), header, microseconds)
            for name in names:
                self._manifest.record(place.pyc_directory, name, record)

    def _identity_now(self, place: Place, name: str, written: os.stat_result) -> str:
        """A link changes the ctime of what it links to."""
        try:
            status = place.layout.pycs.lstat(place.pycache, name)
        except OSError:
            return UNSEEN
        return identity_written(status) if status.st_ino == written.st_ino else UNSEEN

    def _digest(self, place: Place, pyc: str, source_size: int) -> PycDigest | None:
        size = self._wanted.header.size
        try:
            return digest_pyc(place.layout.pycs, place.pycache, pyc, source_size, size, digest_of_pieces)
        except (OSError, SourceRefused):
            return None

    def writer(self, layout: Layout) -> Writer:
        """What writes the pycs of a tree."""
        writer = self._writers.get(id(layout))
        if writer is None:
            writer = Writer(layout.pycs, self._wanted.writer, clear_obstacles=self._wanted.trust_nothing)
            self._writers[id(layout)] = writer
        return writer


def _ensure_pycache(writer: Writer, place: Place) -> str:
    if not place.layout.has_prefix:
        return writer.ensure_pycache(place.relative)
    path = ""
    for part in place.pycache.split("/"):
        path = writer.ensure_directory(path, part)
    return path
