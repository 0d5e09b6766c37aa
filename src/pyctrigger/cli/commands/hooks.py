"""`hooks`: list, print, install and remove the files that make a package manager call pyctrigger."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ...outcome.observer import Observer
from ...run.hooks.hook_directory import seen_outside
from ...run.hooks.inventory import SystemHook
from ...run.hooks.manage import Hook, HookReport, HookRequest, manage_hooks
from ...run.scope.settings import BOOLEAN, MANAGERS, Setting, one_of
from ..output.table import Table
from ..output.text import shown
from . import Call, Verb

#: Pythons that are listed if there are many.
_FEW = 3


def _manage_hooks(call: Call, observer: Observer) -> HookReport:
    said = call.options
    return manage_hooks(
        HookRequest(
            said.action,
            call.program,
            said.manager,
            tuple(said.pythons),
            said.root,
            tuple(os.path.normpath(os.path.join("/", path)) for path in said.site_dirs),
            said.dry_run,
            said.state_dir,
            said.stateless,
            said.force,
        )
    )


def _report_lines(report: HookReport) -> list[str] | list[Table]:
    """Returns the files for `render`, a table for `list`, and otherwise a line for each file with the result."""
    if report.action == "list":
        return [_hook_table(report)]
    if report.action != "render":
        return [_result_line(hook, report) for hook in report.hooks]
    several = len(report.hooks) > 1
    return [(f"# {hook.file.path}\n" if several else "") + hook.file.text.rstrip("\n") for hook in report.hooks]


def _hook_table(report: HookReport) -> Table:
    standing = {hook.path: hook for hook in report.standing}
    here = {hook.flavour for hook in report.hooks}
    rows: list[tuple[str, ...]] = []
    for hook in report.hooks:
        found = standing.pop(hook.file.path, None)
        if found is None and hook.state == "absent" and _is_served(hook, report):
            continue  # it isn't missing
        by, fires = ("-", "no") if found is None else (found.origin, _describe_firing(found))
        rows.append((hook.manager, hook.flavour, hook.state, by, fires, hook.file.path))
    for other in standing.values():
        pythons = _name_pythons(other.pythons, here) or "every"
        rows.append((other.manager, pythons, "installed", other.origin, _describe_firing(other), other.path))
    return Table(
        ("manager", "flavour", "state", "made by", "fires", "path"),
        _merge_rows(rows, here),
        styles={"installed": "good", "different": "warning", "absent": "dim"},
    )


def _merge_rows(rows: list[tuple[str, ...]], here: set[str]) -> list[tuple[str, ...]]:
    """Merge rows of files that make up one hook, and rows that differ only in Pythons that aren't installed."""
    alike: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for row in rows:
        manager, flavour, *rest, path = row
        one = (manager, *rest, os.path.dirname(path), flavour if flavour in here else "")
        alike.setdefault(one, []).append(row)
    return [
        (
            each[0][0],
            _name_pythons(dict.fromkeys(row[1] for row in each), here),
            *each[0][2:-1],
            _path_pattern([row[-1] for row in each]),
        )
        for each in alike.values()
    ]


def _name_pythons(pythons: Iterable[str], here: set[str]) -> str:
    """Returns a list of Pythons; of many only installed ones, since a package has hooks for all possible ones."""
    names = list(pythons)
    few = [name for name in names if name in here] or names[:_FEW]
    return ", ".join(names) if len(names) <= _FEW + 1 else f"{', '.join(few)} and {len(names) - len(few)} more"


def _path_pattern(paths: list[str]) -> str:
    """Returns a shell pattern for paths in one directory."""
    if len(paths) == 1:
        return paths[0]
    first, last = _common_start(paths), _common_start([path[::-1] for path in paths])[::-1]
    return f"{first}*{last}"


def _common_start(texts: list[str]) -> str:
    least, most = min(texts), max(texts)
    return least[: next((at for at, (one, other) in enumerate(zip(least, most)) if one != other), len(least))]


def _is_served(hook: Hook, report: HookReport) -> bool:
    """Whether another hook does the same as this one would."""
    return any(
        each.manager == hook.manager and each.does_work_of(hook.file.path, hook.served) for each in report.standing
    )


def _describe_firing(hook: SystemHook) -> str:
    if hook.masked_by is not None:
        return f"no: {hook.masked_by} replaces it"
    return "if called" if hook.manager == "sh" else "yes"


def _result_line(hook: Hook, report: HookReport) -> str:
    path = shown(seen_outside(report.root, hook.file.path))
    if hook.reason is not None:
        hint = f"; {hook.hint}" if hook.hint else ""
        return f"{hook.done or 'left alone'}: {path}: {shown(hook.reason)}{hint}"
    if any(each.done == "refused" for each in report.hooks):
        return f"not installed: {path}"
    did = f"would be {hook.done}" if report.dry_run and hook.done else hook.done
    unchanged = "already installed" if report.action == "install" else "was not there"
    return f"{did or unchanged}: {path}"


VERB = Verb(
    "list, print, install or remove package managers' hooks",
    _manage_hooks,
    _report_lines,
    options=(
        Setting(
            "action",
            one_of("list", "render", "install", "uninstall"),
            "what to do; render prints them",
            flags=("action",),
        ),
        Setting("manager", one_of(*MANAGERS, "sh"), "whose hooks (default: those of the managers in use)", once=True),
        Setting("force", BOOLEAN, "replace a file that isn't ours, and install next to another hook"),
    ),
    paths="",
)
