"""Carries out a plan under the installation's lock: sweeps, refreshes and compiles as the steps come."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from itertools import chain, groupby

from ...outcome.outcome import Finding
from ...pyc.header import Verdict
from ...tree.layout import Layout, Place
from ...tree.sweep import remove_directory
from ...typed import TYPE_CHECKING
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import Stale, Step
from ..plan.wanted import Wanted
from .untrusted import Gatekeeper
from .workers import Workers

if TYPE_CHECKING:
    from ...workers import wire
    from .compile import Compilation
    from .writing import PycWriter, SourceRead, Task

#: A directory of a tree, and what to change in it.
Change = tuple[Layout, Step]


class Execution:
    """Makes the changes of one request, and adds what became of them to `results`."""

    def __init__(self, wanted: Wanted, knowledge: Knowledge, workers: Workers, results: Results) -> None:
        self.wanted = wanted
        self.knowledge = knowledge
        self._workers = workers
        self.results = results
        self.gate = Gatekeeper(results.tally, wanted)

    def warm_up(self, first: Change) -> None:
        """Start a worker if the first change needs one: it is ready after 10 to 20 ms, and so is the lock."""
        layout, step = first
        if any(map(needs_compiler, step.stale)):
            self._workers.warm_up(layout.sources.owner)

    def run(self, changes: Iterable[Change]) -> Generator[tuple[SourceRead, wire.Compiled], None, None]:
        """Make all changes but one: yields the code of each source, for the `writer` to store.

        Raises PyctriggerError where the machinery fails; what was done stays done.
        """
        try:
            for owner, of_one_owner in groupby(changes, lambda change: change[0].sources.owner):
                yield from self.run_for(owner, of_one_owner)
        finally:
            self.gate.report_shared()

    def run_for(
        self, owner: int, changes: Iterable[Change | None]
    ) -> Generator[tuple[SourceRead, wire.Compiled], None, None]:
        """Make changes in trees of one owner. None stands for changes that are still to come."""
        tasks = self._tasks(changes)
        for first in tasks:
            yield from self.compilation.compile(owner, chain([first], tasks))

    @cached_property
    def writer(self) -> PycWriter:
        """What writes pycs."""
        from .writing import PycWriter  # it imports the workers, which a sweep doesn't need

        return PycWriter(self.wanted, self.knowledge, self.results)

    @cached_property
    def compilation(self) -> Compilation:
        """What compiles."""
        from .compile import Compilation

        return Compilation(self._workers, self.wanted, self.knowledge, self.writer, self.results)

    # -- what a step says, in its order --------------------------------------------------------------------------

    def _tasks(self, changes: Iterable[Change | None]) -> Iterator[Task | None]:
        """Sweep and refresh. Yields what is to be compiled."""
        for change in changes:
            if change is None:
                yield None
                continue
            layout, planned = change
            step = self.gate.permitted(layout, planned)
            place = Place(layout, step.relative)
            if step.removals:
                self._sweep(layout, step)
            if step.opens_pycache:
                self._open_pycache(layout, step.relative)
            if step.emptied_pycache:
                self._remove_directory(layout, step.relative, of_pycs=True)
            if step.emptied:
                self._remove_directory(layout, step.relative, of_pycs=False)
            # Told with what was removed: a lane that ends later has it removed, and counted, once.
            self.results.finish(place, "", *([] if step.stale else [each.name for each in planned.stale]))
            if step.stale:
                yield from self._left_to_compile(place, step.stale)

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self, layout: Layout, step: Step) -> None:
        self.results.remove(Place(layout, step.relative), step.removals, self.knowledge.manifest)
        if not step.stale:
            self._remove_emptied(layout, step.relative, was_tried=any(each.was_tried for each in step.removals))

    def _remove_emptied(self, layout: Layout, relative: str, *, was_tried: bool) -> None:
        """Remove directories that the last removal left empty, upwards.

        When several flavours sweep at once, each one's plan sees the pycs of the others: only rmdir(2) can tell which
        of them removed the last one. Another lane may come to a directory first, and have failed above it before.
        """
        if layout.has_prefix or not (self._remove_directory(layout, relative, of_pycs=True) or was_tried):
            return
        while relative and self._remove_directory(layout, relative, of_pycs=False):
            relative = relative.rpartition("/")[0]

    def _remove_directory(self, layout: Layout, relative: str, *, of_pycs: bool) -> bool:
        """Remove one if it is empty. Returns whether it isn't there any more."""
        tree, directory, above = layout.sources, relative, relative.rpartition("/")[0]
        if of_pycs:
            tree, directory, above = layout.pycs, layout.pycache(relative), relative
        path = tree.describe(directory)
        if not self.results.may_write(layout, above) or not self.gate.permits(layout, above, source_only=True):
            return False
        try:
            if not remove_directory(tree, directory):
                return False
        except FileNotFoundError:
            return True
        except OSError as error:
            self.results.io_failure(layout, above, path, error)
            return False
        self.results.tally.counts.removed_directories += 1
        self.results.observer.removed(path, "emptied")
        return True

    def _open_pycache(self, layout: Layout, relative: str) -> None:
        """Give a `__pycache__` the mode that it should have. If that isn't possible, it is a known finding."""
        path = layout.describe_pyc(relative)
        try:
            is_open = self.writer.in_tree(layout).open_pycache(relative)
        except FileNotFoundError:
            return
        except OSError as error:
            self.results.io_failure(layout, relative, path, error)
            return
        if is_open:
            self.results.observer.opened(path)
        else:
            self.results.tally.findings.append(Finding("unreadable", path, None, known=True))

    def _left_to_compile(self, place: Place, sources: list[Stale]) -> Iterator[Task]:
        """Yields the sources that need more than new headers."""
        for stale in sources:
            left = stale if needs_compiler(stale) else self.writer.refresh(place, stale)
            if left is not None:
                yield place, left
            else:
                self.results.finish(place, stale.name)


def needs_compiler(stale: Stale) -> bool:
    """Whether new headers aren't all that a source needs."""
    # Without a status there are no pycs: nearly always, where there is much to do.
    return stale.status is None or any(state.verdict is not Verdict.REFRESHABLE for state in stale.levels)
