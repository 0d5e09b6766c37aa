"""Output for monitoring systems: one line for Nagios, and the text exposition format for Prometheus.

Sources: Monitoring Plugins Development Guidelines (state, text, `|`, perfdata `label=value[UOM];warn;crit;min;max`);
Prometheus' "Exposition formats", text format 0.0.4 (backslash, quotation mark and newline are escaped in a label).
"""

from __future__ import annotations

from collections.abc import Callable

from ...inspect.status.check import CheckReport, Health
from ...outcome.report import printable
from ...state.history import elapsed
from ...version import VERSION
from .text import counted, shown


def nagios_line(report: CheckReport) -> str:
    """Returns `PYCTRIGGER OK - 2 flavours, nothing is pending | pending=0;;;0 …`."""
    # A bar begins the perfdata, wherever it is.
    text = "; ".join(shown(text).replace("|", "/") for _, text in report.problems) or _all_is_well(report)
    return f"PYCTRIGGER {report.state.name} - {text} | {_perfdata(report)}"


def _all_is_well(report: CheckReport) -> str:
    pending = sum(each.pending for each in report.flavours)
    return f"{counted(len(report.flavours), 'flavour')}, {f'{pending} pending' if pending else 'nothing is pending'}"


def _perfdata(report: CheckReport) -> str:
    flavours, limits = report.flavours, report.thresholds
    oldest = min((each.oldest for each in flavours if each.oldest is not None), default=report.now)
    numbers = [
        f"pending={sum(each.pending for each in flavours)};;;0",
        f"pending_age={elapsed(oldest, report.now):.0f}s;{limits.warning:.0f};{limits.critical:.0f};0",
        f"parked={sum(each.parked for each in flavours)};1;;0",
        f"failed={sum(each.last_failed for each in flavours)};;;0",
        f"magic_changed={sum(map(_has_other_magic, flavours))};1;;0",
    ]
    return " ".join(numbers)


def _has_other_magic(health: Health) -> bool:
    return health.previous_magic_number is not None


#: Name, help and value of each metric. A flavour without a value has no line.
_METRICS: list[tuple[str, str, Callable[[Health], float | None]]] = [
    ("interpreter_usable", "Whether the interpreter can be used.", lambda each: each.interpreter is not None),
    ("pending_entries", "Entries of the journal that are still to be done.", lambda each: each.pending),
    ("parked_entries", "Entries of the journal that failed three times.", lambda each: each.parked),
    ("oldest_pending_timestamp_seconds", "When the oldest pending work was recorded.", lambda each: each.oldest),
    ("last_run_timestamp_seconds", "When the last recorded run ended.", lambda each: each.last_run),
    ("last_run_failed", "Whether that run failed.", lambda each: each.last_failed),
    ("last_run_failures", "Files that failed in that run.", lambda each: each.failures),
    ("last_failure_timestamp_seconds", "When the last failed run ended.", lambda each: each.last_failure),
    ("magic_changed", "Whether the magic number has changed since everything was compiled.", _has_other_magic),
    (
        "lock_since_timestamp_seconds",
        "When the held lock was taken.",
        lambda each: each.holder and each.holder.since,
    ),
]


def prometheus_lines(report: CheckReport) -> list[str]:
    """Returns the metrics, all of them gauges."""
    lines = _metric_head("build_info", "The version of pyctrigger.")
    lines.append(_metric_line("build_info", {"version": VERSION}, 1))
    lines += _metric_head("interpreter_info", "The interpreters that runs have compiled for.")
    for each in report.flavours:
        if each.interpreter is not None:
            labels = {
                **_flavour_labels(each),
                "executable": each.interpreter.executable,
                "release": each.interpreter.release,
                "magic_number": each.interpreter.magic_number.hex(),
            }
            lines.append(_metric_line("interpreter_info", labels, 1))
    for name, text, value in _METRICS:
        samples = [(each, found) for each in report.flavours if (found := value(each)) is not None]
        lines += _metric_head(name, text) if samples else []
        lines += [_metric_line(name, _flavour_labels(each), found) for each, found in samples]
    return lines


def _metric_head(name: str, text: str) -> list[str]:
    return [f"# HELP pyctrigger_{name} {text}", f"# TYPE pyctrigger_{name} gauge"]


def _flavour_labels(health: Health) -> dict[str, str]:
    environment = {} if health.prefix is None else {"prefix": health.prefix}
    return {"flavour": health.flavour, "installation": health.installation, **environment}


def _metric_line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escape_label(text)}"' for label, text in labels.items())
    number = str(int(value)) if isinstance(value, (bool, int)) else f"{value:.3f}"
    return f"pyctrigger_{name}{{{inside}}} {number}"


def _escape_label(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
