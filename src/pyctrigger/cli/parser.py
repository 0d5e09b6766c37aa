"""Parses command lines by argparse, with the options that each verb takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace

from ..errors import UsageError
from ..run.scope.settings import BOOLEAN, HOW_OFTEN, Setting, ValueKind
from ..typed import Any, NoReturn
from ..version import VERSION
from .commands import VERBS, Verb, find_verb
from .options import default_of, options_of, own_defaults
from .output.text import say


class _Parser(argparse.ArgumentParser):
    """Measures the terminal only if there is help to show: that imports shutil, which few calls need."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_UnmeasuredFormatter, **options)

    def format_help(self) -> str:
        from .guides import read_guides

        self.formatter_class = argparse.HelpFormatter
        about, guide = self.description or "", read_guides()[self.prog]
        self.description = f"{about[:1].upper()}{about[1:].rstrip('.')}. {guide.when}"
        try:
            return f"{super().format_help()}\nexamples:\n{guide.examples}"
        finally:
            self.description = about

    def format_usage(self) -> str:
        self.formatter_class = argparse.HelpFormatter
        return super().format_usage()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, left = self.parse_known_args(args, namespace)
        if left and not _take_places(options, left):
            raise UsageError(_describe_rejected(options.verb, left), hint=f"see {self.prog} {options.verb} --help")
        return options

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help like everything else. Before 3.11.3 argparse lets exceptions of writing escape."""
        if message:
            say(file or sys.stderr, message, end="")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        if action.option_strings and "" in arg_strings:
            # Usually an unset variable of a shell. As a directory it would mean the current one.
            raise argparse.ArgumentError(action, "its value is empty")
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        raise UsageError(self._reword(message), hint=f"see {self.prog} --help")

    def _reword(self, message: str) -> str:
        if not message.startswith("the following arguments are required"):
            return message.removeprefix("argument ")
        needed = next(each for each in self._actions if not each.option_strings and each.nargs in (None, "+"))
        verb = self.prog.rpartition(" ")[2]
        names = needed.metavar if needed.choices is None else f"one of these: {_join_choices(needed.choices)}"
        return f"{verb} needs {names}"


def _join_choices(choices: Iterable[str]) -> str:
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


class _Once(argparse._StoreAction):
    """An option that may have only one value: of two roots, or two lists of levels, one would silently be ignored."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any) -> None:
        """Store the value. Raises ArgumentError if a different one was given before."""
        if getattr(namespace, self.dest) not in (self.default, values):
            raise argparse.ArgumentError(self, "it was given twice, with different values")
        setattr(namespace, self.dest, values)


