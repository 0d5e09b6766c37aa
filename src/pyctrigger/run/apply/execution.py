"""Carries out a plan under the installation's lock: sweeps, refreshes and compiles as the steps come."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from itertools import chain, groupby
from typing import TYPE_CHECKING

from ...outcome.outcome import Finding
from ...pyc.header import Verdict
from ...tree.layout import Layout, Place
from ...tree.sweep import remove_directory
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import Stale, Step
from ..plan.wanted import Wanted
from .untrusted import Gatekeeper
from .workers import Workers

if TYPE_CHECKING:
    from ...workers import wire
    from .compile import Compilation, Task
    from .writing import PycWriter, SourceRead

#: A directory of a tree, and what to change in it.
Change = tuple[Layout, Step]


class Execution:
    """Makes the changes of one request, and adds what became of them to `results`."""

    def __init__(self, wanted: Wanted, knowledge: Knowledge, workers: Workers, results: Results) -> None:
        self._wanted = wanted
        self._knowledge = knowledge
        self._workers = workers
        self._results = results
        self._gate = Gatekeeper(results.tally, wanted)

    def warm_up(self, first: Change) -> None:
        """Start a worker if the first change needs one: it is ready after 10 to 20 ms, and so is the lock."""
        layout, step = first
        if any(map(_needs_compiler, step.stale)):
            self._workers.pool_for(layout.sources.owner).warm_up()

    def run(self, changes: Iterable[Change]) -> Generator[tuple[SourceRead, wire.Compiled], None, None]:
        """Make all changes but one: yields the code of each source, for the `writer` to store.

        Raises PyctriggerError where the machinery fails; what was done stays done.
        """
        try:
            for owner, of_one_owner in groupby(changes, lambda change: change[0].sources.owner):
                tasks = self._tasks(of_one_owner)
                first = next(tasks, None)
                if first is not None:
                    yield from self._compilation.compile(owner, chain([first], tasks))
        finally:
            self._gate.report_shared()

    @cached_property
    def writer(self) -> PycWriter:
        """What writes pycs."""
        from .writing import PycWriter  # it imports the workers, which a sweep doesn't need

        return PycWriter(self._wanted, self._knowledge, self._results)

    @cached_property
    def _compilation(self) -> Compilation:
        from .compile import Compilation

        return Compilation(self._workers, self._wanted, self._knowledge, self.writer, self._results)

    # -- what a step says, in its order --------------------------------------------------------------------------

    def _tasks(self, changes: Iterable[Change]) -> Iterator[Task]:
        """Sweep and refresh. Yields what is to be compiled."""
        for layout, planned in changes:
            step = self._gate.permitted(layout, planned)
            if step.removals:
                self._sweep(layout, step)
            if step.opens_pycache:
                self._open_pycache(layout, step.relative)
            if step.stale:
                yield from self._left_to_compile(Place(layout, step.relative), step.stale)
            if step.emptied_pycache:
                self._remove_directory(layout, step.relative, of_pycs=True)
            if step.emptied:
                self._remove_directory(layout, step.relative, of_pycs=False)

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self, layout: Layout, step: Step) -> None:
        self._results.remove(Place(layout, step.relative), step.removals, self._knowledge.manifest)
        if not step.stale:
            self._remove_emptied(layout, step.relative)

    def _remove_emptied(self, layout: Layout, relative: str) -> None:
        """Remove directories that the last removal left empty, upwards.

        When several flavours sweep at once, each one's plan sees the pycs of the others: only rmdir(2) can tell which
        of them removed the last one.
        """
        if layout.has_prefix or not self._remove_directory(layout, relative, of_pycs=True):
            return
        while relative and self._remove_directory(layout, relative, of_pycs=False):
            relative = relative.rpartition("/")[0]

    def _remove_directory(self, layout: Layout, relative: str, *, of_pycs: bool) -> bool:
        tree, directory, above = layout.sources, relative, relative.rpartition("/")[0]
        if of_pycs:
            tree, directory, above = layout.pycs, layout.pycache(relative), relative
        path = tree.describe(directory)
        if not self._results.may_write(layout, above) or not self._gate.permits(layout, above, source_only=True):
            return False
        try:
            if not remove_directory(tree, directory):
                return False
        except OSError as error:
            self._results.io_failure(layout, above, path, error)
            return False
        self._results.tally.counts.removed_directories += 1
        self._results.observer.removed(path, "emptied")
        return True

    def _open_pycache(self, layout: Layout, relative: str) -> None:
        """Give a `__pycache__` the mode that it should have. If that isn't possible, it is a known finding."""
        path = layout.describe_pyc(relative)
        try:
            is_open = self.writer.in_tree(layout).open_pycache(relative)
        except FileNotFoundError:
            return
        except OSError as error:
            self._results.io_failure(layout, relative, path, error)
            return
        if is_open:
            self._results.observer.opened(path)
        else:
            self._results.tally.findings.append(Finding("unreadable", path, None, known=True))

    def _left_to_compile(self, place: Place, sources: list[Stale]) -> Iterator[Task]:
        """Yields the sources that need more than new headers."""
        for stale in sources:
            left = stale if _needs_compiler(stale) else self.writer.refresh(place, stale)
            if left is not None:
                yield place, left


def _needs_compiler(stale: Stale) -> bool:
    return any(state.verdict is not Verdict.REFRESHABLE for state in stale.levels)
