"""What can stand on the command line, read from the parser: verbs, options, and what their values are."""

from __future__ import annotations

import argparse
from enum import Enum
from typing import NamedTuple

from ...interpreter.flavour import STANDARD_DIRECTORIES
from ...pyc.header import InvalidationMode


class Kind(Enum):
    """What a value is, as far as a shell can help with it."""

    WORDS = "words"
    FILES = "files"
    DIRECTORIES = "directories"
    FLAVOURS = "flavours"
    UNKNOWN = "unknown"


#: By the name that the help gives to a value.
_KINDS = {
    "DIR": Kind.DIRECTORIES,
    "FILE": Kind.FILES,
    "PATH": Kind.FILES,
    "PYC": Kind.FILES,
    "ARCHIVE": Kind.FILES,
    "SCRIPT": Kind.FILES,
    "V": Kind.FLAVOURS,
    "PYTHON": Kind.FLAVOURS,
}
#: Values that are words, though the parser has no list of them.
_WORDS = {
    "MODE": tuple(mode.value for mode in InvalidationMode),
    "0,1,2": ("0", "0,1", "0,1,2"),
}


class Value(NamedTuple):
    """What follows an option, or stands by itself."""

    name: str
    """As the help calls it: DIR, FILE, V."""
    kind: Kind
    words: tuple[str, ...] = ()
    repeats: bool = False
    """Whether there may be more of them, for one that stands by itself."""


class Option(NamedTuple):
    """One option, under all of its names."""

    names: tuple[str, ...]
    help: str
    value: Value | None
    repeats: bool


class Verb(NamedTuple):
    """One command."""

    name: str
    help: str
    options: tuple[Option, ...]
    values: tuple[Value, ...]


class Grammar(NamedTuple):
    """The whole command line."""

    program: str
    options: tuple[Option, ...]
    """Those that stand before a verb."""
    verbs: tuple[Verb, ...]
    directories: tuple[str, ...]
    """Where interpreters are looked for, so that a shell can name the flavours without starting anything."""


def read_grammar(parser: argparse.ArgumentParser) -> Grammar:
    """The grammar of a parser that has one set of verbs."""
    (verbs,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in verbs._get_subactions()}
    return Grammar(
        parser.prog,
        _options(parser),
        tuple(Verb(name, helps.get(name, ""), _options(each), _values(each)) for name, each in verbs.choices.items()),
        STANDARD_DIRECTORIES,
    )


def _options(parser: argparse.ArgumentParser) -> tuple[Option, ...]:
    return tuple(
        Option(
            tuple(action.option_strings),
            _said(action),
            None if action.nargs == 0 else _value(action),
            isinstance(action, (argparse._AppendAction, argparse._CountAction)),
        )
        for action in parser._actions
        if action.option_strings and action.help != argparse.SUPPRESS
    )


def _values(parser: argparse.ArgumentParser) -> tuple[Value, ...]:
    return tuple(
        _value(action)
        for action in parser._actions
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)
    )


def _value(action: argparse.Action) -> Value:
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    words = tuple(map(str, action.choices)) if action.choices is not None else _WORDS.get(name, ())
    kind = Kind.WORDS if words else _kind(name)
    return Value(name, kind, words, action.nargs in ("*", "+"))


def _kind(name: str) -> Kind:
    """`ARCHIVE|DIR` is what its first word says."""
    return next((_KINDS[word] for word in name.split("|") if word in _KINDS), Kind.UNKNOWN)


def _said(action: argparse.Action) -> str:
    return " ".join((action.help or "").replace("%%", "%").split())
