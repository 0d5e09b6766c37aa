"""`pyctrigger hooks`: list, render, install and uninstall the hooks of a system.

Each file is whole or not there, and other calls wait. What `uninstall` removes is ours to the letter.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import PyctriggerError, RefusedError, UsageError
from ...outcome.outcome import path_fields
from ...outcome.report import Report
from ...packages.every import HOOKS, MANAGERS
from ...packages.hook import HookFile, Subject
from ...packages.ownership import Owner, owners_of
from ...tree.identity import ForeignPlaceError
from ..scope.places import require_root
from ..scope.root_files import files_of
from .hook_directory import HookDirectory, Occupant, describe_former, hold_lock, seen_outside
from .inventory import SystemHook, is_ours, rivals, system_hooks
from .subjects import other_names, subject_of, subjects


class HookRequest(NamedTuple):
    """One call of `pyctrigger hooks`."""

    action: str
    program: tuple[str, ...]
    """The program that the hooks start."""
    manager: str | None = None
    pythons: tuple[str, ...] = ()
    root: str | None = None
    site_dirs: tuple[str, ...] = ()
    dry_run: bool = False
    state_dir: str | None = None
    """Where release 0.1.0 recorded what hooks replaced. None: the usual state directory."""
    stateless: bool = False
    """Don't wait for other calls."""
    force: bool = False
    """Replace what isn't ours, and install a hook beside another one."""


class Hook(NamedTuple):
    """One hook file of a system, as it should be and as it is."""

    manager: str
    flavour: str
    file: HookFile
    state: str
    """absent, installed, or different: a file of this name that says something else."""
    done: str = ""
    """What this call did: installed, removed, or nothing; kept: it isn't what this call would install, or a package
    owns it or may own it; refused: somebody else's file has its name, or another hook does the same."""
    owner: str | None = None
    """The package that owns it, which is why it was kept."""
    reason: str | None = None
    """Why it was refused, kept or left alone."""
    hint: str | None = None
    """What to do about that."""
    served: str = ""
    """The Python that it is for: a flavour, or the path of another interpreter of that flavour."""

    def as_dict(self) -> dict[str, Any]:
        """The hook's part of the JSON object."""
        return {
            "manager": self.manager,
            "flavour": self.flavour,
            **path_fields("path", self.file.path),
            "state": self.state,
            "done": self.done,
            "owner": self.owner,
            "reason": self.reason,
            "hint": self.hint,
            "text": self.file.text,
        }


class HookReport(Report):
    """The hooks, and what was done to them."""

    def __init__(self, action: str, *, dry_run: bool, root: str | None) -> None:
        super().__init__("hooks", dry_run=dry_run)
        self.action = action
        self.root = root
        self.hooks: list[Hook] = []
        #: For `list`: all that the system has, whoever made them.
        self.standing: list[SystemHook] = []

    @property
    def exit_code(self) -> int:
        """1 if something was kept that should have been removed or replaced."""
        return max(super().exit_code, int(any(hook.done in ("kept", "refused") for hook in self.hooks)))

    def as_dict(self) -> dict[str, Any]:
        return {
            **super().as_dict(),
            "action": self.action,
            "hooks": [hook.as_dict() for hook in self.hooks],
            "standing": [hook.as_dict() for hook in self.standing],
        }


def manage_hooks(request: HookRequest) -> HookReport:
    """Do what is asked for. Raises UsageError, InterpreterError, RefusedError, LockTimeoutError."""
    _check(request)
    changes = request.action in ("install", "uninstall") and not (request.dry_run or request.stateless)
    with hold_lock(request.state_dir) if changes else contextlib.nullcontext():
        try:
            return _manage(request)
        except ForeignPlaceError as foreign:
            from ..scope.forked import NoProcessError, act_as_others

            try:
                return act_as_others(lambda _: _manage(request))
            except NoProcessError as error:
                raise RefusedError(
                    f"account {foreign.uid} may rename in --root {request.root}, and no process can act as "
                    f"it ({error})",
                    hint="run it as that account",
                ) from error


