"""Fresh bytecode for a measurement: of named sources, into a private tree, by what compiles everybody's."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..outcome.observer import Observer
from ..outcome.outcome import Failure
from ..pyc.header import HeaderFormat, InvalidationMode, Verdict
from ..run.apply.compile import Compilation
from ..run.apply.queue import Task
from ..run.plan.results import Results
from ..run.plan.steps import LevelState, Stale
from ..run.plan.wanted import Wanted
from ..run.scope.forked import look_as_others
from ..state.records.manifest import Manifest
from ..tree.directory import Tree
from ..tree.layout import Layout, Place
from ..tree.source import SourceRefused, source_status
from ..workers.capacity import worker_count
from ..workers.limits import Limits
from ..workers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..interpreter.interpreter import Interpreter
    from ..run.scope.config import Settings
    from .measure_trees import Pyc


def compile_into(interpreter: Interpreter, tree: str, pycs: Iterable[Pyc], settings: Settings) -> list[Failure]:
    """Write these pycs into `tree`; the sources that have none afterwards. Raises PyctriggerError and OSError."""
    listed = list(pycs)
    return look_as_others(lambda _: _compile(interpreter, tree, listed, settings), Observer())


def _compile(interpreter: Interpreter, tree: str, pycs: list[Pyc], settings: Settings) -> list[Failure]:
    results = Results(Observer())
    compilation = Compilation(interpreter, _wanted(interpreter), Manifest(None), results)
    limits = Limits(file_timeout=settings.file_timeout, memory=settings.memory_limit)
    with contextlib.ExitStack() as stack:
        tasks = _tasks(results, _by_source(pycs), _Layouts(stack, tree))
        pool = stack.enter_context(Pool(interpreter, limits, worker_count(settings.jobs)))
        for job, answer in pool.map(compilation.jobs(tasks, lambda: None)):
            compilation.finish(job, answer)
    return results.tally.failures


def _wanted(interpreter: Interpreter) -> Wanted:
    return Wanted(
        cache_tag=interpreter.cache_tag,
        header=HeaderFormat.of(interpreter.magic_number, interpreter.version),
        levels=(),  # each source says its own
        mode=InvalidationMode.TIMESTAMP,
        writer="measure",
    )


def _by_source(pycs: Iterable[Pyc]) -> list[tuple[str, list[Pyc]]]:
    """The pycs of each source; a directory's sources one after the other, and what lies below it behind them."""
    sources: dict[str, list[Pyc]] = {}
    for pyc in pycs:
        sources.setdefault(pyc.source, []).append(pyc)
    return sorted(sources.items(), key=lambda each: (os.path.dirname(each[0]).split("/"), each[0]))


def _tasks(results: Results, sources: Iterable[tuple[str, list[Pyc]]], layouts: _Layouts) -> Iterator[Task]:
    for source, pycs in sources:
        directory, name = os.path.split(source)
        levels = tuple(LevelState(pyc.level, os.path.basename(pyc.path), Verdict.MISSING) for pyc in pycs)
        try:
            place = layouts.place(directory)
            stale = Stale(name, source_status(place.layout.sources, place.relative, name), levels)
        except SourceRefused as refusal:
            results.tally.fail(Failure(source, "refused", str(refusal)))
            continue
        except OSError as error:
            results.tally.fail(Failure(source, "io", error.strerror or str(error)))
            continue
        yield Task(place, stale)


class _Layouts:
    """Opens directories of sources: one of them and all that lie below it without a link between are one layout."""

    def __init__(self, stack: contextlib.ExitStack, tree: str) -> None:
        self._stack = stack
        self._pycs = stack.enter_context(Tree.open(tree))
        self._top: str | None = None
        self._layout: Layout | None = None

    def place(self, directory: str) -> Place:
        """A directory in the layout that it belongs to. Raises OSError."""
        if self._layout is None or not self._is_below(directory):
            self._layout = Layout(self._stack.enter_context(Tree.open(directory)), self._pycs)
            self._top = directory
        assert self._top is not None
        return Place(self._layout, directory[len(self._top) + 1 :])

    def _is_below(self, directory: str) -> bool:
        top = self._top
        assert top is not None
        if directory != top and not directory.startswith(top + "/"):
            return False
        return os.path.realpath(directory) == os.path.realpath(top) + directory[len(top) :]
