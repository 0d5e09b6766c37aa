"""Which options each verb takes, and how each of them is written."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..tuples import NamedTuple

if TYPE_CHECKING:
    from ..pyc.header import InvalidationMode


def levels(text: str) -> tuple[int, ...]:
    """Optimization levels, sorted and once each. Raises ArgumentTypeError."""
    parts = text.split(",")
    if not all(part in ("0", "1", "2") for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: say levels from 0 to 2, such as 0,1,2")
    return tuple(sorted({int(part) for part in parts}))


def invalidation_mode(text: str) -> InvalidationMode:
    """A mode by its name. Raises ArgumentTypeError."""
    from ..pyc.header import InvalidationMode

    try:
        return InvalidationMode(text)
    except ValueError:
        from ..suggestions import did_you_mean

        likely = did_you_mean(text, [mode.value for mode in InvalidationMode])
        raise argparse.ArgumentTypeError(f"{text!r}: say timestamp, checked-hash or unchecked-hash{likely}") from None


def epoch(text: str) -> int:
    """Seconds since 1970. Raises ArgumentTypeError."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds since 1970")
    return int(text)


def processes(text: str) -> int:
    """A number of processes, 0 for as many as the machine allows. Raises ArgumentTypeError."""
    return whole_number(text, 0, 4096)


def whole_number(text: str, least: int, most: int) -> int:
    """Raises ArgumentTypeError with the limits."""
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r}: say a number from {least} to {most}")
    return int(text)


def time_limit(text: str) -> float:
    """A time from 0 to 11 days. Raises ArgumentTypeError."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds")
    return found


def positive_time_limit(text: str) -> float:
    """The same, and not 0. Raises ArgumentTypeError."""
    found = time_limit(text)
    if found == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds")
    return found


class Once(argparse._StoreAction):
    """What a command is about is said once: of two roots, or two lists of levels, one would silently be left out."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Keep the value. Raises ArgumentError for another one than was given before."""
        if getattr(namespace, self.dest) not in (self.default, values):
            raise argparse.ArgumentError(self, "it was given twice, with different values")
        setattr(namespace, self.dest, values)


class Option(NamedTuple):
    """One option that several verbs have."""

    group: str
    """Under what title the help lists it."""
    verbs: tuple[str, ...]
    """Those that take it, since it changes what they do."""
    names: tuple[str, ...]
    argparse: dict[str, Any]
    """What `add_argument` is told of it."""


_COMPILE = ("run", "repair")
_WRITE = (*_COMPILE, "sweep", "purge")
_COMPARE = (*_COMPILE, "verify", "status", "explain")
_LOOK = (*_WRITE, "verify", "status", "explain")
_ALL = (*_LOOK, "which")
_EVERY = (*_ALL, "doctor", "history", "audit", "measure", "hooks", "completion")
_LIST: dict[str, Any] = {"action": "append", "default": []}
_SWITCH: dict[str, Any] = {"action": "store_true"}

