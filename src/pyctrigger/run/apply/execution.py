"""Carrying out a plan: sweep and compile as the steps come, under the installation's lock, into one tally."""

from __future__ import annotations

import contextlib
import time
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING

from ...outcome.outcome import Failure, Finding, Link, Tally
from ...pyc.header import Verdict
from ...state.records.manifest import Uncompilable
from ...state.records.record import identity_at
from ...tree.layout import Place
from ...tree.sweep import remove_package, remove_pycache
from ..plan.results import Results
from ..plan.steps import DirectoryPlan, Emptied, Refused, Totals, Unexamined
from ..plan.untrusted import Gatekeeper
from .queue import Task, largest_first

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...interpreter.interpreter import Interpreter
    from ...outcome.observer import Observer
    from ...state.records.manifest import Manifest
    from ...tree.layout import Layout
    from ..plan.steps import Stale, Step
    from ..plan.wanted import Wanted
    from .compile import Compilation
    from .refresh import Refresher
    from .warm_pool import WarmPool


#: Sources that are held at most so that a watcher knows how many there are: some 50 MB of names and status.
_MOST_COUNTED = 50_000


class Execution:
    """Does what the steps of one flavour's plans say.

    `enter` is called before the first change, and takes the lock. `open_pool` gives what compiles the sources of an
    owner's trees, and of nobody else's; it is started before that where there is a source to compile. `owns` says
    whether a package owns a pyc, by its directory and name.
    """

    def __init__(  # noqa: PLR0913 - what a run has, each once
        self,
        interpreter: Interpreter,
        wanted: Wanted,
        manifest: Manifest,
        observer: Observer,
        *,
        enter: Callable[[], None],
        open_pool: Callable[[int], WarmPool],
        owns: Callable[[str, str], bool],
    ) -> None:
        self._interpreter = interpreter
        self._wanted = wanted
        self._manifest = manifest
        self._observer = observer
        self._enter = enter
        self._open_pool = open_pool
        self._owns = owns
        self._results = Results(observer)
        self._gate = Gatekeeper(
            self._results.tally, allows_all=wanted.trust_all_directories, tells_shared=wanted.tells_shared
        )
        self._compilation: Compilation | None = None
        self._refreshing: Refresher | None = None
        #: What is read or looked at is so after this.
        self._began = time.time_ns()
        self._known: int | None = None
        self._done = 0
        self._has_noted_lacks = False
        self.tally = self._results.tally

    def run(self, steps: Iterable[tuple[Layout, Step]]) -> Tally:
        """Carry out all steps. Raises PyctriggerError where the machinery fails; what was done stays done."""
        for owner, of_one_owner in groupby(steps, lambda step: step[0].sources.owner):
            with self._open_pool(owner) as self._pool:
                tasks = self._counted(self._tasks(of_one_owner))
                first = next(tasks, None)
                if first is not None:
                    self._work(chain([first], tasks))
        return self.tally

    def _counted(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """The same tasks. For a watcher all of them are found first, unless they are more than should be held."""
        self._known, self._done = None, 0
        if not self._observer.is_watched:
            return tasks
        found = list(islice(tasks, _MOST_COUNTED))
        if len(found) < _MOST_COUNTED:
            self._known = len(found)
        return chain(found, tasks)

    def _work(self, tasks: Iterator[Task]) -> None:
        compilation = self._compiler()

        with self._pool.take() as pool:
            for job, answer in pool.map(compilation.jobs(largest_first(tasks), self._progress)):
                compilation.finish(job, answer)
                self._progress()
            compilation.tell_untried()
            self._note_lacks(pool.lacks)

    def _note_lacks(self, calls: set[str]) -> None:
        if calls and not self._has_noted_lacks:
            self._has_noted_lacks = True
            refused = ", ".join(sorted(calls))
            self.tally.notices.append(f"this system refuses {refused}: a source that takes too much is stopped later")

    def settle(self) -> bool:
        """Bring what was written to the disk, while the trees are still open; whether all of it is there."""
        self._results.tell_places()
        self._gate.tell_shared()
        return self._results.sync()

    # -- what the plan says, in its order ------------------------------------------------------------------------

    def _tasks(self, steps: Iterable[tuple[Layout, Step]]) -> Iterator[Task]:
        for layout, step in steps:
            if isinstance(step, DirectoryPlan):
                self._note(layout, step)
                self._sweep(layout, step)
                self._open_pycache(layout, step)
                yield from self._compile(layout, step)
            elif isinstance(step, Emptied):
                self._remove_directory(layout, step)
            elif isinstance(step, Totals):
                self.tally.counts.fresh += step.fresh
            elif isinstance(step, Refused):
                self.tally.failures.append(Failure(layout.describe_source(step.relative), "refused", step.reason))
            elif isinstance(step, Unexamined):
                self._unexamined(layout, step)

    def _note(self, layout: Layout, plan: DirectoryPlan) -> None:
        for name, reason in plan.skipped:
            path = layout.describe_source(plan.relative, name)
            if reason == "uncompilable":
                self._results.uncompilable(path)
            else:
                self.tally.counts.skipped += 1
                self._observer.skipped(path, reason)
        for pyc, source in plan.owned:
            owned = layout.describe_pyc(plan.relative, pyc)
            self.tally.findings.append(
                Finding("stale", owned, layout.describe_source(plan.relative, source), True, "a package owns it")
            )
        self.tally.counts.skipped += len({source for _, source in plan.owned})
        for name, reason in plan.refused:
            self.tally.fail(Failure(layout.describe_source(plan.relative, name), "refused", reason))
            self._remember_link(layout, plan.relative, name, "refused", reason)
        for name, goal in plan.links:
            self.tally.links.append(Link(layout.describe_source(plan.relative, name), goal))
            self._remember_link(layout, plan.relative, name, "link", goal)

    def _remember_link(self, layout: Layout, relative: str, name: str, kind: str, reason: str) -> None:
        """Remember of a link that isn't followed that this was told; it is told again when the link itself changes."""
        self._enter()
        path = layout.describe_source(relative, name)
        with contextlib.suppress(OSError):
            status = layout.sources.lstat(relative, name)
            magic = self._interpreter.magic_number
            self._manifest.learn(path, Uncompilable(identity_at(status, self._began), b"", magic, kind, reason))

    def _unexamined(self, layout: Layout, step: Unexamined) -> None:
        self.tally.unexamined.append(Failure(layout.describe_source(step.relative), "io", step.reason))

    # -- sweeping ------------------------------------------------------------------------------------------------

    def _sweep(self, layout: Layout, plan: DirectoryPlan) -> None:
        if (
            not plan.removals
            or not self._may_write(layout, plan.relative)
            or not self._gate.permits(layout, plan.relative)
        ):
            return
        doomed = [(each.name, each.source if each.kind == "orphan" else None) for each in plan.removals]
        kinds = {each.name: each.kind for each in plan.removals}
        self._results.remove(Place(layout, plan.relative), doomed, self._manifest, kinds)
        if not plan.stale:
            self._remove_emptied(layout, plan.relative)

    def _remove_emptied(self, layout: Layout, relative: str) -> None:
        """Remove what the last removal left empty, upwards.

        When several flavours sweep at once, each one's plan sees the pycs of the others: only rmdir(2) can tell which
        of them removed the last one.
        """
        if layout.has_prefix or not self._remove_directory(layout, Emptied(relative, pycache=True)):
            return
        while relative and self._remove_directory(layout, Emptied(relative, pycache=False)):
            relative = relative.rpartition("/")[0]

    def _remove_directory(self, layout: Layout, step: Emptied) -> bool:
        remove, path, above = (
            (remove_pycache, layout.describe_pyc(step.relative), step.relative)
            if step.pycache
            else (remove_package, layout.describe_source(step.relative), step.relative.rpartition("/")[0])
        )
        if not self._may_write(layout, above) or not self._gate.permits(layout, above, source_only=True):
            return False
        try:
            if not remove(layout, step.relative):
                return False
        except OSError as error:
            self._results.io_failure(layout, above, path, error)
            return False
        self.tally.counts.removed_directories += 1
        self._observer.removed(path, "emptied")
        return True

    def _open_pycache(self, layout: Layout, plan: DirectoryPlan) -> None:
        """Give a `__pycache__` the mode that it should have; where it can't be had, that is told and no failure."""
        relative, path = plan.relative, layout.describe_pyc(plan.relative)
        if not plan.is_closed or plan.goes_on or not self._may_write(layout, relative):
            return
        if not self._gate.permits(layout, relative):
            return
        try:
            is_open = self._compiler().writer(layout).open_pycache(relative)
        except FileNotFoundError:
            return
        except OSError as error:
            self._results.io_failure(layout, relative, path, error)
            return
        if is_open:
            self._observer.opened(path)
        else:
            self.tally.findings.append(Finding("unreadable", path, None, known=True))

    # -- compiling -----------------------------------------------------------------------------------------------

    def _compile(self, layout: Layout, plan: DirectoryPlan) -> Iterator[Task]:
        if not plan.stale:
            return
        if not self._results.may_write(layout, plan.relative, len(plan.stale)):
            return
        if any(map(_needs_compiler, plan.stale)):
            self._pool.start()
        self._enter()
        if plan.obstacle and not self._wanted.trust_nothing:
            path = layout.describe_pyc(plan.relative)
            if not plan.goes_on:
                self.tally.failures.append(Failure(path, "refused", f"{plan.obstacle}; pyctrigger repair replaces it"))
            self.tally.counts.failed += len(plan.stale)
            return
        place = Place(layout, plan.relative)
        for stale in plan.stale:
            left = self._left_to_compile(Task(place, stale))
            if left is not None:
                yield left

    def _left_to_compile(self, task: Task) -> Task | None:
        """The source, if new headers aren't all that it needs."""
        if not self._gate.permits(task.place.layout, task.place.relative):
            self.tally.counts.failed += 1
            return None
        return task if _needs_compiler(task.stale) else self._refresh(task)

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
            self.tally.counts.refreshed += 1
            self._observer.refreshed(place.source(task.stale.name))
        return left

    def _compiler(self) -> Compilation:
        if self._compilation is None:
            from .compile import Compilation  # it brings the workers, which an idle run never needs

            self._compilation = Compilation(self._interpreter, self._wanted, self._manifest, self._results, self._owns)
        return self._compilation

    def _refresher(self) -> Refresher:
        if self._refreshing is None:
            from .refresh import Refresher

            self._refreshing = Refresher(
                self._wanted, self._manifest, lambda layout: self._compiler().writer(layout), self._began
            )
        return self._refreshing

    # -- small things --------------------------------------------------------------------------------------------

    def _may_write(self, layout: Layout, relative: str) -> bool:
        """See whether the place can be written, and by us, and take the lock."""
        if not self._results.may_write(layout, relative):
            return False
        self._enter()
        return True

    def _progress(self) -> None:
        self._done += 1
        self._observer.progress(self._done, self._known)


def _needs_compiler(stale: Stale) -> bool:
    return any(state.verdict is not Verdict.REFRESHABLE for state in stale.levels)
