"""The same plan, read as findings: what `verify` reports, and what `--dry-run` would do. Nothing is written."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...outcome.outcome import Action, Failure, Finding, Link, Tally, Untried
from ...outcome.report import Taking
from ...outcome.states import STATES, word_for
from ...pyc.header import Verdict
from ...pyc.names import writer_of
from ...stamps import inode_of
from ...state.records.manifest import Manifest
from ...state.records.record import digest_of_pieces, identity_of
from ...tree.layout import Layout
from ...tree.source import LARGEST_SOURCE, SourceRefused, digest_pyc
from .proof import UnprovenError
from .steps import LevelState, Removal, Stale, Step, Totals, Unwanted

#: The levels of a source that aren't fresh, once the target has told of the doubtful ones.
Prove = Callable[[Layout, str, Stale], "list[LevelState]"]

#: Makes of a step what a run would do of it.
Reduce = Callable[[Layout, Step], Step]

#: Why bytecode needs to be written anew although it is well-formed, as `status` counts it.
_REASONS = ("magic", "mtime", "size", "digest", "mode", "rights")
_AS_A_RUN_HAS_IT = {Verdict.UNKNOWN: Verdict.SUSPECT}
_DOUBTS = frozenset({Verdict.UNPROVEN, Verdict.UNKNOWN, Verdict.SUSPECT})
#: What `status` counted under one name in its first editions.
_DAMAGED = ("corrupt", "mismatched", "obstructed")


class Inspected(NamedTuple):
    """What an inspection has found, to be added to another one's."""

    tally: Tally
    totals: Totals
    states: Counter[str]
    reasons: Counter[str | None]


class Inspection:
    """Reads steps as findings and actions, and counts what `status` shows.

    With `reduce` it foretells a run: steps are reduced to what a run would do of them.
    """

    def __init__(self, prove: Prove, *, reduce: Reduce | None = None, takings: Takings | None = None) -> None:
        self._prove = prove
        self._takings = takings
        self._reduce = reduce
        self.tally = Tally()
        self.totals = Totals()
        #: How many pycs are in each state that isn't fresh, and of the stale ones, for which reason.
        self._states: Counter[str] = Counter()
        self._reasons: Counter[str | None] = Counter()
        self._untried = Untried()

    def read(self, steps: Iterable[tuple[Layout, Step]]) -> None:
        """Go through all steps."""
        for layout, step in steps:
            self._directory(layout, step)

    def tell_untried(self) -> None:
        """Name once what wasn't looked into for want of time."""
        if self._untried.count:
            self.tally.unexamined.append(self._untried.failure())

    @property
    def found(self) -> Inspected:
        """What it has found."""
        return Inspected(self.tally, self.totals, self._states, self._reasons)

    def add(self, other: Inspected) -> None:
        """Take in what another one has found elsewhere."""
        self.tally.add(other.tally)
        self.totals = self.totals.plus(other.totals)
        self._states += other.states
        self._reasons += other.reasons

    def summary(self) -> dict[str, Any]:
        """What `status` shows of the tree: sources, and pycs by what is wrong with them."""
        kinds = Counter(finding.kind for finding in self.tally.findings)
        states, excluded = self._states, self.tally.counts.skipped - kinds["uncompilable"]
        return {
            "sources": self.totals.sources,
            "source_bytes": self.totals.source_bytes,
            "pyc_bytes": self.totals.pyc_bytes,
            "fresh": self.tally.counts.fresh,
            "stale": {**{reason: self._reasons[reason] for reason in _REASONS}, "magic": states["foreign-magic"]},
            "foreign_magic": states["foreign-magic"],
            "missing": states["missing"],
            **{state: states[state] for state in _DAMAGED},
            "damaged": sum(states[state] for state in _DAMAGED),
            "unreadable": kinds["unreadable"],
            "uncompilable": kinds["uncompilable"],
            "excluded": excluded,
            "refused": len(self.tally.failures),
            "orphans": kinds["orphan"],
            "residue": kinds["residue"],
            "unwanted": kinds["unwanted"],
        }

    def count(self, totals: Totals) -> None:
        """Take in what was seen in all."""
        self.totals = self.totals.plus(totals)
        self.tally.counts.fresh += totals.fresh

    def _directory(self, layout: Layout, step: Step) -> None:
        self._tell(layout, step)
        step = self._reduce(layout, step) if self._reduce else step
        if step.obstacle and not step.goes_on:
            self._states["obstructed"] += 1
            self._find("obstructed", layout.describe_pyc(step.relative), None, f"it {step.obstacle}")
        if step.opens_pycache:
            path = layout.describe_pyc(step.relative)
            self._find("unreadable", path, None)
            self.tally.actions.append(Action("chmod", path, "unreadable"))
        for stale in step.stale:
            self._stale(layout, step, stale)
        for unwanted in step.unwanted:
            self._unwanted(layout, step.relative, unwanted)
        for removal in step.removals:
            self._removal(layout, step.relative, removal)
        if step.emptied_pycache:
            self._empty(layout.describe_pyc(step.relative))
        if step.emptied:
            self._empty(layout.describe_source(step.relative))

    def _tell(self, layout: Layout, step: Step) -> None:
        """Take in what is so, whatever a run would do."""
        if step.unexamined is not None:
            self.tally.unexamined.append(Failure(layout.describe_source(step.relative), "io", step.unexamined))
        if step.forbidden is not None:
            self.tally.failures.append(Failure(layout.describe_source(step.relative), "refused", step.forbidden))
        self.tally.counts.skipped += len(step.skipped)
        for name, reason in step.skipped:
            if reason == "uncompilable":
                self._find("uncompilable", None, layout.describe_source(step.relative, name), known=True)
        for name, reason in step.refused:
            self.tally.failures.append(Failure(layout.describe_source(step.relative, name), "refused", reason))
        self.tally.links += [Link(layout.describe_source(step.relative, name), goal) for name, goal in step.links]

    def _stale(self, layout: Layout, step: Step, stale: Stale) -> None:
        states = list(stale.levels)
        if self._reduce:  # a run compiles what a look only loads
            states = [each._replace(verdict=_AS_A_RUN_HAS_IT.get(each.verdict, each.verdict)) for each in states]
        if any(state.verdict in _DOUBTS for state in states):
            try:
                states = self._prove(layout, step.relative, stale._replace(levels=tuple(states)))
            except UnprovenError as error:
                self._unproven(layout.describe_source(step.relative, stale.name), error)
                return
        if not states:
            self.tally.counts.fresh += 1
            return
        source = layout.describe_source(step.relative, stale.name)
        for state in states:
            name, reason, sentence = STATES[state.verdict]
            self._states[name] += 1
            if name == "stale":
                self._reasons[reason] += 1
            if not step.obstacle:
                why = f"{sentence} for level {state.level}" if name == "missing" else sentence
                self._find(name, layout.describe_pyc(step.relative, state.pyc), source, why)
        reasons = ", ".join(sorted({word_for(state.verdict) for state in states}))
        self.tally.actions.append(Action("compile", source, reasons, tuple(state.level for state in states)))

    def _unproven(self, source: str, error: UnprovenError) -> None:
        """A source that takes more than a limit can't be compared; what others are to blame for wasn't examined."""
        if not error.lost.is_tried:
            self._untried.add(source)
        elif error.lost.limit:
            self.tally.counts.skipped += 1
            self._find("uncompilable", None, source, error.lost.message, known=error.known)
        else:
            self.tally.unexamined.append(Failure(source, error.lost.kind, error.lost.message))

    def _unwanted(self, layout: Layout, relative: str, unwanted: Unwanted) -> None:
        """A level that a run once kept is no longer asked for; one that it never did is no fault while it is fresh."""
        states = list(unwanted.stale.levels)
        if any(state.verdict in _DOUBTS for state in states):
            try:
                states = self._prove(layout, relative, unwanted.stale)
            except UnprovenError as error:
                self._unproven(layout.describe_source(relative, unwanted.stale.name), error)
                return
        if unwanted.is_owned and not states:
            return  # as its package made it, and nothing of ours removes it
        state = STATES[states[0].verdict] if states else None
        kind = state.name if unwanted.is_owned and state else "unwanted"
        why = "its level isn't asked for" + (f", and {state.sentence}" if state else "")
        source = layout.describe_source(relative, unwanted.stale.name)
        is_fault = bool(states) or unwanted.is_recorded
        self._find(kind, layout.describe_pyc(relative, unwanted.pyc), source, why, known=not is_fault)

    def _removal(self, layout: Layout, relative: str, removal: Removal) -> None:
        pyc = layout.describe_pyc(relative, removal.name)
        if removal.kind != "pyc":
            source = layout.describe_source(relative, removal.source) if removal.source else None
            self._find(removal.kind, pyc, source)
        self.tally.actions.append(Action("remove", pyc, removal.kind))
        if self._takings is not None:
            self._takings.add(layout, relative, removal)

    def _empty(self, path: str) -> None:
        self.tally.actions.append(Action("remove-directory", path, "emptied"))

    def _find(
        self, kind: str, pyc: str | None, source: str | None, reason: str | None = None, *, known: bool = False
    ) -> None:
        self.tally.findings.append(Finding(kind, pyc, source, known, reason))


