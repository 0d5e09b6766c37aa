"""Adds a verb's options to a parser, from the table of settings and from those that aren't part of a request."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ..errors import UsageError
from ..run.scope.request import Request, Work
from ..run.scope.settings import (
    BOOLEAN,
    HOW_OFTEN,
    LOOK,
    SERVE,
    SETTINGS,
    TEXT,
    TEXTS,
    WRITE,
    Setting,
    ValueKind,
    one_of,
)
from ..typed import Any
from .commands import Verb

#: In the order of the help, after a verb's own options.
_GROUPS = ("transaction", "paths", "scope", "bytecode", "running", "output")
_EVERY = (*SERVE, "doctor", "history", "audit", "measure", "hooks", "completion")
#: What -v shows, by verb. With -vv each verb shows the traceback of a defect.
_VERBOSE = {
    WRITE: "list each file; -vv: with the reason",
    ("status",): "also show zeros",
    ("audit",): "list all findings",
    ("measure",): "show each run",
    ("verify", "explain", "which", "doctor", "history", "hooks", "completion"): "-vv: show the traceback of a defect",
}
#: Options that aren't part of a request.
_OTHERS = (
    Setting(
        "paths_from",
        TEXT,
        "read more PATHs from FILE, one per line; -: standard input",
        SERVE,
        value="FILE",
        group="paths",
    ),
    Setting("null", BOOLEAN, "PATHs in that file are separated by NUL", SERVE, group="paths"),
    Setting("json", BOOLEAN, "print one JSON object", _EVERY, group="output"),
    Setting(
        "quiet", BOOLEAN, "print only errors and failures", (*SERVE, "audit"), flags=("-q", "--quiet"), group="output"
    ),
    *(
        Setting("verbose", HOW_OFTEN, text, verbs, flags=("-v", "--verbose"), group="output")
        for verbs, text in _VERBOSE.items()
    ),
    Setting("no_progress", BOOLEAN, "show no progress", (*LOOK, "audit", "measure"), group="output"),
    Setting(
        "color",
        one_of("auto", "always", "never"),
        "when to use colour; auto: on a terminal (default)",
        _EVERY,
        group="output",
        default="auto",
    ),
)
_REQUEST = Request(Work.RUN)
#: The values of a request without any options.
_DEFAULTS = _REQUEST.values()
#: The part of a request that a setting belongs to.
_PARTS = {name: part for part in Request._fields[1:] for name in getattr(_REQUEST, part)._fields}
#: Values of options that are read for every verb, also if the verb doesn't have them.
_ABSENT = {
    **{name: _DEFAULTS[name] for name in ("hook", "dry_run", "event", "manager")},
    "quiet": False,
    "no_progress": True,
    "proof": None,
}


class Once(argparse._StoreAction):
    """An option that may have only one value: of two roots, or two lists of levels, one would silently be ignored."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Store the value. Raises ArgumentError if a different one was given before."""
        if getattr(namespace, self.dest) not in (self.default, values):
            raise argparse.ArgumentError(self, "it was given twice, with different values")
        setattr(namespace, self.dest, values)


def add_options(parser: argparse.ArgumentParser, name: str, verb: Verb) -> None:
    """Add a verb's own options, its PATHs, and the options that it shares with other verbs."""
    own = [(setting.group or verb.group, setting) for setting in verb.options]
    if verb.paths:
        own.append(("", Setting("paths", TEXTS, verb.paths, value="PATH", flags=("paths",), default=[])))
    shared = [
        (setting.group or _PARTS[setting.name], setting) for setting in (*SETTINGS, *_OTHERS) if name in setting.verbs
    ]
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for group, setting in sorted((*own, *shared), key=lambda each: _group_position(each[0])):
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        add = groups[group].add_argument
        if setting.names[0].startswith("-"):
            add(*setting.names, dest=setting.name, help=setting.help, **_option_arguments(setting))
        else:
            add(setting.name, help=setting.help, **_positional_arguments(setting))
    taken = {setting.name for _, setting in (*own, *shared)}
    absent = {name: value for name, value in _ABSENT.items() if name not in taken}
    parser.set_defaults(**absent, **verb.defaults)


def require_consistent(options: argparse.Namespace, verb: Verb) -> None:
    """Raise UsageError for an option without the one that it needs, and for two that contradict each other."""

    def flag(name: str) -> str:
        return next(each.names[0] for each in (*verb.options, *SETTINGS, *_OTHERS) if each.name == name)

    given = {name for name, value in vars(options).items() if value is not None and value is not False and value != []}
    for name, needed in verb.needs.items():
        if name in given and needed not in given:
            one, other = flag(name), flag(needed)
            raise UsageError(f"{one} needs {other}", hint=f"add {other}, or leave out {one}")
    for name, others in verb.excludes.items():
        for other in given.intersection(others) if name in given else ():
            raise UsageError(f"{flag(name)} and {flag(other)} contradict each other", hint="leave one of them out")


def _group_position(group: str) -> int:
    return _GROUPS.index(group) + 1 if group in _GROUPS else 0


def _positional_arguments(setting: Setting) -> dict[str, Any]:
    """Returns what argparse needs for a positional argument. A list without a default needs at least one value."""
    if not setting.kind.is_list:
        return {"choices": setting.kind.choices, "type": _reader_of(setting.kind)}
    return {"nargs": "+" if setting.default is None else "*", "metavar": setting.value, "default": setting.default}


def _option_arguments(setting: Setting) -> dict[str, Any]:
    kind, value = setting.kind, setting.value or setting.kind.value
    if kind is BOOLEAN:
        return {"action": "store_true"}
    if kind is HOW_OFTEN:
        return {"action": "count", "default": 0}
    if kind.is_list:
        return {"action": "append", "metavar": value, "default": []}
    default = _DEFAULTS.get(setting.name) if setting.default is None else setting.default
    arguments: dict[str, Any] = {"default": default, "action": Once if setting.once else "store"}
    if kind.say:
        arguments["type"] = _reader_of(kind)
    shown = {"choices": kind.choices} if kind.choices and not value else {"metavar": value or None}
    return {**arguments, **shown}


def _reader_of(kind: ValueKind) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return read
