"""`measure`: what stale bytecode costs at start-up, in fresh processes of a target whose files stay untouched."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from typing import TYPE_CHECKING, NamedTuple

from ..errors import (
    InterpreterError,
    MeasurementError,
    NoEnvironmentError,
    PyctriggerError,
    RefusedError,
    ShortageError,
    UsageError,
)
from ..interpreter.flavour import Flavour
from ..run.scope import config as configuration
from ..run.scope.interpreters import find_interpreters
from ..run.scope.request import Request, Scope, Work
from ..run.scope.target import no_directory
from ..state.probed import ProbedInterpreters
from .measure_barrier import has_barrier
from .measure_process import run_timed
from .measure_report import Measurement, MeasureReport, Sample
from .measure_subject import Starter, Subject
from .measure_trees import STATES, Kind, Trees

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..interpreter.interpreter import Interpreter
    from ..run.scope.config import Settings
    from ..run.scope.interpreters import Found

#: How often sources may turn up that no run before has imported.
_MOST_SURVEYS = 3
#: Seconds that a file system's clock may be behind ours.
_CLOCK_STEP = 0.02


class MeasureRequest(NamedTuple):
    """One call of `pyctrigger measure`."""

    subject: Subject
    pythons: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Environments, whose own interpreters run."""
    kind: Kind = Kind.MAGIC
    stdlib: bool = False
    rounds: int = 5
    timeout: float = 60.0
    """Seconds for one process."""
    config: str | None = None

    def check(self) -> None:
        """Raise UsageError for what doesn't go together."""
        self.subject.check()
        if not self.pythons and not self.prefixes:
            raise UsageError("measure needs --python V or --prefix DIR", hint="say which interpreter is to start")
        for path in self.prefixes:
            if not os.path.isdir(path):
                raise no_directory("--prefix", path)
        if self.subject.site_dirs and self.prefixes:
            raise UsageError("--site-dir and --prefix contradict each other", hint="leave one of them out")
        if len(self.pythons) > 1 and self.prefixes:
            raise UsageError("--prefix goes with one --python at most", hint="its own interpreter is what starts")


class Watcher:
    """Told how a measurement goes on. This one listens to nothing."""

    def started(self, interpreter: Interpreter) -> None:
        """The next target's turn."""

    def sample(self, sample: Sample) -> None:
        """One run has been timed."""

    def progress(self, done: int, known: int) -> None:
        """So many processes have ended, of so many."""


def measure(request: MeasureRequest, watcher: Watcher | None = None) -> MeasureReport:
    """Measure in every target of the request; what kept one from being measured is in the report.

    Raises UsageError, ConfigurationError and RefusedError for what concerns the request as a whole.
    """
    request.check()
    settings = configuration.load(request.config)
    report = MeasureReport()
    if os.geteuid() == 0 and not has_barrier():
        raise RefusedError(
            "as root nothing here could keep modules from writing into the installation (no Landlock)",
            hint="run it as an ordinary account",
        )
    if not has_barrier():
        report.notices.append("this system has no Landlock to keep modules from writing; what they change will be told")
    for found in _interpreters(request, settings):
        try:
            if isinstance(found, PyctriggerError):
                raise found
            request.subject.require_own(found)
            request.subject.require_bounded(found)
            (watcher or Watcher()).started(found)
            session = _Session(request, settings, found, watcher or Watcher())
            report.measurements.append(session.run(report.notices))
        except PyctriggerError as error:
            report.errors.append(error)
    return report


def _interpreters(request: MeasureRequest, settings: Settings) -> Iterator[Interpreter | PyctriggerError]:
    """The interpreters of the environments, or those that were named; an environment's is of the flavour named."""
    environments = Request(Work.STATUS, Scope(prefixes=request.prefixes))
    named = Request(Work.STATUS, Scope(pythons=request.pythons))
    for found in find_interpreters(environments if request.prefixes else named, settings, ProbedInterpreters(None)):
        yield _require_named(found, request) if request.prefixes else found


def _require_named(found: Found, request: MeasureRequest) -> Found:
    if isinstance(found, PyctriggerError):
        return found
    for text in request.pythons:
        try:
            found.require(Flavour.parse(text))
        except PyctriggerError:
            return NoEnvironmentError(
                f"{found.environment or found.prefix} is an environment of {found.flavour}, not of {text}",
                hint=f"say --python {found.flavour}, or leave it out",
            )
    return found


