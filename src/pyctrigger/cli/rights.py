"""The one line for who has no right to do what was asked: what to type as root."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import TYPE_CHECKING

from ..errors import RightsError
from .text import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ..run.outcome import Failure
    from ..run.report import Report

#: Places that are named, where there are more of them.
_MOST_NAMED = 3


_NAME = "pyctrigger"
#: What says about what a command is; without any it is about the environment that is active, if there is one.
_SCOPE = ("python", "root", "site_dir", "prefix", "prefix_below", "paths", "paths_from")


def tell_rights(
    report: Report, denied: Sequence[Failure], arguments: Sequence[str], options: argparse.Namespace
) -> None:
    """Make one error of all the places that may not be written, and give each such error the command to type."""
    if denied:
        paths = list(dict.fromkeys(shown(failure.path) for failure in denied))
        more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
        report.errors.append(RightsError(f"no right to write in {', '.join(paths[:_MOST_NAMED])}{more}"))
    if not any(getattr(options, name, None) for name in _SCOPE):
        # sudo passes on no variable that says which environment is active: the command would serve the system.
        active = dict.fromkeys(run.prefix for run in report.runs if run.prefix is not None)
        arguments = [*arguments, *(f"--prefix={prefix}" for prefix in active)]
    arguments = _without_own_state(arguments, getattr(options, "state_dir", None))
    for error in report.errors:
        if isinstance(error, RightsError):
            error.mend = f"you need root: {shlex.join(['sudo', command_for(ROOTS_PATH), *arguments])}"


def _without_own_state(arguments: Sequence[str], state_dir: str | None) -> Sequence[str]:
    """What root is to be told: a state directory that this account could exchange is refused there."""
    if state_dir is None:
        return arguments
    above = os.path.dirname(os.path.abspath(state_dir))
    while not os.path.exists(above):
        above = os.path.dirname(above)
    if os.stat(above).st_uid != os.geteuid():
        return arguments
    kept, words = [], iter(arguments)
    for word in words:
        if word == "--state-dir":
            next(words, None)
        elif not word.startswith("--state-dir="):
            kept.append(word)
    return kept


#: Where sudo looks, as its vendors set it (`secure_path` in sudoers(5)).
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def command_for(search_path: str) -> str:
    """What to type for this pyctrigger: its name where that is found on this path, else where it is installed."""
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == _NAME else _beside_interpreter()
    found = shutil.which(_NAME, path=search_path)
    if not os.path.isfile(script) or (found is not None and os.path.samefile(found, script)):
        return _NAME
    return os.path.abspath(script)


def _beside_interpreter() -> str:
    """Where the script of an environment lies that was entered with `python -m pyctrigger`."""
    return os.path.join(os.path.dirname(sys.executable), _NAME)
