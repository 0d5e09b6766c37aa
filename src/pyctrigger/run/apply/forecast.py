"""What a run would do: the same judges are asked before each change as in a run, and nothing is changed."""

from __future__ import annotations

import contextlib
import stat

from ...outcome.observer import Observer
from ...outcome.outcome import Failure, Tally
from ...pyc.header import Verdict
from ...tree.layout import Layout
from ...tree.source import SourceRefused, require_readable
from ...tree.writer import refusal_to_remove
from ..plan.results import Denial, Results
from ..plan.steps import Stale, Step
from ..plan.wanted import Wanted
from .untrusted import Gatekeeper


class Forecast:
    """Reduces steps to what a run would do. Keeps what a run says of all that it would leave or refuse."""

    def __init__(self, wanted: Wanted) -> None:
        self._results = Results(Observer())
        self._tally = self._results.tally
        self._wanted = wanted
        self._gate = Gatekeeper(self._tally, wanted)
        #: Directories that stay although the plan empties them, relative to the pycs' tree: those above stay as well.
        self._kept: list[tuple[Layout, str]] = []

    def settle(self) -> Tally:
        """Returns what a run would leave or refuse."""
        self._results.tell_places()
        return self._tally

    def reduce(self, layout: Layout, step: Step) -> Step:
        """Returns what a run would do of a step."""
        self._tally.counts.failed += len(step.refused)
        if step.would_change and not self._may_write(layout, step.place, len(step.stale)):
            self._keep(layout, step)
            return step._replace(stale=[], removals=[], is_closed=False, emptied_pycache=False, emptied=False)
        planned, step, relative = step, self._gate.permitted(layout, step), step.relative
        if planned.removals and not step.removals:
            self._keep(layout, planned)
        readable = [each for each in step.stale if self.can_read(layout, relative, each.name)]
        return step._replace(
            stale=[each for each in readable if self.can_replace(layout, relative, each)],
            emptied_pycache=step.emptied_pycache and self._removes(layout, layout.pycache(relative), relative),
            emptied=step.emptied and self._removes(layout, relative, relative.rpartition("/")[0]),
        )

    def permits(self, layout: Layout, step: Step) -> bool:
        """Whether a run would write pycs into a directory."""
        return self._results.may_write(layout, step.relative) and self._gate.permits_pycs(layout, step)

    def can_read(self, layout: Layout, relative: str, name: str) -> bool:
        """Whether a run could read a source; nothing is said of one that has gone meanwhile."""
        try:
            require_readable(layout.sources, relative, name)
        except (OSError, SourceRefused) as error:
            self._results.unreadable(layout.describe_source(relative, name), error)
            return False
        return True

    def can_replace(self, layout: Layout, relative: str, stale: Stale) -> bool:
        """Whether a run could put its pycs in the place of what has their names."""
        pycache = layout.pycache(relative)
        for level in stale.levels:
            if level.verdict is not Verdict.OBSTRUCTED:
                continue
            pyc = stale.pyc(level)
            with contextlib.suppress(OSError):  # what is gone or unreadable is the run's to report
                if not stat.S_ISDIR(layout.pycs.lstat(pycache, pyc).st_mode):
                    continue
                with layout.pycs.entered(pycache) as directory:
                    refusal = refusal_to_remove(directory, pyc, clears=self._wanted.trust_nothing)
                if refusal is not None:
                    path, remedy = layout.describe_source(relative, stale.name), refusal.has_remedy
                    self._tally.fail(Failure(path, "refused", str(refusal), has_remedy=remedy))
                    return False
        return True

    def _may_write(self, layout: Layout, place: str, sources: int = 0) -> bool:
        """As a run finds it. Looking needs no rights, so what only root may write is foretold as root's run does it."""
        is_denied = self._results.can_write(layout, place) and not layout.may_write(place)
        if is_denied and Denial(layout, place).failure().needs_root:
            return True
        return self._results.may_write(layout, place, sources)

    def _keep(self, layout: Layout, step: Step) -> None:
        if step.removals or step.emptied_pycache or step.emptied:
            self._kept.append((layout, layout.pycache(step.relative)))

    def _removes(self, layout: Layout, directory: str, above: str) -> bool:
        """Whether a run would remove a directory of `above`, or of its pycs."""
        if any(kept is layout and f"{place}/".startswith(f"{directory}/") for kept, place in self._kept):
            return False
        permitted = self._may_write(layout, above) and self._gate.permits(layout, above, source_only=True)
        if not permitted:
            self._kept.append((layout, directory))
        return permitted
