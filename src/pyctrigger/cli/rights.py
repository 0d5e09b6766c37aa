"""The one line for who has no right to do what was asked: what to type as root."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..errors import RightsError
from .text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..run.outcome import Failure
    from ..run.report import Report

#: Places that are named, where there are more of them.
_MOST_NAMED = 3


def tell_rights(report: Report, denied: Sequence[Failure], arguments: Sequence[str]) -> None:
    """Make one error of all the places that may not be written, and give each such error the command to type."""
    if denied:
        paths = list(dict.fromkeys(shown(failure.path) for failure in denied))
        more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
        report.errors.append(RightsError(f"no right to write in {', '.join(paths[:_MOST_NAMED])}{more}"))
    for error in report.errors:
        if isinstance(error, RightsError):
            error.mend = f"you need root: sudo {shlex.join(['pyctrigger', *arguments])}"
