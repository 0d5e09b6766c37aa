"""Reads a plan as findings and actions: what `verify` reports, and what `--dry-run` would do. Nothing is written."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from ...outcome.observer import Observer
from ...outcome.outcome import Action, Failure, Finding, Tally, Untried
from ...outcome.report import Taking
from ...outcome.states import STATES, word_for
from ...pyc.header import Verdict
from ...pyc.names import writer_of
from ...tree.layout import Layout
from .disk_usage import FileSizes
from .origins import describe_origin, is_recorded, stored_record
from .proof import Prover, UnprovenError
from .results import Results
from .steps import LevelState, Removal, Stale, Step, Totals, Unwanted
from .survey import Survey

#: Makes of a step what a run would do of it.
Reduce = Callable[[Layout, Step], Step]
#: Why bytecode needs to be written anew although it is well-formed, as `status` counts it.
_REASONS = ("magic", "mtime", "size", "digest", "mode", "rights")
_AS_A_RUN_HAS_IT = {Verdict.UNKNOWN: Verdict.SUSPECT}
#: What `status` counted under one name in its first editions.
_DAMAGED = ("corrupt", "mismatched", "obstructed")


class Inspected:
    """What inspections have found. They add up."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.totals = Totals()
        #: How many pycs are in each state that isn't fresh, and of the stale ones, for which reason.
        self.states: Counter[str] = Counter()
        self.reasons: Counter[str | None] = Counter()
        #: What a purge takes, reported before it takes it, by site directory.
        self.takings: dict[str, Taking] = {}

    def add(self, other: Inspected) -> None:
        """Take in what was found elsewhere."""
        self.tally.add(other.tally)
        self.totals = self.totals.plus(other.totals)
        self.states += other.states
        self.reasons += other.reasons
        self.takings.update(other.takings)

    def summary(self) -> dict[str, Any]:
        """What `status` shows of the tree: sources, and pycs by what is wrong with them."""
        kinds = Counter(finding.kind for finding in self.tally.findings)
        states, excluded = self.states, self.tally.counts.skipped - kinds["uncompilable"]
        return {
            "sources": self.totals.sources,
            "source_bytes": self.totals.source_bytes,
            "pyc_bytes": self.totals.pyc_bytes,
            "fresh": self.tally.counts.fresh,
            "stored": self.totals.stored,
            "stale": {**{reason: self.reasons[reason] for reason in _REASONS}, "magic": states["foreign-magic"]},
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


class Inspection:
    """Reads steps as findings and actions, and counts what `status` shows.

    With `reduce` it foretells a run: steps are reduced to what a run would do of them.
    """

    def __init__(self, survey: Survey, prover: Prover, reduce: Reduce | None = None) -> None:
        self._survey = survey
        self._prover = prover
        self._reduce = reduce
        self._results = Results(Observer())
        self._found = Inspected()
        self._tally = self._found.tally = self._results.tally
        self._untried = Untried()
        self._sizes = FileSizes()

    def collect(self) -> Inspected:
        """Go through all steps of the survey. Returns what they say."""
        survey = self._survey
        for layout, step in survey.steps():
            self._directory(layout, step)
        self._found.totals = survey.total
        self._tally.counts.fresh += survey.total.fresh
        # What wasn't looked into for want of time is named once.
        self._tally.unexamined += [*([self._untried.failure()] if self._untried.count else []), *survey.unexamined]
        self._tally.failures += survey.refused
        return self._found

    def _directory(self, layout: Layout, step: Step) -> None:
        self._results.note(layout, step)
        step = self._reduce(layout, step) if self._reduce else step
        if step.obstacle and not step.goes_on:
            self._found.states["obstructed"] += 1
            self._find("obstructed", layout.describe_pyc(step.relative), None, f"it {step.obstacle}")
        if step.opens_pycache:
            path = layout.describe_pyc(step.relative)
            self._find("unreadable", path, None)
            self._tally.actions.append(Action("chmod", path, "unreadable"))
        for stale in step.stale:
            self._stale(layout, step, stale)
        for unwanted in step.unwanted:
            self._unwanted(layout, step.relative, unwanted)
        for removal in step.removals:
            self._removal(layout, step.relative, removal)
        if step.emptied_pycache:
            self._tally.actions.append(Action("remove-directory", layout.describe_pyc(step.relative), "emptied"))
        if step.emptied:
            self._tally.actions.append(Action("remove-directory", layout.describe_source(step.relative), "emptied"))

    def _stale(self, layout: Layout, step: Step, stale: Stale) -> None:
        levels = stale.levels
        if self._reduce:  # a run compiles what a look only loads
            levels = tuple(each._replace(verdict=_AS_A_RUN_HAS_IT.get(each.verdict, each.verdict)) for each in levels)
        states = self._proven(layout, step.relative, stale._replace(levels=levels))
        if states is None:
            return
        if not states:
            self._tally.counts.fresh += 1
            return
        source = layout.describe_source(step.relative, stale.name)
        for state in states:
            pyc = stale.pyc(state)
            name, reason, sentence = STATES[state.verdict]
            self._found.states[name] += 1
            if name == "stale":
                self._found.reasons[reason] += 1
            if not step.obstacle:
                why = f"{sentence} for level {state.level}" if name == "missing" else sentence
                finding = Finding(name, layout.describe_pyc(step.relative, pyc), source, reason=why)
                self._tally.findings.append(self._with_origin(layout, step.relative, pyc, state, finding))
        reasons = ", ".join(sorted({word_for(state.verdict) for state in states}))
        self._tally.actions.append(Action("compile", source, reasons, tuple(state.level for state in states)))

    def _with_origin(self, layout: Layout, relative: str, pyc: str, state: LevelState, finding: Finding) -> Finding:
        """Returns a finding about other code than the source's with the store that it came from."""
        if state.verdict is not Verdict.MISMATCHED:
            return finding
        record = stored_record(self._survey.knowledge.manifest, layout, relative, pyc)
        if record is None:
            return finding
        why = f"{finding.reason}; {describe_origin(record)}"
        return finding._replace(reason=why, store=record.store, signer=record.signer or None)

    def _proven(self, layout: Layout, relative: str, stale: Stale) -> list[LevelState] | None:
        """Returns the levels of a source that turn out not to be fresh; None if that can't be found out.

        A source that takes more than a limit can't be compared; what others are to blame for wasn't examined.
        """
        source = layout.describe_source(relative, stale.name)
        try:
            return self._prover.prove(layout, relative, stale)
        except UnprovenError as error:
            if not error.lost.is_tried:
                self._untried.add(source)
            elif error.lost.limit:
                self._tally.counts.skipped += 1
                self._find("uncompilable", None, source, error.lost.message, known=error.known)
            else:
                self._tally.unexamined.append(Failure(source, error.lost.kind, error.lost.message))
        return None

    def _unwanted(self, layout: Layout, relative: str, unwanted: Unwanted) -> None:
        """A level that a run once kept is no longer asked for; one that it never did is no fault while it is fresh."""
        states = self._proven(layout, relative, unwanted.stale)
        if states is None or (unwanted.is_owned and not states):
            return  # as its package made it, and nothing of ours removes it
        state = STATES[states[0].verdict] if states else None
        kind = state.name if unwanted.is_owned and state else "unwanted"
        why = "its level isn't configured" + (f", and {state.sentence}" if state else "")
        source = layout.describe_source(relative, unwanted.stale.name)
        is_fault = bool(states) or unwanted.is_recorded
        self._find(kind, layout.describe_pyc(relative, unwanted.pyc), source, why, known=not is_fault)

    def _removal(self, layout: Layout, relative: str, removal: Removal) -> None:
        pyc = layout.describe_pyc(relative, removal.name)
        if removal.kind != "pyc":
            source = layout.describe_source(relative, removal.source) if removal.source else None
            self._find(removal.kind, pyc, source)
        self._tally.actions.append(Action("remove", pyc, removal.kind))
        if self._survey.wanted.purges:
            self._take(layout, relative, removal)

    def _find(
        self, kind: str, pyc: str | None, source: str | None, reason: str | None = None, *, known: bool = False
    ) -> None:
        self._tally.findings.append(Finding(kind, pyc, source, known, reason))

    def _take(self, layout: Layout, relative: str, removal: Removal) -> None:
        """Add a file to what a purge takes. The state's records say what is our own work."""
        path = layout.sources.path
        taking = self._found.takings.get(path) or Taking(layout.describe_source(""))
        is_ours = writer_of(removal.name) is not None
        size = 0
        with contextlib.suppress(FileNotFoundError):
            status = layout.pycs.lstat(layout.pycache(relative), removal.name)
            size = self._sizes.of(status)
            manifest = self._survey.knowledge.manifest
            is_ours |= is_recorded(manifest, layout, relative, removal.name, status)
        self._found.takings[path] = taking._replace(
            pycs=taking.pycs + 1, bytes=taking.bytes + size, by_others=taking.by_others + (not is_ours)
        )
