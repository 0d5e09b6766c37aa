"""What is to be measured, and what was found: every sample, the spread of each state, what stale bytecode costs."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import RefusedError, UsageError
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import own_directories
from ...interpreter.trust import account_for
from ...outcome.outcome import path_fields
from ...outcome.report import Report, interpreter_fields, printable
from ...run.scope.places import no_directory
from ...tree.source import LARGEST_SOURCE
from .trees import STATES, Kind, foreign_magic


class MeasureRequest(NamedTuple):
    """One call of `pyctrigger measure`: modules, or a script with its arguments, and how they are measured."""

    modules: tuple[str, ...] = ()
    script: str | None = None
    """Absolute path."""
    arguments: tuple[str, ...] = ()
    """The script's."""
    pythons: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Environments, whose own interpreters run."""
    site_dirs: tuple[str, ...] = ()
    """These instead of the target's own."""
    kind: Kind = Kind.MAGIC
    stdlib: bool = False
    """Whether the standard library's bytecode changes as well."""
    rounds: int = 5
    timeout: float = 60.0
    """Seconds for one process."""
    config: str | None = None

    def __str__(self) -> str:
        return f"import {', '.join(self.modules)}" if self.script is None else f"--script {self.script}"

    def check(self) -> None:
        """Raise UsageError for what can't be measured, or doesn't go together."""
        if self.script is None and not self.modules:
            raise UsageError("nothing to measure", hint="name the modules to import, or a script with --script FILE")
        for name in self.modules:
            if not all(part.isidentifier() for part in name.split(".")):
                raise UsageError(
                    f"{name}: not a module name", hint="name modules as an import statement does: PIL, not Pillow"
                )
        if self.script is not None and not os.path.isfile(self.script):
            raise UsageError(f"--script {self.script}: no such file", hint="name a Python program")
        for option, paths in (("--site-dir", self.site_dirs), ("--prefix", self.prefixes)):
            for path in paths:
                if not os.path.isdir(path):
                    raise no_directory(option, path)
        if not self.pythons and not self.prefixes:
            raise UsageError("measure needs --python V or --prefix DIR", hint="name the interpreter to start")
        if self.site_dirs and self.prefixes:
            raise UsageError("--site-dir and --prefix contradict each other", hint="leave one of them out")
        if len(self.pythons) > 1 and self.prefixes:
            raise UsageError("--prefix allows only one --python", hint="the environment's own interpreter is started")

    def require_own(self, interpreter: Interpreter) -> None:
        """Raise RefusedError where root would run what belongs to somebody else, or what others may change."""
        account = interpreter.account
        own = filter(os.path.isdir, own_directories(interpreter).packages)
        for path in self.site_dirs or own:
            account = account or account_for(path, "site directory")
        if self.script is not None:
            account = account or account_for(self.script, "script")
        if account is not None:
            raise RefusedError(
                f"root runs no modules that account {account.uid} could change", hint="run it as that account"
            )

    def require_bounded(self, interpreter: Interpreter) -> None:
        """Raise UsageError for what the target would read whole, and of which no run makes bytecode."""
        directories = own_directories(interpreter)
        places = [*(self.site_dirs or directories.packages), *directories.library]
        stems = [os.path.join(place, *name.split(".")) for name in self.modules for place in places]
        sources = [each for stem in stems for each in (f"{stem}.py", f"{stem}/__init__.py")]
        for path in [*sources, *filter(None, [self.script])]:
            with contextlib.suppress(OSError):
                if os.stat(path).st_size > LARGEST_SOURCE:
                    raise UsageError(f"{path}: larger than {LARGEST_SOURCE >> 20} MiB", hint="measure something else")


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
        return {**self._asdict(), "seconds": round(self.seconds, 6), "cpu_seconds": round(self.cpu_seconds, 6)}


class Spread(NamedTuple):
    """What several runs took, in seconds."""

    median: float
    minimum: float
    maximum: float
    deviation: float
    """The median of the distances from the median."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Returns the spread of at least one value."""
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
    request: MeasureRequest
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
        return self.request.rounds > 1 and any(stale.is_beyond(fresh) for stale, fresh in times)

    def as_dict(self) -> dict[str, Any]:
        """The measurement's part of the JSON object."""
        request, magic_number = self.request, self.interpreter.magic_number
        return {
            "flavour": self.interpreter.flavour,
            "installation": self.interpreter.installation_in(None, self.interpreter.environment),
            "interpreter": interpreter_fields(self.interpreter),
            "modules": list(request.modules),
            **path_fields("script", request.script),
            "arguments": [printable(each) for each in request.arguments],
            "stale": request.kind.value,
            "stale_magic_number": (foreign_magic(magic_number) if request.kind is Kind.MAGIC else magic_number).hex(),
            "stdlib": request.stdlib,
            "runs": request.rounds,
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


class MeasureReport(Report):
    """What `measure` found."""

    def __init__(self) -> None:
        super().__init__("measure")
        self.measurements: list[Measurement] = []

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "measurements": [each.as_dict() for each in self.measurements]}
