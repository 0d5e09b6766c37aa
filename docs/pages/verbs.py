"""Reads the parser: each verb with its arguments and options, as the reference shows them.

argparse's own formatter has no part in it: its output differs from one Python to the next.
"""

from __future__ import annotations

import argparse
import re
from typing import Any, NamedTuple

from pyctrigger.run.scope import settings as schema

from .prose import ProseError

_DEFAULT = re.compile(r"(?:;)? ?\((?:default: ([^)]*)|(?:the )?default)\)")
_REPEATABLE = re.compile(r"(?:; |, |\()repeatable\)?")


class Option(NamedTuple):
    """One option, or one argument without a dash."""

    names: tuple[str, ...]
    """None of an argument."""
    value: str
    """As the help calls it: DIR, V; nothing of a switch."""
    help: str
    """Without its default, and without being repeatable."""
    choices: tuple[str, ...]
    default: str
    """As it is written on a command line; nothing where there is none."""
    is_configured: bool
    """Whether the configuration has the default."""
    is_repeatable: bool

    @property
    def terms(self) -> tuple[str, ...]:
        """Its heading: `-q`, `--quiet`; `--python V`."""
        if not self.names:
            return (f"{self.value} ..." if self.is_repeatable else self.value,)
        return (*self.names[:-1], f"{self.names[-1]} {self.value}".strip())


class Group(NamedTuple):
    """Options that belong together."""

    title: str
    options: tuple[Option, ...]


class Verb(NamedTuple):
    """One command."""

    name: str
    help: str
    groups: tuple[Group, ...]

    @property
    def options(self) -> dict[str, Option]:
        """All of them by each of their names; arguments by theirs."""
        every = [option for group in self.groups for option in group.options]
        return {name: option for option in every for name in option.names or (option.value,)}

    @property
    def form(self) -> str:
        """The synopsis, where the prose has no better one."""
        arguments = [option for group in self.groups for option in group.options if not option.names]
        values = [" ".join(each.terms) for each in arguments]
        return " ".join(["pyctrigger", self.name, "[options]", *(f"[{value}]" for value in values)])


def read_verbs(parser: argparse.ArgumentParser) -> dict[str, Verb]:
    """The verbs, in the order of the help. Raises ProseError for an option without a help."""
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in action._get_subactions()}
    return {name: Verb(name, helps[name], _groups(name, each)) for name, each in action.choices.items()}


def _groups(verb: str, parser: argparse.ArgumentParser) -> tuple[Group, ...]:
    # By their place: the first two have other titles in Python 3.9.
    titles = ["Arguments", "Options", *(str(group.title).capitalize() for group in parser._action_groups[2:])]
    found: dict[str, tuple[Option, ...]] = {}
    for title, group in zip(titles, parser._action_groups):
        shown = [each for each in group._group_actions if not isinstance(each, argparse._HelpAction)]
        found[title] = found.get(title, ()) + tuple(
            _option(verb, each) for each in shown if each.help != argparse.SUPPRESS
        )
    return tuple(Group(title, options) for title, options in found.items() if options)


def _option(verb: str, action: argparse.Action) -> Option:
    name = "/".join(action.option_strings) or action.dest
    if not action.help:
        raise ProseError(f"pyctrigger {verb}: {name} has no help; give add_argument() one, and run docs/build")
    value = ""
    if action.nargs != 0:
        value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    help_text = " ".join(action.help.replace("%%", "%").split())
    told = _DEFAULT.search(help_text)
    default = _default(action)
    configured = action.default is None and action.dest in schema.DEFAULTS
    if told and told[1] and not configured:
        if default and default != told[1]:
            raise ProseError(f"pyctrigger {verb}: {name} says that its default is {told[1]}, and it is {default}")
        default = told[1]
    return Option(
        names=tuple(action.option_strings),
        value=value,
        help=_REPEATABLE.sub("", _DEFAULT.sub("", help_text)).strip(" ;,"),
        choices=tuple(map(str, action.choices)) if action.choices is not None else (),
        default=default,
        is_configured=configured,
        is_repeatable=isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+"),
    )


def _default(action: argparse.Action) -> str:
    default: Any = action.default
    if action.nargs == 0 or default is None or default == [] or isinstance(default, bool):
        return ""
    if isinstance(default, int) and default and default % (1 << 30) == 0:
        return f"{default >> 30}GiB"
    return f"{default:g}" if isinstance(default, float) else str(default)
