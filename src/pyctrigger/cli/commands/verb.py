"""What a verb is, what it is called with, and all of them by their names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...run import trigger
from ...tuples import NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from ...outcome.observer import Observer
    from ...outcome.report import FlavourReport, Report
    from ...run.scope.request import Request
    from ...run.scope.settings import Setting
    from ..output.colour import Words
    from ..output.table import Piece

#: In the order in which the help lists them.
_NAMES = (
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
    command: str
    hook: bool
    dry_run: bool
    json: bool
    quiet: bool
    verbosity: int
    progress: bool
    color: str

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


class _Verbs(Mapping[str, Verb]):
    """Each verb, its module imported when it is asked for: a hook needs one of them."""

    def __getitem__(self, name: str) -> Verb:
        if name not in _NAMES:
            raise KeyError(name)
        module = f"{__package__}.{name}"
        __import__(module)
        verb: Verb = sys.modules[module].VERB
        return verb

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


VERBS: Mapping[str, Verb] = _Verbs()