def _manage(request: HookRequest) -> HookReport:
    report = HookReport(request.action, dry_run=request.dry_run, root=request.root)
    wanted = list(subjects(request.pythons, request.program, request.site_dirs))
    for name in [request.manager] if request.manager else _managers_of(request.root):
        for subject in wanted:
            for file in HOOKS[name](subject):
                found = file if request.action == "install" else _as_installed(file, name, subject, request)
                state = _look(request, found).state_of(found)
                report.hooks.append(Hook(name, subject.flavour, found, state, served=subject.served))
    if request.action == "list":
        _list_standing(report, request, [subject.served for subject in wanted])
    elif request.action == "install":
        _install(report, request)
    elif request.action == "uninstall":
        _uninstall(report, request)
    return report


def _install(report: HookReport, request: HookRequest) -> None:
    """Install the hooks. If one is refused, none is installed: half of a hook would be worse than none."""
    if not request.force:
        standing = system_hooks(request.root, report.notices.append)
        report.hooks = [_checked(hook, request, standing) for hook in report.hooks]
        if any(hook.done == "refused" for hook in report.hooks):
            return
    report.hooks = [hook if hook.state == "installed" else hook._replace(done="installed") for hook in report.hooks]
    _change(report, request, "installed", HookDirectory.put)


def _uninstall(report: HookReport, request: HookRequest) -> None:
    """Remove unchanged files that no package owns. Other files that call pyctrigger are kept, and named."""
    paths = [hook.file.path for hook in report.hooks if hook.state != "absent"]
    unknown: list[str] = []
    owners = owners_of(paths, files_of(request.root), unknown.append) if paths else {}
    doubt = unknown[0] if unknown else None
    report.hooks = [_judged(hook, request, owners.get(hook.file.path), doubt) for hook in report.hooks]
    if not request.stateless:
        former = [describe_former(request.root, hook.file.path, request.state_dir) for hook in report.hooks]
        report.notices += filter(None, former)
    _change(report, request, "removed", HookDirectory.remove)


def _judged(hook: Hook, request: HookRequest, owner: Owner | None, doubt: str | None) -> Hook:
    """Returns the hook with what `uninstall` does to it. `doubt` is why it isn't known which packages own files."""
    if hook.state == "absent":
        return hook
    if owner is not None:
        reason, hint = f"a package owns it: {owner}", "removing the package removes it"
        return hook._replace(done="kept", owner=str(owner), reason=reason, hint=hint)
    if doubt is not None:
        return hook._replace(done="kept", reason=doubt, hint="if no package owns it, remove it by hand")
    if hook.state == "installed":
        return hook._replace(done="removed")
    if not is_ours(_look(request, hook.file).content):
        return hook._replace(reason="it isn't ours")
    reason = "it isn't what these options install"
    hint = "remove it by hand, or use the options that it was installed with"
    return hook._replace(done="kept", reason=reason, hint=hint)


def _as_installed(file: HookFile, manager: str, subject: Subject, request: HookRequest) -> HookFile:
    """Returns the hook made for the interpreter's other name, if that one is installed."""
    entry = _look(request, file)
    if entry.state_of(file) == "different":
        for python in other_names(subject):
            with contextlib.suppress(PyctriggerError):  # nothing was made for what can't be asked
                for other in HOOKS[manager](subject_of(python, request.program, request.site_dirs)):
                    if other.path == file.path and entry.state_of(other) == "installed":
                        return other
    return file