class _Session:
    """One target's measurement, in a private directory that is gone afterwards."""

    def __init__(self, request: MeasureRequest, settings: Settings, interpreter: Interpreter, watcher: Watcher) -> None:
        self._request = request
        self._settings = settings
        self._interpreter = interpreter
        self._watcher = watcher
        self._done = 0
        self._known = len(STATES) * (request.rounds + 1)
        if request.kind is Kind.HASH and interpreter.version < (3, 7, 0):
            raise UsageError(f"{interpreter.flavour} knows no hash-based bytecode", hint="it came with Python 3.7")

    def run(self, notices: list[str]) -> Measurement:
        """Do it. Raises PyctriggerError."""
        try:
            with _private_directory(notices) as base:
                home = os.path.join(base, "home")
                for path in (home, os.path.join(home, "tmp"), os.path.join(home, "empty")):
                    os.mkdir(path)
                for state in (*STATES, "survey"):
                    os.mkdir(os.path.join(base, state))
                trees = Trees(self._interpreter, base, self._request.kind, stdlib=self._request.stdlib)
                return self._measure(trees, Starter(self._interpreter, self._request.subject, home), notices)
        except OSError as error:
            where = f"{error.filename}: " if isinstance(error.filename, str) else ""
            raise ShortageError(
                f"{where}{error.strerror or error}", hint="let TMPDIR name a directory with room and rights"
            ) from error

    def _measure(self, trees: Trees, starter: Starter, notices: list[str]) -> Measurement:
        began = time.time() - _CLOCK_STEP
        self._run(starter, trees.path("survey"), "absent", writes=True)
        trees.add(trees.path("survey"), self._settings)
        self._require_something(trees)
        notices += self._prove_fresh(trees, starter)
        tree = trees.copy("stale", "proof-stale")
        self._run(starter, tree, "stale", writes=True)
        sources = trees.require_refused(tree)
        before = trees.fingerprint()
        samples = tuple(self._samples(trees, starter))
        if trees.fingerprint() != before:
            raise MeasurementError(
                "what is measured writes bytecode though it was told not to", hint="see what sets it"
            )
        notices += _remarks(trees, self._interpreter.flavour, began)
        request = self._request
        return Measurement(
            self._interpreter,
            request.subject,
            request.kind,
            request.stdlib,
            request.rounds,
            sources,
            len(trees.others),
            len(trees.left_out),
            samples,
        )

    def _prove_fresh(self, trees: Trees, starter: Starter) -> Iterator[str]:
        """See that all fresh bytecode is taken, and find what only a second run imports; a remark if that goes on."""
        for number in range(_MOST_SURVEYS):
            tree = trees.copy("fresh", f"proof-fresh-{number}")
            self._run(starter, tree, "fresh", writes=True)
            trees.require_accepted(tree)
            added = trees.add(tree, self._settings)
            if not added:
                return
        flavour = self._interpreter.flavour
        yield f"{flavour}: other sources are imported in each run ({added} in the last), so the runs aren't quite alike"

    def _samples(self, trees: Trees, starter: Starter) -> Iterator[Sample]:
        """Interleaved, so that what changes on the machine meanwhile changes all of them; none always goes first."""
        for number in range(self._request.rounds):
            first = number % len(STATES)
            for state in (*STATES[first:], *STATES[:first])[:: -1 if number % 2 else 1]:
                seconds, cpu_seconds = self._run(starter, trees.path(state), state, writes=False)
                sample = Sample(state, number + 1, seconds, cpu_seconds)
                self._watcher.sample(sample)
                yield sample

    def _run(self, starter: Starter, tree: str, state: str, *, writes: bool) -> tuple[float, float]:
        with starter.on(tree, writes=writes) as command:
            ended = run_timed(command, self._request.timeout)
        if ended.trouble is not None:
            subject = self._request.subject
            what = f"--script {subject.script}" if subject.script else f"import {', '.join(subject.modules)}"
            raise MeasurementError(
                f"{self._interpreter.flavour}: {what} with {state} bytecode: {ended.trouble}",
                hint="give it more --timeout"
                if ended.timed_out
                else f"see that {self._interpreter.executable} can do it, and name with --site-dir what lies elsewhere",
            )
        self._done += 1
        self._watcher.progress(min(self._done, self._known), self._known)
        return ended.seconds, ended.cpu_seconds

    def _require_something(self, trees: Trees) -> None:
        """Raise MeasurementError where no bytecode would differ."""
        if trees.measured:
            return
        if not (trees.others or trees.failures):
            raise InterpreterError(
                f"{self._interpreter.executable} imported no source, or left no bytecode where it was told to",
                hint="name modules that are made from sources",
            )
        raise MeasurementError(
            f"{self._interpreter.flavour}: nothing to compare: no source outside of the standard library is imported",
            hint="name other modules, or measure the standard library with --stdlib",
        )


def _remarks(trees: Trees, flavour: str, began: float) -> Iterator[str]:
    left_out = trees.left_out
    if left_out:
        first = left_out[0]
        yield (
            f"{flavour}: pyctrigger writes no bytecode for {len(left_out)} of the sources, so no run has it: "
            f"{first.path}: {first.kind}: {first.message}{', …' if len(left_out) > 1 else ''}"
        )
    changed = trees.changed_since(began)
    if changed:
        yield f"{flavour}: changed meanwhile, by what was measured or by somebody else: {', '.join(changed)}"


@contextlib.contextmanager
def _private_directory(notices: list[str]) -> Iterator[str]:
    base = tempfile.mkdtemp(prefix="pyctrigger-measure-")
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)
        if os.path.lexists(base):
            # Modules may leave directories that forbid to be emptied.
            for directory, names, _ in os.walk(base):
                for name in names:
                    path = os.path.join(directory, name)
                    if not stat.S_ISLNK(os.lstat(path).st_mode):
                        os.chmod(path, 0o700)
            shutil.rmtree(base, ignore_errors=True)
        if os.path.lexists(base):
            notices.append(f"{base} could not be removed; nothing needs it any more")
