"""Says which command to run as root, if this account lacks rights."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from types import SimpleNamespace

from ..errors import RightsError, name_few
from ..outcome.outcome import Failure
from ..outcome.report import Report
from ..tree.directory import account_on_way
from .output.own_name import command_for_root
from .output.text import shown

#: How many places are listed.
_MOST_NAMED = 3


#: Options that select a scope. Without any the scope is the active environment, if there is one.
_SCOPE = ("pythons", "root", "site_dirs", "prefixes", "prefixes_below", "paths", "paths_from")


def explain_rights(
    report: Report, denied: Sequence[Failure], arguments: Sequence[str], options: SimpleNamespace
) -> None:
    """Combine the places that can't be written into one error for each account, and give each its command."""
    if not any(getattr(options, name, None) for name in _SCOPE):
        # sudo doesn't pass on the variables of an active environment: the command would use the system's Python.
        active = dict.fromkeys(run.prefix for run in report.runs if run.prefix is not None)
        arguments = [*arguments, *(f"--prefix={prefix}" for prefix in active)]
    arguments = _drop_own_state(arguments, getattr(options, "state_dir", None))
    # By hand the exit code counts; and what a pipe had is read already.
    command = [command_for_root(), *(word for word in arguments if word != "--hook")]
    pipe = "pipe the same paths into " if getattr(options, "paths_from", None) == "-" else ""
    places: dict[int | None, list[str]] = {}
    for path in dict.fromkeys(failure.path for failure in denied):
        places.setdefault(_account_above(path), []).append(path)
    for account, paths in sorted(places.items(), key=lambda each: each[0] or 0):
        reason, hint = f"no right to write in {name_few([*map(shown, paths)])}", None
        if account is not None:
            reason += f", and neither has root, since account {account} owns a directory above it"
            give = shlex.join(["sudo", "chown", "-R", str(account), *_chown_targets(paths, account)])
            hint = f"you need root: {give}, and run it again"
        report.errors.append(RightsError(reason, hint=hint))
    for error in report.errors:
        if isinstance(error, RightsError) and error.hint == RightsError.usual_hint:
            error.hint = f"you need root: {pipe}{shlex.join(['sudo', *command])}"


def _account_above(path: str) -> int | None:
    """Returns the account above a directory of another one: root acts as it there, and has no right to write either.

    None if root can write there.
    """
    account = account_on_way(path)
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return None
    return None if account == owner else account


def _chown_targets(paths: Sequence[str], account: int) -> Sequence[str]:
    """Returns the paths to pass to chown: all of them, or their common parent if it is the account's."""
    common = os.path.commonpath(paths)
    is_its_own = account in (account_on_way(common), os.stat(common).st_uid)
    return [common] if len(paths) > _MOST_NAMED and is_its_own else paths


def _drop_own_state(arguments: Sequence[str], state_dir: str | None) -> Sequence[str]:
    """Returns the arguments for root: it refuses a state directory that this account could replace."""
    if state_dir is None:
        return arguments
    above = os.path.dirname(os.path.abspath(state_dir))
    while not os.path.exists(above):
        above = os.path.dirname(above)
    if os.stat(above).st_uid != os.geteuid():
        return arguments
    kept = [word for word in arguments if not word.startswith("--state-dir=")]
    while "--state-dir" in kept:
        at = kept.index("--state-dir")
        del kept[at : at + 2]
    return kept