def _list_standing(report: HookReport, request: HookRequest, served: list[str]) -> None:
    """List the system's hooks that the request is about, and report pairs that fire for the same Python."""
    standing = system_hooks(request.root, report.notices.append)
    if request.manager is not None:
        standing = [hook for hook in standing if hook.manager == request.manager]
    pairs = rivals(standing)
    if request.pythons:
        report.standing = [hook for hook in standing if any(map(hook.is_for, served))]
        pairs = iter(dict.fromkeys(pair for python in served for pair in rivals(standing, python=python)))
    else:
        report.standing = standing
    report.notices += [_doubled(pair, request.root) for pair in pairs]


def _checked(hook: Hook, request: HookRequest, standing: list[SystemHook]) -> Hook:
    """Returns the hook, refused if its name is taken by another file, or another hook does the same."""
    if hook.state == "installed":
        return hook
    if hook.state == "different" and not is_ours(_look(request, hook.file).content):
        return _refused(hook, "a file that isn't ours is in its place")
    own = SystemHook(hook.manager, hook.file.path, None, (hook.served,))
    owned = next((each for each in standing if each.path == own.path and each.package is not None), None)
    others = [each for each in standing if each.path != own.path]
    other = next((first for first, second in rivals([*others, own], python=hook.served) if second == own), None)
    masked = next((each for each in others if _masks(own, each)), None)
    found = owned or other or masked
    if found is None:
        return hook
    return _refused(hook, f"{_named(found, request.root)} does the same for {hook.served}")


def _refused(hook: Hook, reason: str) -> Hook:
    return hook._replace(done="refused", reason=reason, hint="--force installs it anyway")


def _masks(own: SystemHook, other: SystemHook) -> bool:
    """Whether our file would mask a package's hook of the same name."""
    return (
        own.manager == other.manager
        and other.package is not None
        and other.masked_by is None
        and os.path.basename(own.path) == os.path.basename(other.path)
    )


def _named(hook: SystemHook, root: str | None) -> str:
    path = seen_outside(root, hook.path)
    return f"the hook of {hook.origin} ({path})" if hook.package else f"the hook {path}"


def _doubled(pair: tuple[SystemHook, SystemHook], root: str | None) -> str:
    first, second = pair
    pythons = ", ".join([each for each in second.pythons if first.serves(each)] or first.pythons) or "every Python"
    return (
        f"{first.manager} calls pyctrigger twice for {pythons}: {_named(first, root)} and {_named(second, root)}; one "
        "is enough: "
        "pyctrigger hooks uninstall removes what hooks install made"
    )


def _check(request: HookRequest) -> None:
    if request.action != "list" and not (request.manager and request.pythons):
        raise UsageError(f"hooks {request.action} needs --manager M and --python V", hint="name what the hook is for")
    kind = MANAGERS.get(request.manager or "")
    package = kind.package_with_hooks if kind else None
    if package is not None and request.action in ("install", "uninstall"):
        verb = "install" if request.action == "install" else "remove"
        raise UsageError(
            f"{request.manager} accepts hooks only from packages", hint=f"{verb} the package {package}, which has them"
        )
    if request.root is not None:
        require_root(request.root)


def _managers_of(root: str | None) -> list[str]:
    """Returns the package managers of the system, or all of them if it has none."""
    present = [name for name, kind in MANAGERS.items() if kind(files_of(root)).is_present]
    return [name for name in present or MANAGERS if MANAGERS[name].package_with_hooks is None]


def _change(
    report: HookReport, request: HookRequest, done: str, change: Callable[[HookDirectory, list[HookFile]], None]
) -> None:
    """Apply `change` to the files marked `done`. All hooks of a manager are in one directory."""
    if request.dry_run:
        return
    directory = _directory(request, report.hooks[0].file)
    directory.sweep([hook.file for hook in report.hooks])
    files = [hook.file for hook in report.hooks if hook.done == done]
    if files:
        change(directory, files)


def _directory(request: HookRequest, file: HookFile) -> HookDirectory:
    return HookDirectory(request.root, os.path.dirname(file.path))


def _look(request: HookRequest, file: HookFile) -> Occupant:
    return _directory(request, file).look(os.path.basename(file.path))