class _UnmeasuredFormatter(argparse.HelpFormatter):
    """Just enough to check each added option's metavar, as argparse does."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)

    def _set_color(self, color: bool, **options: Any) -> None:
        # For a theme that is never seen, 3.14 imports dataclasses and inspect, 20 modules, in each call.
        if sys.version_info[:2] != (3, 14):
            super()._set_color(color, **options)  # type: ignore[misc]


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each verb."""
    (verbs,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(verbs.choices)


def _take_places(options: argparse.Namespace, left: list[str]) -> bool:
    """Whether what is left are more of a verb's places, after an option: argparse takes only those before it."""
    actions = verb_parsers()[options.verb]._actions
    many = [each.dest for each in actions if each.nargs in ("*", "+") and not each.option_strings]
    if not many or any(each.startswith("-") for each in left):
        return False
    setattr(options, many[0], [*getattr(options, many[0]), *left])
    return True


def _describe_rejected(verb: str, left: list[str]) -> str:
    """Returns the message about arguments that a verb doesn't take."""
    from ..suggestions import did_you_mean

    parsers = verb_parsers()
    for name in (each.partition("=")[0] for each in left if each.startswith("-")):
        takers = [taker for taker, parser in parsers.items() if name in parser._option_string_actions]
        if takers:
            *others, last = takers
            return f"{verb} takes no {name} ({', '.join(others)}{' and ' if others else ''}{last} can use it)"
        return f"{verb} has no option {name}{did_you_mean(name, parsers[verb]._option_string_actions)}"
    return f"{verb} takes no more arguments: {' '.join(left)}"


def _move_verb_first(arguments: list[str]) -> list[str]:
    """Returns the arguments with the verb moved to the front. Raises UsageError."""
    from ..suggestions import COMMANDS, did_you_mean

    known: dict[str, argparse.Action] = {}
    for parser in verb_parsers().values():
        known |= parser._option_string_actions
    number = 0
    while number < len(arguments) and arguments[number].startswith("-"):
        name, has_value, _ = arguments[number].partition("=")
        if name in ("-h", "--help", "--version"):
            return arguments
        option = known.get(name if name.startswith("--") else name[:2])
        if option is None:
            raise UsageError(f"no such option: {name}{did_you_mean(name, known)}", hint="see pyctrigger --help")
        number += 1 if has_value or option.nargs == 0 else 2
    if number >= len(arguments):
        raise UsageError("no command", hint="try pyctrigger doctor, or see pyctrigger --help")
    verb = arguments[number]
    if verb not in VERBS:
        suggestion = did_you_mean(verb, VERBS, COMMANDS)
        raise UsageError(f"no such command: {verb or repr(verb)}{suggestion}", hint="see pyctrigger --help")
    return [verb, *arguments[:number], *arguments[number + 1 :]]


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Returns the parser, with `only` for a single verb: each one costs time."""
    parser = _Parser(
        prog="pyctrigger", description="Keeps Python bytecode in step with its sources.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"pyctrigger {VERSION}")
    # With `prog` given, argparse needs no formatter, which would import shutil.
    verbs = parser.add_subparsers(
        dest="verb", metavar="COMMAND", required=True, parser_class=_Parser, prog="pyctrigger"
    )
    for name in VERBS if only is None else (only,):
        verb = find_verb(name)
        _add_options(verbs.add_parser(name, help=verb.help, description=verb.help, allow_abbrev=False), name, verb)
    return parser


def parse_options(arguments: Sequence[str]) -> SimpleNamespace:
    """Returns the options that a command line means. Raises UsageError; exits only for --help and --version."""
    arguments = list(arguments)
    if "--version" in arguments[: arguments.index("--")] if "--" in arguments else "--version" in arguments:
        arguments = ["--version"]  # wherever it stands
    if not arguments or arguments[0] not in VERBS:
        arguments = _move_verb_first(arguments)
    only = arguments[0] if arguments[0] in VERBS else None
    return SimpleNamespace(**vars(build_parser(only).parse_args(arguments)))


def _add_options(parser: argparse.ArgumentParser, name: str, verb: Verb) -> None:
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    taken = options_of(name, verb)
    for group, setting in taken:
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        add = groups[group].add_argument
        if setting.names[0].startswith("-"):
            add(*setting.names, dest=setting.name, help=setting.help, **_option_arguments(setting))
        else:
            add(setting.name, help=setting.help, **_positional_arguments(setting))
    parser.set_defaults(**own_defaults(verb, [setting for _, setting in taken]))


def _positional_arguments(setting: Setting) -> dict[str, Any]:
    """Returns what argparse needs for a positional argument. A list without a default needs at least one value."""
    if not setting.kind.is_list:
        return {"choices": setting.kind.choices, "type": _reader_of(setting.kind)}
    return {"nargs": "+" if setting.default is None else "*", "metavar": setting.value, "default": setting.default}


def _option_arguments(setting: Setting) -> dict[str, Any]:
    kind, value = setting.kind, setting.value or setting.kind.value
    arguments: dict[str, Any] = {"default": default_of(setting)}
    if kind is BOOLEAN:
        return {**arguments, "action": "store_true"}
    if kind is HOW_OFTEN:
        return {**arguments, "action": "count"}
    if kind.is_list:
        return {**arguments, "action": "append", "metavar": value}
    arguments |= {"action": _Once if setting.once else "store", "type": _reader_of(kind)}
    shown = {"choices": kind.choices} if kind.choices and not value else {"metavar": value or None}
    return {**arguments, **shown}


def _reader_of(kind: ValueKind) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None

    return read
