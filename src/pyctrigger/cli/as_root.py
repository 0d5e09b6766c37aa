"""The one line for who has no right to do what was asked: what to type as root."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import RightsError, name_few
from ..outcome.outcome import Failure
from ..outcome.report import Report
from ..tree.directory import account_on_way
from .output.own_name import command_for_root
from .output.text import shown

if TYPE_CHECKING:
    import argparse

#: Places that are named, where there are more of them.
_MOST_NAMED = 3


#: What says about what a command is; without any it is about the environment that is active, if there is one.
_SCOPE = ("pythons", "root", "site_dirs", "prefixes", "prefixes_below", "paths", "paths_from")


def tell_rights(
    report: Report, denied: Sequence[Failure], arguments: Sequence[str], options: argparse.Namespace
) -> None:
    """Make one error of all the places that may not be written, and give each such error the command to type."""
    if not any(getattr(options, name, None) for name in _SCOPE):
        # sudo passes on no variable that says which environment is active: the command would serve the system.
        active = dict.fromkeys(run.prefix for run in report.runs if run.prefix is not None)
        arguments = [*arguments, *(f"--prefix={prefix}" for prefix in active)]
    arguments = _without_own_state(arguments, getattr(options, "state_dir", None))
    command = [command_for_root(), *arguments]
    places: dict[int | None, list[str]] = {}
    for path in dict.fromkeys(failure.path for failure in denied):
        places.setdefault(_kept_out(path), []).append(path)
    for account, paths in sorted(places.items(), key=lambda each: each[0] or 0):
        reason, hint = f"no right to write in {name_few([*map(shown, paths)])}", None
        if account is not None:
            reason += f", and neither has root, since account {account} owns a directory above it"
            give = shlex.join(["sudo", "chown", "-R", str(account), *_few(paths, account)])
            hint = f"you need root: {give}, and run it again"
        report.errors.append(RightsError(reason, hint=hint))
    for error in report.errors:
        if isinstance(error, RightsError) and error.hint == RightsError.usual_hint:
            error.hint = f"you need root: {shlex.join(['sudo', *command])}"


def _kept_out(path: str) -> int | None:
    """The account in whose place this directory of another one's lies; as that account root has no right here either.

    None: as whom root does it, that account may.
    """
    account = account_on_way(path)
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return None
    return None if account == owner else account


def _few(paths: Sequence[str], account: int) -> Sequence[str]:
    """What has to be named for all of them, in the account's place."""
    common = os.path.commonpath(paths)
    is_its_own = account in (account_on_way(common), os.stat(common).st_uid)
    return [common] if len(paths) > _MOST_NAMED and is_its_own else paths


def _without_own_state(arguments: Sequence[str], state_dir: str | None) -> Sequence[str]:
    """What root is to be told: a state directory that this account could exchange is refused there."""
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
