"""The verbs: what each consists of, and the list of all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace

from ...outcome.observer import Observer
from ...outcome.report import FlavourReport, Report
from ...run import trigger
from ...run.scope.request import Request
from ...run.scope.settings import Setting
from ...typed import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ..output.table import Piece
    from ..output.terminal import Words

#: In the order in which the help lists them.
VERBS = (
    "run",
    "repair",
    "verify",
    "sweep",
    "purge",
    "status",
    "doctor",
    "explain",
    "which",
    "history",
    "store",
    "audit",
    "measure",
    "hooks",
    "completion",
)


class Call(NamedTuple):
    """The parsed command line, before any file is read."""

    options: SimpleNamespace
    program: tuple[str, ...]
    """The command that starts pyctrigger, for the hooks that it renders."""
    read_request: Callable[[Observer], Request]
    """Reads the lists of paths, and returns the request. Raises UsageError."""


def serve(call: Call, observer: Observer) -> Report:
    """Perform the request. Raises PyctriggerError for errors that concern all of it."""
    return trigger.perform(call.read_request(observer), observer)


def _no_lines(_: object) -> tuple[()]:
    return ()


class Verb(NamedTuple):
    """One command of the program."""

    help: str
    perform: Callable[[Call, Observer], Report] = serve
    """Performs it. Raises PyctriggerError."""
    lines: Callable[[Any], Iterable[Piece]] = _no_lines
    """Text output of its report, besides the summary of each flavour."""
    summary: Callable[[FlavourReport], Iterable[str | Words]] = _no_lines
    """Text output for each flavour."""
    doing: str = "compiling"
    """What its progress is called."""
    options: tuple[Setting, ...] = ()
    """Its own options, besides those in the table of settings."""
    group: str = ""
    """The title of its own options in the help."""
    needs: Mapping[str, str] = {"null": "paths_from"}
    """Options, and the one that each of them needs."""
    excludes: Mapping[str, Iterable[str]] = {}
    """Options, and those that contradict each of them."""
    paths: str = "a file or directory (default: everything)"
    """Help for its PATHs; empty for a verb without PATHs, which makes no request about bytecode."""
    defaults: Mapping[str, Any] = {}
    """Defaults of options in the table of settings that have another meaning for it."""
    helps: Mapping[str, str] = {}
    """Their helps."""


def find_verb(name: str) -> Verb:
    """Returns a verb. Its module is imported only now, since a hook needs only one of them."""
    module = f"{__name__}.{name}"
    __import__(module)
    verb: Verb = sys.modules[module].VERB
    return verb
