"""Says of a hook's transaction whose work is neither done nor in the journal how to make up for it."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterator
from types import SimpleNamespace

from ..errors import ConfigurationError, RightsError
from ..outcome.report import Report
from ..run.scope.request import Scope
from ..run.scope.settings import SETTINGS
from ..typed import Any

#: What else than the scope, and what the journal keeps, decides which state and which settings are used.
_OTHERS = ("state_dir", "stateless", "config")


def name_way_back(options: SimpleNamespace | None = None) -> str:
    """Returns that the work wasn't done, and the repair with these options; without any, of everything."""
    words = [] if options is None else _words_of(options)
    command = shlex.join(["pyctrigger", "repair", *words])
    return f"the work of this transaction was not done; once that is fixed: {command}"


def explain_loss(report: Report, options: SimpleNamespace) -> None:
    """Add it to the hint of each error that has cost a hook its work."""
    if options.paths and not any(options.paths) and options.paths_from is None:
        return  # nothing was touched
    lossless = [run.error for run in report.runs if run.is_safe]
    for error in report.errors:
        # A configuration concerns all runs alike; who lacks rights is told the whole command.
        is_safe = len(lossless) == len(report.runs) > 0 if isinstance(error, ConfigurationError) else error in lossless
        if not (is_safe or isinstance(error, RightsError) or error.is_work_kept):
            error.add_hint(name_way_back(options))


def _words_of(options: SimpleNamespace) -> Iterator[str]:
    for setting in SETTINGS:
        value: Any = getattr(options, setting.name, None)
        is_meant = setting.kept or setting.name in Scope._fields or setting.name in _OTHERS
        is_refused = setting.name == "stateless" and options.state_dir is not None  # the two contradict each other
        if "repair" not in setting.verbs or not is_meant or is_refused or value in (None, False, [], ()):
            continue
        if value is True:
            yield setting.names[0]
        elif setting.kind.is_list:
            yield from (word for each in value for word in (setting.names[0], each))
        else:
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            yield from (setting.names[0], str(text.value if isinstance(text, enum.Enum) else text))
