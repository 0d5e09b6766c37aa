"""The health of this system: is it hooked, for which Pythons, is all well, and what is to be done next?

Nothing is written, and no worker is started: hooks, state, and one status a directory, as a hook glances at its scope.
What isn't known to be unchanged is looked at as in a dry run: a run leaves much of it that needs nothing, since what
was written a moment ago can't be told from what is being written.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ...errors import PyctriggerError
from ...outcome.outcome import path_fields
from ...outcome.report import Report, error_fields, printable
from ...packages.every import MANAGERS
from ...run.hooks.inventory import SystemHook, rivals, system_hooks
from ...run.scope.config import Settings
from ...run.scope.interpreters import find_interpreters
from ...run.scope.request import Request, Running, Work
from ...run.scope.stored import load_settings, open_known
from ...run.scope.target import Target, find_target
from ...state.locations import configuration_files, is_root, state_directory
from ...state.roots import with_pending_work
from ..past import require_readable
from .check import CheckReport, Health, Thresholds, check
from .outdated import count_outdated


class Python(NamedTuple):
    """One interpreter that was found, and what hooks it."""

    flavour: str
    executable: str
    error: PyctriggerError | None = None
    managers: tuple[str, ...] = ()
    """The package managers of this system that install for it."""
    hooked_by: tuple[str, ...] = ()
    """Those of them that call pyctrigger for it."""
    outdated: int | None = None
    """Files that a run would compile or remove; None where that isn't known."""

    @property
    def is_served(self) -> bool:
        """Whether each manager that installs for it calls pyctrigger."""
        return bool(self.managers) and set(self.managers) <= set(self.hooked_by)

    def as_dict(self) -> dict[str, Any]:
        """The interpreter's part of the JSON object."""
        error = self.error and error_fields(self.error)
        return {**self._asdict(), **path_fields("executable", self.executable), "error": error}


class Advice(NamedTuple):
    """Something to do, and what to type."""

    message: str
    command: str | None = None


class DoctorReport(Report):
    """The answer."""

    def __init__(self, command: Sequence[str], state_dir: str | None = None) -> None:
        super().__init__("doctor")
        self._command = command
        self.state_dir = state_dir
        """The one that was named, if any: what is to be typed is about the same."""
        self.managers: list[str] = []
        self.hooks: list[SystemHook] = []
        self.hooks_enabled = True
        self.pythons: list[Python] = []
        self.configuration: str | None = None
        """The file that is used, if there is one."""
        self.trouble: PyctriggerError | None = None
        """Why it can't be used."""
        self.state: str | None = None
        self.health: CheckReport | None = None
        """None: whose state matters can't be read by this account."""
        #: Those that are seen from outside, and have work waiting.
        self.roots: list[str] = []
        self.findings: list[Advice] = []

    def to_type(self, *words: str) -> str:
        """Returns a command with the rights that it needs, for a shell."""
        # Hooks are the same whatever the state.
        state = ["--state-dir", self.state_dir] if self.state_dir is not None and words[0] != "hooks" else []
        return shlex.join([*self._command, *words, *state])

    @property
    def verdict(self) -> str:
        """Whether all is well, something is to be done, or that can't be told."""
        if self.health is None:
            return "unknown"
        return "to do" if self.findings else "healthy"

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 something to do, 3 can't tell."""
        return {"healthy": 0, "to do": 1, "unknown": 3}[self.verdict]

    @property
    def next(self) -> str | None:
        """What to type now."""
        if self.trouble is not None:
            return None  # hooks couldn't do anything either, until that is mended
        return next((finding.command for finding in self.findings if finding.command is not None), None)

    def as_dict(self) -> dict[str, Any]:
        return {
            **super().as_dict(),
            "verdict": self.verdict,
            "managers": self.managers,
            "standing": [hook.as_dict() for hook in self.hooks],
            "hooks_enabled": self.hooks_enabled,
            "pythons": [python.as_dict() for python in self.pythons],
            **path_fields("configuration", self.configuration),
            **path_fields("state", self.state),
            "health": None if self.health is None else self.health.state.name,
            "findings": [{"message": printable(text), "command": command} for text, command in self.findings],
            "next": self.next,
        }


def examine(state_dir: str | None, config: str | None, command: Sequence[str]) -> DoctorReport:
    """Look at this system. `command` is what to type for pyctrigger with the rights that it needs.

    Raises UsageError and RefusedError for options that can't be followed.
    """
    report = DoctorReport(command, state_dir)
    require_readable(state_dir)
    request = Request(Work.STATUS, running=Running(state_dir=state_dir, config=config))
    report.managers = [name for name, kind in MANAGERS.items() if kind().is_present]
    report.hooks = system_hooks(None, report.notices.append)
    settings = _load_settings(report, request)
    report.hooks_enabled = settings.hooks_enabled
    report.pythons = list(_pythons(report, request, settings))
    report.state = state_dir or state_directory()
    # What hooks have done is in root's state, which nobody else can read.
    if is_root() or state_dir is not None:
        report.health = check(request, Thresholds(), nagios=True)
        report.roots = list(with_pending_work(report.state)) if report.state is not None else []
    report.findings += findings(report)
    return report


