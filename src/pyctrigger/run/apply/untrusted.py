"""Refuses directories that the wrong accounts may write, and reports each once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from ...errors import name_few
from ...outcome.outcome import Failure, Tally
from ...pyc.names import PYCACHE
from ...tree.directory import Tree
from ...tree.layout import Layout
from ...tree.listing import source_owners
from ...tree.opened import reason_to_distrust, writers_beside_root
from ..plan.steps import Step
from ..plan.wanted import Wanted

_CONFIGURED = 'untrusted_directories = "allow" in the configuration permits it'


class Gatekeeper:
    """Checks a directory before the first change in it. Adds what it refuses to `tally`."""

    def __init__(self, tally: Tally, wanted: Wanted) -> None:
        self._tally = tally
        self._wanted = wanted
        #: By group or account: the directories of root's that it may write, and in which something was changed.
        self._shared: dict[str, set[str]] = {}
        self._refused: set[str] = set()
        #: The last one that may be changed, with its pycs: what is done in it comes in a row.
        self._entered: tuple[Layout, str] | None = None

    def permitted(self, layout: Layout, step: Step) -> Step:
        """Returns what of a step may be done to files."""
        if step.removals and not self.permits(layout, step.relative):
            step = step._replace(removals=[])
        if step.stale and not self.permits_pycs(layout, step):
            self._tally.counts.failed += len(step.stale)
            step = step._replace(stale=[])
        if step.opens_pycache and not self.permits(layout, step.relative):
            step = step._replace(is_closed=False)
        return step

    def permits(self, layout: Layout, relative: str, *, source_only: bool = False) -> bool:
        """Whether the bytecode of a source directory may be changed; if `source_only`, the entries of that directory.

        With a pycache prefix, the owner of that tree counts as the owner of the sources.
        """
        if self._wanted.trust_all_directories or (self._entered == (layout, relative) and not source_only):
            return True
        if layout.has_prefix:
            return self._may_change(layout.pycs, layout.pycache(relative), lambda: {layout.pycs.owner})

        def owners() -> set[int]:
            with layout.sources.entered(relative) as directory:
                return source_owners(directory) or {layout.sources.owner_at(relative)}

        permitted = self._may_change(layout.sources, relative, owners)
        if permitted and not source_only:
            permitted = self._may_change(layout.pycs, layout.pycache(relative), owners)
            # Who may make a `__pycache__` that isn't there yet was judged with the directory.
            self._entered = (layout, relative) if permitted else None
        return permitted

    def permits_pycs(self, layout: Layout, step: Step) -> bool:
        """Whether a step's pycs may be written; a repair replaces what is in the way of their directory."""
        if not step.obstacle or self._wanted.trust_nothing:
            return self.permits(layout, step.relative)
        if not step.goes_on:
            reason = f"it {step.obstacle}; pyctrigger repair replaces it"
            path = layout.describe_pyc(step.relative)
            self._tally.failures.append(Failure(path, "refused", reason, has_remedy=True))
        return False

    def take_shared(self) -> dict[str, set[str]]:
        """Returns who else may write which directories, for the process that reports it."""
        shared, self._shared = self._shared, {}
        return shared

    def add_shared(self, shared: dict[str, set[str]]) -> None:
        """Add what another process has taken."""
        for who, paths in shared.items():
            self._shared.setdefault(who, set()).update(paths)

    def report_shared(self) -> None:
        """Report once who else may write directories of root's that were changed: they are trusted like root."""
        for who, found in self._shared.items():
            # Whether a directory's `__pycache__` was there when it was judged depends on which lane came first.
            paths = {path for path in found if os.path.dirname(path) not in found or os.path.basename(path) != PYCACHE}
            they = "its members decide" if who.startswith("group") else "it decides"
            self._tally.notices.append(
                f"{who} may write {name_few(sorted(paths), 1)}, which is root's: {they} what root imports from "
                "there; chmod g-w it unless that is meant"
            )
        self._shared.clear()

    def _may_change(self, tree: Tree, relative: str, owners: Callable[[], set[int]]) -> bool:
        path = tree.describe(relative)
        if path in self._refused:
            return False
        try:
            directory = tree.directory(relative)
        except OSError:
            return True  # it isn't there, or is no directory: whoever makes or opens it says what is wrong
        try:
            reason = reason_to_distrust(directory, owners, tree.account_at(relative))
        except OSError as error:
            reason = f"it can't be examined ({error.strerror})"
        if reason is None and tree.exposed:
            exposed = tree.exposed
            reason = f"everybody may write {exposed} on the way to it, without a sticky bit; chmod o-w {exposed}"
        if reason is None:
            status = os.fstat(directory)
            if self._wanted.reports_shared and status.st_uid == 0 and status.st_mode & stat.S_IWGRP:
                for who in writers_beside_root(directory, status):
                    self._shared.setdefault(who, set()).add(path)
            return True
        self._refused.add(path)
        self._tally.failures.append(Failure(path, "refused", f"{reason}, or {_CONFIGURED}"))
        return False
