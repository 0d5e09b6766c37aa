"""`doctor`: the health of this system, and what to do next, in ten lines."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ...inspect.status.doctor import DoctorReport, Python, examine
from ...outcome.observer import Observer
from ...run.hooks.inventory import SystemHook
from ...state.history import elapsed
from ...state.locations import is_root
from ..output.own_name import command_for_root
from ..output.table import Table
from ..output.text import age
from . import Call, Verb

_STYLES = {"yes": "good", "no": "warning", "nothing": "good"}


def _examine_system(call: Call, observer: Observer) -> DoctorReport:
    # Root can run it by its name, since it just did; sudo may search other directories.
    command = ["pyctrigger"] if is_root() else ["sudo", command_for_root()]
    return examine(call.options.state_dir, call.options.config, command)


def _report_lines(report: DoctorReport) -> list[Table]:
    """Returns a line for each question, without empty ones."""
    return [Table((), [row for row in _table_rows(report) if row[1]], styles=_STYLES)]


def _table_rows(report: DoctorReport) -> Iterator[tuple[str, str]]:
    groups: dict[tuple[str, str], list[SystemHook]] = {}
    for hook in report.hooks:
        if hook.masked_by is None:
            groups.setdefault(hook.group, []).append(hook)
    yield "managers", ", ".join(report.managers) or "none that pyctrigger knows"
    yield "hooks", "; ".join(_describe_hooks(group, report.pythons) for group in groups.values()) or "none"
    if not report.hooks_enabled:
        yield "", f"they only record what was touched: [hooks] enabled = false in {report.configuration}"
    found = [python for python in report.pythons if python.error is None]
    named = [(python, f"{python.flavour} {python.executable}") for python in found]
    yield "hooked", ", ".join(text for python, text in named if python.is_served)
    yield "not hooked", ", ".join(text for python, text in named if python.managers and not python.is_served)
    yield "unmanaged", ", ".join(text for python, text in named if not python.managers)
    usable = "readable" if report.trouble is None else "can't be used"
    yield "configuration", f"{report.configuration}, {usable}" if report.configuration else "none: the defaults apply"
    yield "state", "".join(_describe_state(report))
    yield "all is well", {"healthy": "yes", "to do": "no", "unknown": "only root can see"}[report.verdict]
    for finding in report.findings:
        yield "to do", finding.message
    if report.verdict == "unknown" and report.next is None:
        yield "next", f"sudo {command_for_root()} doctor"
    else:
        yield "next", report.next or ("nothing" if not report.findings else "see above")


def _describe_hooks(group: list[SystemHook], found: list[Python]) -> str:
    first = group[0]
    if all(hook.pythons for hook in group):
        # A package has hooks for many Pythons that aren't installed.
        here = [each for each in found if any(hook.serves(each.flavour, each.executable) for hook in group)]
        named = [each.flavour for each in here] or [python for hook in group for python in hook.pythons]
        pythons = ", ".join(dict.fromkeys(named))
    else:
        pythons = "every Python"
    by = "by hand" if first.package is None else f"of the package {first.package}"
    called = ", if something calls it" if first.manager == "sh" else ""
    return f"{first.manager}, {by}, for {pythons}{called}"


def _describe_state(report: DoctorReport) -> Iterator[str]:
    yield report.state or "none"
    health = report.health
    if health is None:
        return
    if report.trouble is not None and not health.flavours:
        yield ", not examined: see below"
        return
    ended = [each.last_run for each in health.flavours if each.last_run is not None]
    yield f", last run {age(elapsed(max(ended), time.time()))} ago" if ended else ", no run yet"
    pending = sum(each.pending + each.parked for each in health.flavours)
    yield f", {pending} pending" if pending else ", nothing pending"
    holders = [each.holder.pid for each in health.flavours if each.holder is not None]
    yield f", lock held by process {', '.join(map(str, holders))}" if holders else ", lock free"


VERB = Verb(
    "show whether hooks are installed, for which Pythons, and what to do next", _examine_system, _report_lines, paths=""
)
