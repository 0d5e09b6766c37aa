"""Compiling one source: read it, ask a worker, write what comes back, and remember what can't be compiled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..pyc.header import InvalidationMode, Verdict
from ..state.manifest import Uncompilable
from ..state.record import Record, digest_of, identity_at, identity_of
from ..tree.source import SourceRefused, SourceText, read_pyc, read_source, source_status
from ..tree.writer import Writer, WriteRefused
from ..workers import wire
from ..workers.worker import Job
from .outcome import LASTING_KINDS, Failure

if TYPE_CHECKING:
    from ..state.manifest import Manifest
    from ..target.interpreter import Interpreter
    from ..tree.layout import Layout
    from ..workers.pool import Answer
    from .results import Results
    from .steps import LevelState, Stale
    from .wanted import Wanted

#: How often a `__pycache__` may vanish under a write, by another flavour's sweep, before that is a failure.
_TRIES = 4


class Task(NamedTuple):
    """What belongs to a request on its way through the pool."""

    layout: Layout
    relative: str
    stale: Stale
    text: SourceText


class Compilation:
    """Turns stale sources into requests, and answers into pycs. What became of them goes into `results`."""

    def __init__(self, interpreter: Interpreter, wanted: Wanted, manifest: Manifest, results: Results) -> None:
        self._interpreter = interpreter
        self._wanted = wanted
        self._manifest = manifest
        self._results = results
        self._tally = results.tally
        self._writers: dict[int, Writer] = {}
        self._last_written = ""

    def job(self, layout: Layout, relative: str, stale: Stale) -> Job | None:
        """The request for a source; None where there is nothing to ask, and the results know why."""
        path = layout.describe_source(relative, stale.name)
        try:
            text = read_source(layout.sources, relative, stale.name)
        except FileNotFoundError:
            return None  # the package manager was faster: no source, no pyc
        except SourceRefused as refusal:
            self._tally.fail(Failure(path, "refused", str(refusal)))
            return None
        except OSError as error:
            self._tally.fail(Failure(path, "io", error.strerror or str(error)))
            return None
        if self._is_known(path, text):
            return None
        levels = [
            wire.LevelRequest(each.level, each.source_hash if each.verdict is Verdict.UNPROVEN else None)
            for each in stale.levels
        ]
        return Job(wire.request(levels, os.fsencode(path), text.data), Task(layout, relative, stale, text))

    def _is_known(self, path: str, text: SourceText) -> bool:
        """Whether this very source is known not to compile; if only its times changed, that is noted."""
        fact = self._fact(path, text)
        if fact is None or self._wanted.trust_nothing:
            return False
        self._manifest.learn(path, fact._replace(identity=identity_of(text.status)))
        self._results.uncompilable(path)
        return True

    def _fact(self, path: str, text: SourceText) -> Uncompilable | None:
        fact = self._manifest.uncompilable.get(path)
        if fact is None or fact.magic_number != self._interpreter.magic_number:
            return None
        return fact if fact.digest == digest_of(text.data) else None

    def finish(self, job: Job, answer: Answer) -> None:
        """Take in the answer to a job of ours."""
        task = job.context
        assert isinstance(task, Task)
        path = task.layout.describe_source(task.relative, task.stale.name)
        if isinstance(answer, wire.Compiled) and len(answer.levels) != len(task.stale.levels):
            self._failed(task, Failure(path, "crash", "the worker's answer is not whole"))
        elif isinstance(answer, wire.Compiled):
            self._store(task, answer, path)
        elif isinstance(answer, wire.Failed):
            line = f"line {answer.line}, " if answer.line else ""
            self._failed(task, Failure(path, answer.kind, f"{line}{answer.name}"))
        else:
            self._failed(task, Failure(path, answer.kind, answer.message))

    def _failed(self, task: Task, failure: Failure) -> None:
        if failure.kind in LASTING_KINDS:
            if self._fact(failure.path, task.text) is not None:
                self._results.uncompilable(failure.path)
                return
            fact = Uncompilable(
                identity_of(task.text.status),
                digest_of(task.text.data),
                self._interpreter.magic_number,
                failure.kind,
                failure.message,
            )
            self._manifest.learn(failure.path, fact)
        self._tally.fail(failure)

    def _store(self, task: Task, answer: wire.Compiled, path: str) -> None:
        written = False
        try:
            body = b""
            for state, level in zip(task.stale.levels, answer.levels):
                if level.state in (wire.BODY, wire.TWIN):
                    body = level.body or body
                    written = self._put(task, state, self._header(task, answer) + body) or written
        except FileNotFoundError:
            return  # the whole directory is gone, and its sources with it
        except WriteRefused as refusal:
            self._tally.fail(Failure(path, "refused", str(refusal)))
            return
        except OSError as error:
            self._results.io_failure(task.layout, path, error, source=True)
            return
        self._manifest.unlearn(path)
        if written:
            self._tally.counts.compiled += 1
        else:
            self._tally.counts.fresh += 1

    def _header(self, task: Task, answer: wire.Compiled) -> bytes:
        wanted = self._wanted
        if wanted.mode is InvalidationMode.TIMESTAMP:
            return wanted.header.timestamp(wanted.mtime(task.text.status), task.text.status.st_size)
        return wanted.header.hashed(wanted.mode, answer.source_hash)

    def _put(self, task: Task, state: LevelState, content: bytes) -> bool:
        """Write one pyc, unless it holds these bytes already. Raises OSError and WriteRefused."""
        layout, relative = task.layout, task.relative
        if state.verdict is Verdict.SUSPECT:
            found = _read(layout, relative, state.pyc)
            if found is not None and found.data == content:
                self._record(task, state.pyc, content, identity_at(found.status, found.when))
                return False
        writer = self._writer(layout)
        for attempt in range(_TRIES):
            try:
                pycache = _ensure_pycache(writer, layout, relative)
                status = writer.replace(pycache, state.pyc, content, task.text.status)
                break
            except FileNotFoundError:
                # Another flavour shares the directory, and has swept it away under our descriptor.
                layout.pycs.forget(layout.pycache(relative))
                layout.sources.forget(relative)
                source_status(layout.sources, relative, task.stale.name)
                if attempt == _TRIES - 1:
                    raise
        self._results.wrote(layout)
        if status is not None:  # nobody else had this file before it got its name
            self._record(task, state.pyc, content, identity_of(status))
        directory = layout.describe_pyc(relative)
        if directory != self._last_written:
            self._last_written = directory
            self._results.observer.wrote(directory)
        return True

    def _record(self, task: Task, pyc: str, content: bytes, identity: str) -> None:
        """Remember of which source a pyc was made, and how both look."""
        text = task.text
        seen = identity_at(text.status, text.when)
        record = Record.of(text.data, seen, content, identity, self._wanted.header.size)
        self._manifest.record(task.layout.describe_pyc(task.relative), pyc, record)

    def _writer(self, layout: Layout) -> Writer:
        writer = self._writers.get(id(layout))
        if writer is None:
            writer = Writer(layout.pycs, self._wanted.writer, clear_obstacles=self._wanted.trust_nothing)
            self._writers[id(layout)] = writer
        return writer


def _ensure_pycache(writer: Writer, layout: Layout, relative: str) -> str:
    if not layout.has_prefix:
        return writer.ensure_pycache(relative)
    path = ""
    for part in layout.pycache(relative).split("/"):
        path = writer.ensure_directory(path, part)
    return path


def _read(layout: Layout, relative: str, pyc: str) -> SourceText | None:
    try:
        return read_pyc(layout.pycs, layout.pycache(relative), pyc)
    except (OSError, SourceRefused):
        return None
