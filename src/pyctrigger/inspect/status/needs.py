"""What moving to another interpreter would cost: the sources that need bytecode, and how long compiling them takes."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any, NamedTuple

from ...interpreter.interpreter import Interpreter
from ...outcome.outcome import Failure, path_fields
from ...outcome.report import Report, interpreter_fields
from ...outcome.states import word_for
from ...pyc.header import Verdict
from ...pyc.names import pyc_suffix
from ...run.plan.steps import Stale
from ...state.records.manifest import Manifest


class Estimate(NamedTuple):
    """The time that compilations will take, by the times of earlier ones; one without is estimated by its size."""

    timed: int = 0
    """Sources with a recorded time."""
    untimed: int = 0
    timed_seconds: float = 0.0
    timed_bytes: int = 0
    untimed_bytes: int = 0

    def plus(self, other: Estimate) -> Estimate:
        """Returns both together."""
        return Estimate(*(mine + its for mine, its in zip(self, other)))  # type: ignore[arg-type]  # each in its place

    def as_dict(self) -> dict[str, Any]:
        """Returns the estimate for JSON."""
        return {"timed": self.timed, "compile_seconds": None if self.seconds is None else round(self.seconds, 6)}

    @property
    def seconds(self) -> float | None:
        """The time of all, one after the other, or None if no time at all is known."""
        if not self.untimed:
            return self.timed_seconds
        if not self.timed_bytes:
            return None
        return self.timed_seconds * (1 + self.untimed_bytes / self.timed_bytes)


class SiteNeeds:
    """What one site directory would need, which is today of `flavour`; `times` has its records."""

    def __init__(self, flavour: str, path: str, times: Manifest, cache_tag: str, levels: tuple[int, ...]) -> None:
        self.flavour = flavour
        self.path = path
        self.sources = 0
        #: How many sources need bytecode, by the reason.
        self.reasons: Counter[str] = Counter()
        self.estimate = Estimate()
        self._times = times
        self._suffixes = {level: pyc_suffix(cache_tag, level) for level in (0, 1, 2)}
        self._levels = levels

    def add(self, pycs: str, stale: Stale) -> None:
        """Count a source whose pycs lie in the directory `pycs`."""
        verdicts = [state.verdict for state in stale.levels if state.verdict is not Verdict.UNPROVEN]
        if not verdicts:
            return
        self.reasons["magic" if verdicts[0] is Verdict.FOREIGN_MAGIC else word_for(verdicts[0])] += 1
        seconds, size = self._seconds_of(pycs, stale.name), stale.size
        one = Estimate(0, 1, 0.0, 0, size) if seconds is None else Estimate(1, 0, seconds, size, 0)
        self.estimate = self.estimate.plus(one)

    def _seconds_of(self, pycs: str, source: str) -> float | None:
        """Returns the recorded time of compiling a source at all levels that are wanted."""
        pages = self._times.pycs
        found = {level: pages.get(pycs, source[:-3] + suffix) for level, suffix in self._suffixes.items()}
        timed = {level: record for level, record in found.items() if record is not None and record.microseconds}
        if not timed:
            return None
        if all(level in timed for level in self._levels):
            # Levels with equal code are compiled once.
            once = {timed[level].body_digest: timed[level].microseconds for level in self._levels}
            return sum(once.values()) / 1e6
        return sum(record.microseconds for record in timed.values()) / len(timed) * len(self._levels) / 1e6

    @property
    def needed(self) -> int:
        """How many sources need bytecode in all."""
        return sum(self.reasons.values())

    def as_dict(self) -> dict[str, Any]:
        """Returns the directory's part of the JSON object."""
        return {
            "flavour": self.flavour,
            **path_fields("site_directory", self.path),
            "sources": self.sources,
            "needed": self.needed,
            "reasons": self.reasons,
            **self.estimate.as_dict(),
        }


class MigrationReport(Report):
    """The answer to `status --against`."""

    def __init__(self, goal: Interpreter, workers: int) -> None:
        super().__init__("status")
        self.goal = goal
        self.workers = workers
        self.sites: list[SiteNeeds] = []
        self.origins: list[Interpreter] = []
        self.unexamined: list[Failure] = []

    @property
    def has_answer(self) -> bool:
        return bool(self.sites) or not self.errors

    @property
    def exit_code(self) -> int:
        return max(super().exit_code, 3 if self.unexamined else 0)

    @property
    def estimate(self) -> Estimate:
        """The estimate for all directories together."""
        return reduce(Estimate.plus, (site.estimate for site in self.sites), Estimate())

    def as_dict(self) -> dict[str, Any]:
        estimate = self.estimate
        seconds = estimate.seconds
        return {
            **super().as_dict(),
            "against": {
                "flavour": self.goal.flavour,
                "interpreter": interpreter_fields(self.goal),
                "from": [{"flavour": each.flavour, "interpreter": interpreter_fields(each)} for each in self.origins],
                "sources": sum(site.sources for site in self.sites),
                "needed": sum(site.needed for site in self.sites),
                **estimate.as_dict(),
                "workers": self.workers,
                "estimated_seconds": None if seconds is None else round(seconds / self.workers, 6),
                "site_directories": [site.as_dict() for site in self.sites],
                "unexamined": [{**path_fields("path", each.path), "message": each.message} for each in self.unexamined],
            },
        }