#: What it shows more, by verb; -vv shows of each where a defect is.
_VERBOSE = {
    _WRITE: "name each file; -vv: and why",
    ("status",): "show numbers that are 0, too",
    ("audit",): "list all findings",
    ("measure",): "show each run",
    ("verify", "explain", "which", "doctor", "history", "hooks", "completion"): "-vv: show where a defect is",
}
#: In the order of the help. The verbs' own options are declared in their modules (`cli/commands`).
OPTIONS = (
    Option(
        "paths",
        _ALL,
        ("--paths-from",),
        {"metavar": "FILE", "help": "read more PATHs from FILE, one a line; -: standard input"},
    ),
    Option("paths", _ALL, ("--null",), {**_SWITCH, "help": "PATHs in that file are separated by NUL"}),
    Option(
        "scope",
        (*_ALL, "measure", "hooks"),
        ("--python",),
        {"metavar": "V", **_LIST, "help": "which Python: 3.11, 3.13t, pypy3.11, python3 or a path; repeatable"},
    ),
    Option(
        "scope",
        (*_ALL, "history", "hooks"),
        ("--root",),
        {"metavar": "DIR", "action": Once, "help": "a chroot, jail or image, seen from outside"},
    ),
    Option("scope", _ALL, ("--trust-root",), {**_SWITCH, "help": "run the Python inside the root"}),
    Option(
        "scope",
        (*_ALL, "measure", "hooks"),
        ("--site-dir",),
        {"metavar": "DIR", **_LIST, "help": "this directory instead of the target's own; repeatable"},
    ),
    Option(
        "scope",
        (*_ALL, "measure"),
        ("--prefix",),
        {"metavar": "DIR", **_LIST, "help": "a venv or conda environment; repeatable"},
    ),
    Option(
        "scope",
        _ALL,
        ("--prefix-below",),
        {"metavar": "DIR", **_LIST, "help": "all environments below this directory; repeatable"},
    ),
    Option("scope", _ALL, ("--stdlib",), {**_SWITCH, "help": "the standard library, too"}),
    Option(
        "scope",
        _ALL,
        ("--pycache-prefix",),
        {"metavar": "DIR", "action": Once, "help": "where bytecode is kept, as in the Python's sys.pycache_prefix"},
    ),
    Option(
        "scope",
        _COMPARE,
        ("--exclude",),
        {"metavar": "GLOB", **_LIST, "help": "leave out sources whose full path matches; repeatable"},
    ),
    Option(
        "bytecode",
        _LOOK,
        ("--optimize",),
        {"metavar": "0,1,2", "action": Once, "type": levels, "help": "optimization levels (default: 0)"},
    ),
    Option(
        "bytecode",
        _COMPARE,
        ("--invalidation-mode",),
        {
            "metavar": "MODE",
            "action": Once,
            "type": invalidation_mode,
            "help": "how a pyc shows that its source changed: timestamp, checked-hash or unchecked-hash",
        },
    ),
    Option(
        "bytecode",
        _COMPARE,
        ("--source-date-epoch",),
        {"metavar": "N", "type": epoch, "help": "write no later timestamp than this into a pyc"},
    ),
    Option(
        "running",
        (*_COMPILE, "status", "audit"),
        ("--jobs",),
        {"metavar": "N", "type": processes, "help": "how many workers; 0: as many as the machine allows"},
    ),
    Option(
        "running",
        _WRITE,
        ("--lock-timeout",),
        {"metavar": "SECONDS", "type": time_limit, "help": "how long to wait for another run to end"},
    ),
    Option(
        "running",
        (*_ALL, "doctor", "history", "hooks"),
        ("--state-dir",),
        {"metavar": "DIR", "help": "where the state is kept"},
    ),
    Option("running", (*_ALL, "hooks"), ("--stateless",), {**_SWITCH, "help": "keep no state and take no lock"}),
    Option(
        "running",
        (*_ALL, "doctor", "audit", "measure"),
        ("--config",),
        {"metavar": "FILE", "help": "the configuration file"},
    ),
    Option(
        "running", (*_WRITE, "hooks"), ("--dry-run",), {**_SWITCH, "help": "show what would be done, and do nothing"}
    ),
    Option("output", _EVERY, ("--json",), {**_SWITCH, "help": "print one JSON object"}),
    Option(
        "output",
        (*_ALL, "audit"),
        ("-q", "--quiet"),
        {**_SWITCH, "help": "print errors and failures only"},
    ),
    *(
        Option("output", verbs, ("-v", "--verbose"), {"action": "count", "default": 0, "help": text})
        for verbs, text in _VERBOSE.items()
    ),
    Option("output", (*_LOOK, "audit", "measure"), ("--no-progress",), {**_SWITCH, "help": "show no progress"}),
    Option(
        "output",
        _EVERY,
        ("--color",),
        {
            "default": "auto",
            "choices": ("auto", "always", "never"),
            "help": "when to use colour; auto: on a terminal (default)",
        },
    ),
)


def add_shared_options(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add those that a verb has in common with others."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if verb in option.verbs:
            group = groups.get(option.group) or parser.add_argument_group(option.group)
            groups[option.group] = group
            group.add_argument(*option.names, **option.argparse)
