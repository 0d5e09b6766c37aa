"""What a measurement found, as values: every sample, the spread of each state, what stale bytecode costs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

from ..outcome.outcome import path_fields
from ..outcome.report import Report, interpreter_fields, printable
from .measure_trees import STATES, Kind, foreign_magic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..interpreter.interpreter import Interpreter
    from .measure_subject import Subject


class Sample(NamedTuple):
    """One run."""

    state: str
    """Of the bytecode: stale, absent, fresh."""
    round: int
    """Each round runs every state once; the first is 1."""
    seconds: float
    """From the start of the process to its end."""
    cpu_seconds: float
    """The same, of CPU time."""

    def as_dict(self) -> dict[str, Any]:
        """The sample's part of the JSON object."""
        return {
            "state": self.state,
            "round": self.round,
            "seconds": round(self.seconds, 6),
            "cpu_seconds": round(self.cpu_seconds, 6),
        }


class Spread(NamedTuple):
    """What several runs took, in seconds."""

    median: float
    minimum: float
    maximum: float
    deviation: float
    """The median of the distances from the median."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        median = statistics.median(values)
        return cls(median, min(values), max(values), statistics.median(abs(each - median) for each in values))

    def is_beyond(self, other: Spread) -> bool:
        """Whether the medians are further apart than twice what is usual on both sides; no single outlier decides."""
        return self.median - other.median > 2 * (self.deviation + other.deviation)

    def as_dict(self) -> dict[str, float]:
        """The spread by name."""
        return {f"{name}_seconds": round(value, 6) for name, value in self._asdict().items()}


class Measurement(NamedTuple):
    """One subject in one target."""

    interpreter: Interpreter
    subject: Subject
    kind: Kind
    stdlib: bool
    """Whether the standard library's bytecode changes as well."""
    rounds: int
    sources: int
    """How many sources have stale, no, or fresh bytecode; each of them was seen to be refused, or taken."""
    others: int
    """How many have fresh bytecode in every run."""
    left_out: int
    """How many have no bytecode in any run, since pyctrigger writes none for them."""
    samples: tuple[Sample, ...]
    """In the order in which they ran."""

    def spread(self, state: str) -> Spread:
        """The time that runs in this state took."""
        return Spread.of([each.seconds for each in self.samples if each.state == state])

    def cpu(self, state: str) -> Spread:
        """Their CPU time."""
        return Spread.of([each.cpu_seconds for each in self.samples if each.state == state])

    def ratio(self, state: str) -> float:
        """The median beside that with fresh bytecode."""
        return self.spread(state).median / self.spread("fresh").median

    @property
    def cost(self) -> float:
        """Seconds that stale bytecode costs at each start: between medians, so noise may make it negative."""
        return self.spread("stale").median - self.spread("fresh").median

    @property
    def cpu_cost(self) -> float:
        """The same in CPU time, which a busy machine disturbs less."""
        return self.cpu("stale").median - self.cpu("fresh").median

    @property
    def is_clear(self) -> bool:
        """Whether stale bytecode took longer than fresh beyond what runs of one kind differ by, in either time."""
        times = ((self.spread("stale"), self.spread("fresh")), (self.cpu("stale"), self.cpu("fresh")))
        return self.rounds > 1 and any(stale.is_beyond(fresh) for stale, fresh in times)

    def as_dict(self) -> dict[str, Any]:
        """The measurement's part of the JSON object."""
        magic_number = self.interpreter.magic_number
        document: dict[str, Any] = {
            "flavour": self.interpreter.flavour,
            "installation": self.interpreter.installation,
            "interpreter": interpreter_fields(self.interpreter),
            "modules": list(self.subject.modules),
            "arguments": [printable(each) for each in self.subject.arguments],
            "stale": self.kind.value,
            "stale_magic_number": (foreign_magic(magic_number) if self.kind is Kind.MAGIC else magic_number).hex(),
            "stdlib": self.stdlib,
            "runs": self.rounds,
            "sources": self.sources,
            "other_sources": self.others,
            "left_out": self.left_out,
            "cost_seconds": round(self.cost, 6),
            "cost_cpu_seconds": round(self.cpu_cost, 6),
            "clear": self.is_clear,
            "states": {
                state: {
                    **self.spread(state).as_dict(),
                    "median_cpu_seconds": round(self.cpu(state).median, 6),
                    "ratio": round(self.ratio(state), 4),
                }
                for state in STATES
            },
            "samples": [sample.as_dict() for sample in self.samples],
        }
        document.update({"script": None} if self.subject.script is None else path_fields("script", self.subject.script))
        return document


class MeasureReport(Report):
    """What `measure` found."""

    def __init__(self) -> None:
        super().__init__("measure")
        self.measurements: list[Measurement] = []

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "measurements": [each.as_dict() for each in self.measurements]}
