"""What a verb is, what it is called with, and the names of all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...run import trigger
from ...tuples import NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from ...outcome.observer import Observer
    from ...outcome.report import FlavourReport, Report
    from ...run.scope.request import Request
    from ...run.scope.settings import Setting
    from ..output.colour import Words
    from ..output.table import Piece

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
    "audit",
    "measure",
    "hooks",
    "completion",
)


class Call(NamedTuple):
    """What the command line asks for, as far as it can be told without looking at a file."""

    options: argparse.Namespace
    program: tuple[str, ...]
    """How pyctrigger is started, for the hooks that it renders."""
    make_request: Callable[[argparse.Namespace, Observer], Request]
    """Of the options, and of the lists of paths that they name. Raises UsageError."""

    def read_request(self, observer: Observer) -> Request:
        """The request that it is. Raises UsageError."""
        return self.make_request(self.options, observer)


def serve(call: Call, observer: Observer) -> Report:
    """Do what the request asks for. Raises PyctriggerError for what concerns it as a whole."""
    return trigger.perform(call.read_request(observer), observer)


def _nothing(_: object) -> tuple[()]:
    return ()


class Verb(NamedTuple):
    """One command."""

    help: str
    perform: Callable[[Call, Observer], Report] = serve
    """Do it. Raises PyctriggerError."""
    lines: Callable[[Any], Iterable[Piece]] = _nothing
    """What its report says to a person, beside what became of each flavour."""
    summary: Callable[[FlavourReport], Iterable[str | Words]] = _nothing
    """What a person is told of each flavour."""
    options: tuple[Setting, ...] = ()
    """Its own, beside those of the table of settings."""
    paths: str = "a file or directory to look at (default: everything)"
    """What its PATHs are; nothing: it takes none, and is no request about bytecode."""
    defaults: Mapping[str, Any] = {}
    """Of options in the table of settings that mean something else to it."""


def find_verb(name: str) -> Verb:
    """Returns a verb; its module is imported when it is asked for, as a hook needs one of them."""
    module = f"{__name__}.{name}"
    __import__(module)
    verb: Verb = sys.modules[module].VERB
    return verb