def _load_settings(report: DoctorReport, request: Request) -> Settings:
    """Returns the configuration, or the defaults if it can't be used."""
    places = [request.running.config] if request.running.config is not None else configuration_files(hook=False)
    report.configuration = next((path for path in places if os.path.exists(path)), None)
    try:
        return load_settings(request)[0]
    except PyctriggerError as error:
        if report.configuration is None:
            raise
        report.trouble = error
    return Settings()


def _pythons(report: DoctorReport, request: Request, settings: Settings) -> Iterator[Python]:
    store, probed = open_known(request)
    for found in find_interpreters(request, settings, probed):
        if isinstance(found, PyctriggerError):
            yield Python("", "", found)
            continue
        target = find_target(found, request, settings)
        managers = tuple(name for name in report.managers if _installs_for(name, target))
        hooked = tuple(
            name
            for name in managers
            if any(hook.manager == name and hook.serves(found.flavour, found.executable) for hook in report.hooks)
        )
        # Only whose state can be read is told what is to be done about it.
        outdated = (
            count_outdated(target, request, settings, store)
            if is_root() or request.running.state_dir is not None
            else None
        )
        yield Python(found.flavour, found.executable, None, managers, hooked, outdated)


def _installs_for(manager: str, target: Target) -> bool:
    """Whether a package manager puts packages into the scope of a target."""
    theirs = {os.path.realpath(path) for path in MANAGERS[manager].site_directories(target.interpreter.library)}
    return not theirs.isdisjoint(os.path.realpath(site.path) for site in target.sites)


# -- what is to be done ----------------------------------------------------------------------------------------------


def findings(report: DoctorReport) -> Iterator[Advice]:
    """Yields what is to be done, most urgent first."""
    if report.trouble is not None:
        yield from (Advice(str(part)) for part in report.trouble.parts())
    yield from _missing_hooks(report)
    for first, second in rivals(report.hooks):
        pythons = [word for python in second.pythons for word in ("--python", python)]
        uninstall = report.to_type("hooks", "uninstall", "--manager", second.manager, *pythons)
        yield Advice(
            f"{first.manager} calls pyctrigger twice: by {first.path} and by {second.path}",
            uninstall if second.package is None and pythons else None,
        )
    for python in report.pythons:
        if python.error is not None:
            yield Advice(str(python.error))
    if report.health is not None:
        if report.trouble is None and not report.health.flavours and any(python.is_served for python in report.pythons):
            yield Advice("nothing has been compiled for any Python yet", report.to_type("run"))
        yield from _of_state(report, report.health)
        for root in report.roots:
            yield Advice(f"work is pending for the root {root}", report.to_type("run", "--root", root))
        counts = [(python.flavour, python.outdated) for python in report.pythons if python.outdated]
        outdated = [f"{flavour} ({'1 file' if count == 1 else f'{count} files'})" for flavour, count in counts]
        if outdated:
            yield Advice(f"bytecode is out of date for {', '.join(outdated)}", report.to_type("run"))


def _missing_hooks(report: DoctorReport) -> Iterator[Advice]:
    for name in report.managers:
        bare = [each for each in report.pythons if name in each.managers and name not in each.hooked_by]
        if not bare:
            continue
        lack = f"{name} doesn't call pyctrigger for {', '.join(python.flavour for python in bare)}"
        package = MANAGERS[name].package_with_hooks
        if package is not None:
            yield Advice(f"{lack}: install the package {package}, which has its hooks")
        else:
            pythons = [word for python in bare for word in ("--python", python.flavour)]
            yield Advice(lack, report.to_type("hooks", "install", "--manager", name, *pythons))


def _of_state(report: DoctorReport, health: CheckReport) -> Iterator[Advice]:
    """Yields what a monitor would report, with the command for each."""
    found = [python.executable for python in report.pythons]
    for each in health.flavours:
        name, scope = each.name, _scope_of(each, found)
        if each.error is not None:
            yield Advice(f"{name}: {each.error}")
        if each.parked:
            yield Advice(f"{name}: work failed three times and is parked", report.to_type("repair", *scope))
        if each.pending and each.holder is None:
            yield Advice(f"{name}: work is pending", report.to_type("run", *scope))
        if each.failed_within(health.thresholds.failure, time.time()) is not None:
            yield Advice(f"{name}: the last run failed", report.to_type("history", str(each.failed_run)))
        if each.previous_magic_number is not None:
            yield Advice(f"{name}: its magic number has changed", report.to_type("run", *scope))


def _scope_of(health: Health, found: list[str]) -> list[str]:
    """Returns the options for an environment, or for an interpreter that isn't found by itself."""
    if health.prefix is not None:
        return ["--prefix", health.prefix]
    # One that could never be asked is called as its hook calls it.
    executable = health.flavour if health.interpreter is None else health.interpreter.executable
    return ["--python", executable] if "/" in executable and executable not in found else []
