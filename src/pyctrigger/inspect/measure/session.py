"""`measure`: what stale bytecode costs at start-up, in fresh processes of a target whose files stay untouched."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

from ...errors import (
    InterpreterError,
    MeasurementError,
    NoEnvironmentError,
    PyctriggerError,
    RefusedError,
    ShortageError,
    UsageError,
)
from ...interpreter.child import BOOTSTRAP, PROGRAMS, open_file
from ...interpreter.flavour import Flavour
from ...interpreter.interpreter import Interpreter
from ...outcome.observer import Observer
from ...run.scope import config as configuration
from ...run.scope.config import Settings
from ...run.scope.interpreters import Found, find_interpreters
from ...run.scope.request import Request, Scope, Work
from ...state.probed import ProbedInterpreters
from ...workers.allowance import Limits
from ...workers.capacity import worker_count
from ...workers.pool import Pool
from .measurement import Measurement, MeasureReport, MeasureRequest, Sample
from .process import Command, barrier_version, run_timed
from .trees import STATES, Kind, Trees

#: How often sources may turn up that no run before has imported.
_MOST_SURVEYS = 3
#: Seconds that a file system's clock may be behind ours.
_CLOCK_STEP = 0.02
#: What decides where a program keeps its own files; they go below a home of the measurement's own.
_HOMES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")


def measure(request: MeasureRequest, observer: Observer) -> MeasureReport:
    """Measure in every target of the request; what kept one from being measured is in the report.

    Raises UsageError, ConfigurationError and RefusedError for what concerns the request as a whole.
    """
    request.check()
    settings = configuration.load(request.config)
    report = MeasureReport()
    if not barrier_version():
        if os.geteuid() == 0:
            raise RefusedError(
                "as root, modules could write into the installation here (there is no Landlock)",
                hint="run it as an ordinary account",
            )
        report.notices.append("this system has no Landlock to keep modules from writing; what they change is reported")
    for found in _interpreters(request, settings):
        try:
            if isinstance(found, PyctriggerError):
                raise found
            request.require_own(found)
            request.require_bounded(found)
            observer.started(found.flavour)
            if os.geteuid() == 0:
                observer.notice(f"{found.flavour}: the measured program runs as root")
            report.measurements.append(_Session(request, settings, found, observer).run(report.notices))
        except PyctriggerError as error:
            report.errors.append(error)
        finally:
            observer.finished()
    return report


def _interpreters(request: MeasureRequest, settings: Settings) -> Iterator[Found]:
    """Yields the interpreters of the environments, each of the flavour that was named, or those that were named."""
    scope = Scope(prefixes=request.prefixes) if request.prefixes else Scope(pythons=request.pythons)
    for found in find_interpreters(Request(Work.STATUS, scope), settings, ProbedInterpreters(None)):
        if request.prefixes and request.pythons and not isinstance(found, PyctriggerError):
            (text,) = request.pythons
            try:
                found.require(Flavour.parse(text))
            except PyctriggerError:
                message = f"{found.environment or found.prefix} is an environment of {found.flavour}, not of {text}"
                yield NoEnvironmentError(message, hint=f"use --python {found.flavour}, or leave it out")
                continue
        yield found


class _Session:
    """One target's measurement, in a private directory that is gone afterwards."""

    def __init__(
        self, request: MeasureRequest, settings: Settings, interpreter: Interpreter, observer: Observer
    ) -> None:
        self._request = request
        self._settings = settings
        self._interpreter = interpreter
        self._observer = observer
        self._home = ""
        self._done = 0
        self._known = len(STATES) * (request.rounds + 1)
        if request.kind is Kind.HASH and interpreter.version < (3, 7, 0):
            raise UsageError(
                f"{interpreter.flavour} doesn't support hash-based bytecode", hint="it is new in Python 3.7"
            )

    def run(self, notices: list[str]) -> Measurement:
        """Measure. Raises PyctriggerError."""
        try:
            with _private_directory(notices) as base:
                self._home = os.path.join(base, "home")
                for name in ("home", "home/tmp", "home/empty", *STATES, "survey"):
                    os.mkdir(os.path.join(base, name))
                kind, stdlib = self._request.kind, self._request.stdlib
                return self._measure(Trees(self._interpreter, base, kind, self._workers, stdlib=stdlib), notices)
        except OSError as error:
            where = f"{error.filename}: " if isinstance(error.filename, str) else ""
            raise ShortageError(
                f"{where}{error.strerror or error}", hint="set TMPDIR to a writable directory with free space"
            ) from error

    def _workers(self) -> Pool:
        limits = Limits(file_timeout=self._settings.file_timeout, memory=self._settings.memory_limit)
        return Pool(self._interpreter, limits, worker_count(self._settings.jobs))

    def _measure(self, trees: Trees, notices: list[str]) -> Measurement:
        began = time.time() - _CLOCK_STEP
        self._time(trees.path("survey"), "absent", writes=True)
        trees.add(trees.path("survey"))
        self._require_something(trees)
        notices += self._prove_fresh(trees)
        tree = trees.copy("stale", "proof-stale")
        self._time(tree, "stale", writes=True)
        sources = trees.require_refused(tree)
        before = trees.fingerprint()
        samples = tuple(self._samples(trees))
        if trees.fingerprint() != before:
            raise MeasurementError(
                "the measured program writes bytecode despite PYTHONDONTWRITEBYTECODE", hint="find out what resets it"
            )
        notices += _remarks(trees, self._interpreter.flavour, began)
        return Measurement(self._interpreter, self._request, sources, len(trees.others), len(trees.left_out), samples)

    def _prove_fresh(self, trees: Trees) -> Iterator[str]:
        """See that all fresh bytecode is taken, and find what only a second run imports; a remark if that goes on."""
        for number in range(_MOST_SURVEYS):
            tree = trees.copy("fresh", f"proof-fresh-{number}")
            self._time(tree, "fresh", writes=True)
            trees.require_accepted(tree)
            added = trees.add(tree)
            if not added:
                return
        flavour = self._interpreter.flavour
        yield f"{flavour}: other sources are imported in each run ({added} in the last), so the runs aren't quite alike"

    def _samples(self, trees: Trees) -> Iterator[Sample]:
        """Interleaved, so that what changes on the machine meanwhile changes all of them; none always goes first."""
        for number in range(self._request.rounds):
            first = number % len(STATES)
            for state in (*STATES[first:], *STATES[:first])[:: -1 if number % 2 else 1]:
                sample = Sample(state, number + 1, *self._time(trees.path(state), state, writes=False))
                self._observer.detail(f"run {sample.round}, {state}: {sample.seconds:.3f} s")
                yield sample

    def _time(self, tree: str, state: str, *, writes: bool) -> tuple[float, float]:
        """Time a run with the bytecode in `tree`. Returns its seconds, and those of CPU time."""
        with self._command(tree, writes=writes) as command:
            ended = run_timed(command, self._request.timeout)
        if ended.trouble is not None:
            raise MeasurementError(
                f"{self._interpreter.flavour}: {self._request} with {state} bytecode: {ended.trouble}",
                hint="raise --timeout"
                if ended.timed_out
                else f"check that {self._interpreter.executable} can run it, and name more directories with --site-dir",
            )
        self._done += 1
        self._observer.progress(min(self._done, self._known), self._known)
        return ended.seconds, ended.cpu_seconds

    @contextlib.contextmanager
    def _command(self, tree: str, *, writes: bool) -> Iterator[Command]:
        """The command that finds its bytecode in `tree`; only if `writes` it puts some there. Raises OSError."""
        request, line = self._request, [self._interpreter.executable]
        with contextlib.ExitStack() as stack:
            keep: tuple[int, ...] = ()
            # 3.6 and 3.7 know no pycache prefix, and nobody else knows other site directories.
            if self._interpreter.version < (3, 8, 0) or request.site_dirs:
                (file,) = PROGRAMS["start"]
                keep = (open_file(file),)
                stack.callback(os.close, *keep)
                line += ["-S", "-c", BOOTSTRAP, str(*keep), tree, str(len(request.site_dirs)), *request.site_dirs]
                line += ["modules", *request.modules] if request.script is None else ["script", request.script]
            else:
                line += ["-c", str(request)] if request.script is None else [request.script]
            yield Command(
                line=(*line, *request.arguments),
                environment=self._environment(tree, writes=writes),
                directory=os.path.join(self._home, "empty") if request.script is None else _current_directory(),
                writable=(self._home, tree) if writes else (self._home,),
                keep=keep,
            )

    def _environment(self, tree: str, *, writes: bool) -> dict[str, str]:
        """Returns the caller's environment, for root a plain one, with only the necessary variables of Python's."""
        if os.geteuid() == 0:
            environment = {"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONNOUSERSITE": "1"}
        else:
            environment = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith("PYTHON") and name not in _HOMES
            }
            environment["PYTHONUSERBASE"] = os.environ.get("PYTHONUSERBASE") or os.path.expanduser("~/.local")
        environment["HOME"] = self._home
        environment["TMPDIR"] = os.path.join(self._home, "tmp")
        environment["PYTHONPYCACHEPREFIX"] = tree
        if not writes:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        return environment

    def _require_something(self, trees: Trees) -> None:
        """Raise MeasurementError where no bytecode would differ."""
        if trees.measured:
            return
        if not (trees.others or trees.failures):
            raise InterpreterError(
                f"{self._interpreter.executable} imported no source, or wrote no bytecode into the given directory",
                hint="name modules that have sources",
            )
        raise MeasurementError(
            f"{self._interpreter.flavour}: nothing to compare: no source outside of the standard library is imported",
            hint="name other modules, or measure the standard library with --stdlib",
        )


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the current directory is gone", hint="start in one that exists") from error


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
        yield f"{flavour}: changed meanwhile, by the measured program or something else: {', '.join(changed)}"


@contextlib.contextmanager
def _private_directory(notices: list[str]) -> Iterator[str]:
    base = tempfile.mkdtemp(prefix="pyctrigger-measure-")
    try:
        yield base
    finally:
        # Modules may leave directories that forbid to be emptied.
        for directory, names, _ in os.walk(base):
            for path in (os.path.join(directory, name) for name in names):
                if not os.path.islink(path):
                    os.chmod(path, 0o700)
        shutil.rmtree(base, ignore_errors=True)
        if os.path.lexists(base):
            notices.append(f"{base} could not be removed; it isn't needed any more")
