"""Carrying out a plan under the installation's lock: sweep, refresh and compile as the steps come, into one tally."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

from ...outcome.outcome import Finding
from ...pyc.header import Verdict
from ...state.records.manifest import Manifest
from ...tree.layout import Layout, Place
from ...tree.sweep import remove_package, remove_pycache
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import Stale, Step
from ..plan.wanted import Wanted
from .queue import Task, largest_first
from .untrusted import Gatekeeper
from .workers import Workers

if TYPE_CHECKING:
    from .compile import Compilation
    from .refresh import Refresher
    from .writing import PycWriter

#: A directory of a tree, and what is to be changed in it.
Change = tuple[Layout, Step]

#: Sources that are held at most so that a watcher knows how many there are: some 50 MB of names and status.
_MOST_COUNTED = 50_000


class Execution:
    """Makes the changes of one request. What became of them goes into `results`."""

    def __init__(
        self, wanted: Wanted, manifest: Manifest, knowledge: Knowledge, workers: Workers, results: Results
    ) -> None:
        self._wanted = wanted
        self._manifest = manifest
        self._owns = knowledge.is_owned
        self._workers = workers
        self._results = results
        self._observer = results.observer
        self._gate = Gatekeeper(results.tally, wanted)
        self._writer: PycWriter | None = None
        self._compilation: Compilation | None = None
        self._refreshing: Refresher | None = None
        self._known: int | None = None
        self._done = 0
        self._tally = results.tally

    def warm_up(self, first: Change) -> None:
        """Start what the first change needs, while somebody has the lock."""
        layout, step = first
        if any(map(_needs_compiler, step.stale)):
            self._workers.warm_up(layout.sources.owner)

    def run(self, changes: Iterable[Change]) -> None:
        """Make all changes. Raises PyctriggerError where the machinery fails; what was done stays done."""
        try:
            for owner, of_one_owner in groupby(changes, lambda change: change[0].sources.owner):
                tasks = self._counted(self._tasks(of_one_owner))
                first = next(tasks, None)
                if first is None:
                    continue
                compilation, writer = self._compiler(), self._pyc_writer()
                with self._workers.take(owner) as pool:
                    tasks = largest_first(chain([first], tasks))
                    for asked, code in compilation.compile(pool, tasks, self._progress):
                        if code is not None:
                            writer.store(asked, code)
                        self._progress()
        finally:
            self._gate.tell_shared()

    def _counted(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """The same tasks. For a watcher all of them are found first, unless they are more than should be held."""
        self._known, self._done = None, 0
        if not self._observer.is_watched:
            return tasks
        found = list(islice(tasks, _MOST_COUNTED))
        if len(found) < _MOST_COUNTED:
            self._known = len(found)
        return chain(found, tasks)

    # -- what a step says, in its order --------------------------------------------------------------------------

    def _tasks(self, changes: Iterable[Change]) -> Iterator[Task]:
        """Sweep, and give what is to be compiled."""
        for layout, step in changes:
            if step.removals:
                self._sweep(layout, step)
            if step.opens_pycache:
                self._open_pycache(layout, step.relative)
            if step.stale:
                yield from self._left_to_compile(layout, step)
            if step.emptied_pycache:
                self._remove_directory(layout, step.relative, of_pycs=True)
            if step.emptied:
                self._remove_directory(layout, step.relative, of_pycs=False)

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self, layout: Layout, step: Step) -> None:
        if not self._gate.permits(layout, step.relative):
            return
        doomed = [(each.name, each.source if each.kind == "orphan" else None) for each in step.removals]
        kinds = {each.name: each.kind for each in step.removals}
        self._results.remove(Place(layout, step.relative), doomed, self._manifest, kinds)
        if not step.stale:
            self._remove_emptied(layout, step.relative)

    def _remove_emptied(self, layout: Layout, relative: str) -> None:
        """Remove what the last removal left empty, upwards.

        When several flavours sweep at once, each one's plan sees the pycs of the others: only rmdir(2) can tell which
        of them removed the last one.
        """
        if layout.has_prefix or not self._remove_directory(layout, relative, of_pycs=True):
            return
        while relative and self._remove_directory(layout, relative, of_pycs=False):
            relative = relative.rpartition("/")[0]

    def _remove_directory(self, layout: Layout, relative: str, *, of_pycs: bool) -> bool:
        remove, path, above = (
            (remove_pycache, layout.describe_pyc(relative), relative)
            if of_pycs
            else (remove_package, layout.describe_source(relative), relative.rpartition("/")[0])
        )
        if not self._results.may_write(layout, above) or not self._gate.permits(layout, above, source_only=True):
            return False
        try:
            if not remove(layout, relative):
                return False
        except OSError as error:
            self._results.io_failure(layout, above, path, error)
            return False
        self._tally.counts.removed_directories += 1
        self._observer.removed(path, "emptied")
        return True

    def _open_pycache(self, layout: Layout, relative: str) -> None:
        """Give a `__pycache__` the mode that it should have; where it can't be had, that is told and no failure."""
        path = layout.describe_pyc(relative)
        if not self._gate.permits(layout, relative):
            return
        try:
            is_open = self._pyc_writer().in_tree(layout).open_pycache(relative)
        except FileNotFoundError:
            return
        except OSError as error:
            self._results.io_failure(layout, relative, path, error)
            return
        if is_open:
            self._observer.opened(path)
        else:
            self._tally.findings.append(Finding("unreadable", path, None, known=True))

    # -- compiling -----------------------------------------------------------------------------------------------

    def _left_to_compile(self, layout: Layout, step: Step) -> Iterator[Task]:
        """The sources for which new headers aren't all that they need."""
        if not self._gate.permits_pycs(layout, step):
            self._tally.counts.failed += len(step.stale)
            return
        place = Place(layout, step.relative)
        for stale in step.stale:
            task = Task(place, stale)
            if _needs_compiler(stale):
                yield task
            elif (left := self._refresh(task)) is not None:
                yield left

    def _refresh(self, task: Task) -> Task | None:
        """The source, if it has to be compiled after all; None if new headers were all that it needed."""
        place = task.place
        try:
            left = self._refresher().refresh(task)
        except OSError as error:
            self._results.io_failure(place.layout, place.relative, place.source(task.stale.name), error, source=True)
            return None
        self._results.wrote(place.layout)
        if left is None:
            self._tally.counts.refreshed += 1
            self._observer.refreshed(place.source(task.stale.name))
        return left

    def _pyc_writer(self) -> PycWriter:
        if self._writer is None:
            from .writing import PycWriter  # who only sweeps never needs it

            self._writer = PycWriter(self._wanted, self._manifest, self._results, self._owns)
        return self._writer

    def _compiler(self) -> Compilation:
        if self._compilation is None:
            from .compile import Compilation  # it brings the workers, which who only sweeps never needs

            interpreter = self._workers.interpreter
            self._compilation = Compilation(interpreter, self._wanted, self._manifest, self._pyc_writer())
        return self._compilation

    def _refresher(self) -> Refresher:
        if self._refreshing is None:
            from .refresh import Refresher

            began = self._results.began
            self._refreshing = Refresher(self._wanted, self._manifest, self._pyc_writer(), began)
        return self._refreshing

    def _progress(self) -> None:
        self._done += 1
        self._observer.progress(self._done, self._known)


def _needs_compiler(stale: Stale) -> bool:
    return any(state.verdict is not Verdict.REFRESHABLE for state in stale.levels)