class Takings:
    """What a purge takes, told before it takes it, by site directory. The state's records say what is our own work."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._found: dict[str, Taking] = {}
        #: Equal code at several levels is one file with several names, and counts once.
        self._linked: set[tuple[int, int]] = set()

    def add(self, layout: Layout, relative: str, removal: Removal) -> None:
        """Take in one file."""
        found = self._found.get(layout.sources.path) or Taking(layout.describe_source(""))
        is_ours = writer_of(removal.name) is not None
        size = 0
        with contextlib.suppress(FileNotFoundError):
            status = layout.pycs.lstat(layout.pycache(relative), removal.name)
            inode = inode_of(status)
            size = 0 if inode in self._linked else status.st_size
            if status.st_nlink > 1:
                self._linked.add(inode)
            is_ours |= self._is_recorded(layout, relative, removal.name, status)
        self._found[layout.sources.path] = found._replace(
            pycs=found.pycs + 1, bytes=found.bytes + size, by_others=found.by_others + (not is_ours)
        )

    def _is_recorded(self, layout: Layout, relative: str, name: str, status: os.stat_result) -> bool:
        """Whether a pyc is what we have written, by the file or, where it was copied back or linked, by its bytes."""
        record = self._manifest.pycs.get(layout.describe_pyc(relative), name)
        if record is None or not record.microseconds:
            return False  # without a time it is of somebody else's pyc, which a run has looked at
        if record.pyc == identity_of(status):
            return True
        pycache = layout.pycache(relative)
        try:
            found = digest_pyc(layout.pycs, pycache, name, LARGEST_SOURCE, len(record.header), digest_of_pieces)
        except (OSError, SourceRefused):
            return False
        return (found.header, found.digest) == (record.header, record.body_digest)

    def by_site(self) -> list[Taking]:
        """Each site directory that loses something."""
        return list(self._found.values())
