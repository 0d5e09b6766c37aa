"""Carrying out a plan: sweep and compile as the steps come, under the installation's lock, into one tally."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from ..pyc.header import InvalidationMode, Verdict
from ..state.manifest import Uncompilable, digest_of, identity_of
from ..tree.source import SourceRefused, SourceText, read_source, source_status
from ..tree.sweep import remove_file, remove_package, remove_pycache, source_is_gone
from ..tree.writer import Writer, WriteRefused
from .outcome import LASTING_KINDS, Failure, Finding, Tally
from .steps import DirectoryPlan, Emptied, Totals, Unexamined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..state.manifest import Manifest
    from ..target.interpreter import Interpreter
    from ..tree.layout import Layout
    from ..workers.pool import Answer, Pool
    from ..workers.wire import Compiled
    from ..workers.worker import Job
    from .observer import Observer
    from .steps import LevelState, Stale, Step
    from .wanted import Wanted

#: How often a `__pycache__` may vanish under a write, by another flavour's sweep, before that is a failure.
_TRIES = 4


class _Task(NamedTuple):
    """What belongs to a request on its way through the pool."""

    layout: Layout
    relative: str
    stale: Stale
    text: SourceText


class Execution:
    """Does what the steps of one flavour's plans say.

    `enter` is called before the first change, and takes the lock; `open_pool` gives the workers when the first source
    has to be compiled.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        wanted: Wanted,
        manifest: Manifest,
        observer: Observer,
        *,
        enter: Callable[[], None],
        open_pool: Callable[[], Pool],
    ) -> None:
        self._interpreter = interpreter
        self._wanted = wanted
        self._manifest = manifest
        self._observer = observer
        self._enter = enter
        self._open_pool = open_pool
        self._writers: dict[int, Writer] = {}
        self._read_only: set[int] = set()
        self._last_written = ""
        self._known = self._done = 0
        self.tally = Tally()

    def run(self, steps: Iterable[tuple[Layout, Step]]) -> Tally:
        """Carry out all steps. Raises PyctriggerError where the machinery fails; what was done stays done."""
        jobs = self._jobs(steps)
        first = next(jobs, None)
        if first is None:
            return self.tally
        with self._open_pool() as pool:
            for job, answer in pool.map(_chain(first, jobs)):
                assert isinstance(job.context, _Task)
                self._finish(job.context, answer)
        return self.tally

    # -- what the plan says, in its order ------------------------------------------------------------------------

    def _jobs(self, steps: Iterable[tuple[Layout, Step]]) -> Iterator[Job]:
        for layout, step in steps:
            if isinstance(step, DirectoryPlan):
                self._note(layout, step)
                self._sweep(layout, step)
                yield from self._compile(layout, step)
            elif isinstance(step, Emptied):
                self._remove_directory(layout, step)
            elif isinstance(step, Totals):
                self.tally.counts.fresh += step.fresh
            else:
                self._unexamined(layout, step)

    def _note(self, layout: Layout, plan: DirectoryPlan) -> None:
        self.tally.counts.skipped += len(plan.skipped)
        for name, reason in plan.skipped:
            path = layout.describe_source(plan.relative, name)
            if reason == "uncompilable":
                self.tally.findings.append(Finding("uncompilable", None, path, known=True))
            else:
                self._observer.skipped(path, reason)
        for name, reason in plan.refused:
            self._refuse(layout, plan.relative, name, reason)

    def _refuse(self, layout: Layout, relative: str, name: str, reason: str) -> None:
        """A link that must not be followed: told once, and again when the link changes."""
        self._enter()
        path = layout.describe_source(relative, name)
        self.tally.fail(Failure(path, "refused", reason))
        with contextlib.suppress(OSError):
            status = layout.sources.lstat(relative, name)
            magic = self._interpreter.magic_number
            self._manifest.learn(path, Uncompilable(identity_of(status), b"", magic, "refused", reason))

    def _unexamined(self, layout: Layout, step: Unexamined) -> None:
        self.tally.unexamined.append(Failure(layout.describe_source(step.relative), "io", step.reason))

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self, layout: Layout, plan: DirectoryPlan) -> None:
        for removal in plan.removals:
            if not self._may_write(layout):
                return
            path = layout.describe_pyc(plan.relative, removal.name)
            if removal.kind == "orphan":
                assert removal.source is not None
                if not source_is_gone(layout, plan.relative, removal.source):
                    continue
            try:
                if remove_file(layout, plan.relative, removal.name):
                    self.tally.counts.removed += 1
                    self._observer.removed(path)
            except OSError as error:
                self._io_failure(layout, path, error)

    def _remove_directory(self, layout: Layout, step: Emptied) -> None:
        if not self._may_write(layout):
            return
        remove, path = (
            (remove_pycache, layout.describe_pyc(step.relative))
            if step.pycache
            else (remove_package, layout.describe_source(step.relative))
        )
        try:
            if remove(layout, step.relative):
                self.tally.counts.removed_directories += 1
                self._observer.removed(path)
        except OSError as error:
            self._io_failure(layout, path, error)

    # -- compiling -----------------------------------------------------------------------------------------------

    def _compile(self, layout: Layout, plan: DirectoryPlan) -> Iterator[Job]:
        if not plan.stale:
            return
        if not self._may_write(layout):
            self.tally.counts.skipped += len(plan.stale)
            return
        if plan.obstacle and not self._wanted.trust_nothing:
            path = layout.describe_pyc(plan.relative)
            self.tally.failures.append(Failure(path, "refused", f"{plan.obstacle}; pyctrigger repair replaces it"))
            self.tally.counts.failed += len(plan.stale)
            return
        self._known += len(plan.stale)
        for stale in plan.stale:
            job = self._job(layout, plan.relative, stale)
            if job is None:
                self._progress()
            else:
                yield job

    def _job(self, layout: Layout, relative: str, stale: Stale) -> Job | None:
        from ..workers import wire
        from ..workers.worker import Job

        path = layout.describe_source(relative, stale.name)
        try:
            text = read_source(layout.sources, relative, stale.name)
        except FileNotFoundError:
            return None  # the package manager was faster: no source, no pyc
        except SourceRefused as refusal:
            self.tally.fail(Failure(path, "refused", str(refusal)))
            return None
        except OSError as error:
            self.tally.fail(Failure(path, "io", error.strerror or str(error)))
            return None
        if self._is_known(path, text):
            return None
        levels = [wire.LevelRequest(each.level, each.source_hash) for each in stale.levels]
        return Job(wire.request(levels, os.fsencode(path), text.data), _Task(layout, relative, stale, text))

    def _is_known(self, path: str, text: SourceText) -> bool:
        """Whether this very source is known not to compile; if only its times changed, that is noted."""
        fact = self._fact(path, text)
        if fact is None or self._wanted.trust_nothing:
            return False
        self._manifest.learn(path, fact._replace(identity=identity_of(text.status)))
        self._skip_uncompilable(path)
        return True

    def _fact(self, path: str, text: SourceText) -> Uncompilable | None:
        fact = self._manifest.uncompilable.get(path)
        if fact is None or fact.magic_number != self._interpreter.magic_number:
            return None
        return fact if fact.digest == digest_of(text.data) else None

    def _skip_uncompilable(self, path: str) -> None:
        self.tally.counts.skipped += 1
        self.tally.findings.append(Finding("uncompilable", None, path, known=True))

    # -- answers -------------------------------------------------------------------------------------------------

    def _finish(self, task: _Task, answer: Answer) -> None:
        from ..workers.wire import Compiled, Failed

        path = task.layout.describe_source(task.relative, task.stale.name)
        if isinstance(answer, Compiled):
            self._store(task, answer, path)
        elif isinstance(answer, Failed):
            line = f"line {answer.line}, " if answer.line else ""
            self._failed(task, Failure(path, answer.kind, f"{line}{answer.name}"))
        else:
            self._failed(task, Failure(path, answer.kind, answer.message))
        self._progress()

    def _failed(self, task: _Task, failure: Failure) -> None:
        if failure.kind in LASTING_KINDS:
            if self._fact(failure.path, task.text) is not None:
                self._skip_uncompilable(failure.path)
                return
            fact = Uncompilable(
                identity_of(task.text.status),
                digest_of(task.text.data),
                self._interpreter.magic_number,
                failure.kind,
                failure.message,
            )
            self._manifest.learn(failure.path, fact)
        self.tally.fail(failure)

    def _store(self, task: _Task, answer: Compiled, path: str) -> None:
        from ..workers.wire import BODY

        written = False
        try:
            for state, level in zip(task.stale.levels, answer.levels):
                if level.state == BODY:
                    content = self._header(task, answer) + level.body
                    written = self._put(task, state, content) or written
        except FileNotFoundError:
            return  # the whole directory is gone, and its sources with it
        except WriteRefused as refusal:
            self.tally.fail(Failure(path, "refused", str(refusal)))
            return
        except OSError as error:
            self._io_failure(task.layout, path, error, source=True)
            return
        self._manifest.unlearn(path)
        if written:
            self.tally.counts.compiled += 1
        else:
            self.tally.counts.fresh += 1

    def _header(self, task: _Task, answer: Compiled) -> bytes:
        wanted = self._wanted
        if wanted.mode is InvalidationMode.TIMESTAMP:
            return wanted.header.timestamp(wanted.mtime(task.text.status), task.text.status.st_size)
        return wanted.header.hashed(wanted.mode, answer.source_hash)

    def _put(self, task: _Task, state: LevelState, content: bytes) -> bool:
        """Write one pyc, unless it holds these bytes already. Raises OSError and WriteRefused."""
        layout, relative = task.layout, task.relative
        if state.verdict is Verdict.SUSPECT and _holds(layout, relative, state.pyc, content):
            return False
        writer = self._writer(layout)
        for attempt in range(_TRIES):
            try:
                writer.replace(_ensure_pycache(writer, layout, relative), state.pyc, content, task.text.status)
                break
            except FileNotFoundError:
                # Another flavour shares the directory, and has swept it away under our descriptor.
                layout.pycs.forget(layout.pycache(relative))
                layout.sources.forget(relative)
                source_status(layout.sources, relative, task.stale.name)
                if attempt == _TRIES - 1:
                    raise
        directory = layout.describe_pyc(relative)
        if directory != self._last_written:
            self._last_written = directory
            self._observer.wrote(directory)
        return True

    # -- small things --------------------------------------------------------------------------------------------

    def _writer(self, layout: Layout) -> Writer:
        writer = self._writers.get(id(layout))
        if writer is None:
            writer = Writer(layout.pycs, self._wanted.writer, clear_obstacles=self._wanted.trust_nothing)
            self._writers[id(layout)] = writer
        return writer

    def _may_write(self, layout: Layout) -> bool:
        """Take the lock, and see whether the file system can be written: one line if not, not one for each file."""
        if id(layout) in self._read_only:
            return False
        if layout.is_read_only:
            self._is_read_only(layout)
            return False
        self._enter()
        return True

    def _is_read_only(self, layout: Layout) -> None:
        if id(layout) not in self._read_only:
            self._read_only.add(id(layout))
            self.tally.notices.append(f"{layout.pycs.path} is on a read-only file system; nothing was changed there")

    def _io_failure(self, layout: Layout, path: str, error: OSError, *, source: bool = False) -> None:
        if error.errno == errno.EROFS:
            self._is_read_only(layout)
            self.tally.counts.skipped += source
            return
        failure = Failure(path, "io", error.strerror or str(error))
        if source:
            self.tally.fail(failure)
        else:
            self.tally.failures.append(failure)

    def _progress(self) -> None:
        self._done += 1
        self._observer.progress(self._done, self._known)


def _ensure_pycache(writer: Writer, layout: Layout, relative: str) -> str:
    if not layout.has_prefix:
        return writer.ensure_pycache(relative)
    path = ""
    for part in layout.pycache(relative).split("/"):
        path = writer.ensure_directory(path, part)
    return path


def _holds(layout: Layout, relative: str, pyc: str, content: bytes) -> bool:
    """Whether a pyc holds exactly these bytes."""
    try:
        descriptor = layout.pycs.open_file(layout.pycache(relative), pyc)
    except OSError:
        return False
    with open(descriptor, "rb", buffering=0) as file:
        return os.fstat(descriptor).st_size == len(content) and file.read(len(content) + 1) == content


def _chain(first: Job, rest: Iterator[Job]) -> Iterator[Job]:
    yield first
    yield from rest
