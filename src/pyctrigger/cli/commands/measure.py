"""`measure`: the start-up time that stale bytecode costs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ...inspect.measure.measurement import Measurement, MeasureReport, MeasureRequest
from ...outcome.observer import Observer
from ...run.scope.settings import BOOLEAN, PATH, POSITIVE_SECONDS, TEXTS, Setting, one_of, whole_number
from ..output.chart import Bar, chart
from ..output.table import Piece
from ..output.text import counted, shown
from . import Call, Verb

#: The values of `inspect.measure.trees.Kind`. Importing it here would slow the start of every command.
_KINDS = {
    "magic": "another release's magic number",
    "mtime": "another time of the source",
    "hash": "another hash of the source",
}
_STYLES = {"stale": "error", "absent": "warning", "fresh": "good"}


def _measure_start(call: Call, observer: Observer) -> MeasureReport:
    """Measure, and put errors into the report."""
    from ...errors import PyctriggerError
    from ...inspect.measure.session import measure
    from ...inspect.measure.trees import Kind

    options = call.options
    is_script = options.script is not None
    request = MeasureRequest(
        modules=() if is_script else tuple(options.modules),
        script=options.script,
        arguments=tuple(options.modules) if is_script else (),
        pythons=tuple(options.pythons),
        prefixes=tuple(map(os.path.abspath, options.prefixes)),
        site_dirs=tuple(map(os.path.abspath, options.site_dirs)),
        kind=Kind(options.stale),
        stdlib=options.stdlib,
        rounds=options.runs,
        timeout=options.timeout,
        config=options.config,
    )
    try:
        with _interrupted_by_signals():
            return measure(request, observer)
    except PyctriggerError as error:
        report = MeasureReport()
        report.errors.append(error)
        return report


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Kill the measured program and remove its private files on SIGTERM and SIGHUP, too."""
    import signal

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup(1) ignores SIGHUP
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report_lines(report: MeasureReport) -> list[Piece]:
    """Returns for each target what ran, a line with a bar for each state, and the cost of stale bytecode."""
    return [line for measurement in report.measurements for line in _measurement_lines(measurement)]


def _measurement_lines(measurement: Measurement) -> list[Piece]:
    interpreter, request = measurement.interpreter, measurement.request
    what = str(request) if request.script is None else shown(" ".join([request.script, *request.arguments]))
    sources = counted(measurement.sources, "source")
    scope = f"{sources}, the standard library's among them" if request.stdlib else sources
    return [
        f"{interpreter.flavour}: {what} ({shown(interpreter.executable)}, {interpreter.release})",
        f"  {scope}; {counted(request.rounds, 'run')} each; stale: {_KINDS[request.kind.value]}",
        *chart([_state_bar(measurement, state) for state in _STYLES]),
        f"  {cost_line(measurement)}",
    ]


def _state_bar(measurement: Measurement, state: str) -> Bar:
    spread, cpu = measurement.spread(state), measurement.cpu(state)
    extent = f"({spread.minimum:.3f} to {spread.maximum:.3f})"
    label = f"{spread.median:7.3f} s  {extent:<17}  cpu {cpu.median:.3f} s  {measurement.ratio(state):5.2f} x fresh"
    return Bar(state, label, spread.median, spread.maximum, _STYLES[state])


def cost_line(measurement: Measurement) -> str:
    """Returns the sentence on what stale bytecode costs, in each of the two times where it is clear."""
    if not measurement.is_clear:
        return "no clear difference; more --runs, or a quieter machine, may show one"
    if measurement.cost <= 0:  # clear in CPU time alone
        return f"stale bytecode costs {measurement.cpu_cost:.3f} s of CPU time at each start, none by the clock"
    cost = f"stale bytecode costs {measurement.cost:.3f} s at each start ({measurement.cpu_cost:.3f} s of CPU time)"
    return f"{cost}: it takes {measurement.ratio('stale'):.2f} times as long"


VERB = Verb(
    "measure what stale bytecode costs at start-up",
    _measure_start,
    _report_lines,
    doing="measuring",
    options=(
        Setting(
            "modules",
            TEXTS,
            "what to import; with --script: the script's arguments",
            value="MODULE",
            flags=("modules",),
            default=[],
        ),
        Setting("script", PATH, "run this instead of importing modules", value="FILE"),
        Setting("stdlib", BOOLEAN, "make the standard library's bytecode stale, too"),
        Setting("stale", one_of(*_KINDS), "what makes bytecode stale (default: magic)", default="magic"),
        Setting("runs", whole_number(1, 1000), "runs of each kind (default: 5)", default=5),
        Setting("timeout", POSITIVE_SECONDS, "how long one start may take (default: 60)", default=60.0),
    ),
    paths="",
)
