"""Parses the command line, and makes a `Request` of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..outcome.observer import Observer
from ..run.scope.paths import absolute
from ..run.scope.request import Request, Work
from ..run.scope.settings import DIRECTORIES, DIRECTORY, SETTINGS, ValueKind
from ..typed import Any, NoReturn
from ..version import VERSION
from .commands import VERBS, Call, find_verb
from .options import add_options
from .output.text import say

#: The maximum size of a list of paths, in bytes.
_LARGEST_LIST = 256 << 20


class _Parser(argparse.ArgumentParser):
    """Measures the terminal only if there is help to show: that imports shutil, which a hook doesn't need."""

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
        if left:
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


class _UnmeasuredFormatter(argparse.HelpFormatter):
    """Just enough to check each added option's metavar, as argparse does."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)

    def _set_color(self, color: bool, **options: Any) -> None:
        # For a theme that is never seen, 3.14 imports dataclasses and inspect, 20 modules, in each hook.
        if sys.version_info[:2] != (3, 14):
            super()._set_color(color, **options)  # type: ignore[misc]


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    """Returns the parser of each verb."""
    (verbs,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(verbs.choices)


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
        raise UsageError(f"no such command: {verb}{suggestion}", hint="see pyctrigger --help")
    return [verb, *arguments[:number], *arguments[number + 1 :]]


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Returns the parser, with `only` for a single verb: each one costs a hook time."""
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
        add_options(verbs.add_parser(name, help=verb.help, description=verb.help, allow_abbrev=False), name, verb)
    return parser


def parse(arguments: Sequence[str], program: tuple[str, ...] = ()) -> Call:
    """Read a command line. Raises UsageError; exits only for --help and --version."""
    arguments = list(arguments)
    if "--version" in arguments[: arguments.index("--")] if "--" in arguments else "--version" in arguments:
        arguments = ["--version"]  # wherever it stands
    if not arguments or arguments[0] not in VERBS:
        arguments = _move_verb_first(arguments)
    only = arguments[0] if arguments[0] in VERBS else None
    options = build_parser(only).parse_args(arguments)
    return Call(options, program, lambda observer: _read_request(options, observer))


def _read_request(options: argparse.Namespace, observer: Observer) -> Request:
    request = make_request(options)
    if request.running.hook:  # whatever environment is active in the shell
        return request
    from ..run.scope.environments import with_active

    return with_active(request, os.environ, observer)


def make_request(options: argparse.Namespace) -> Request:
    """Returns the request. Reads the lists of paths that options name. Raises UsageError.

    Settings that the verb has no option for have their defaults.
    """
    said = vars(options)
    kinds = {setting.name: setting.kind for setting in SETTINGS if setting.name in said}
    values = {name: _convert_value(kind, said[name], options) for name, kind in kinds.items()}
    values["paths"] = _read_paths(options, values["pycache_prefix"])
    return Request(Work(options.verb)).with_values(values)


def _convert_value(kind: ValueKind, said: Any, options: argparse.Namespace) -> Any:
    if kind is DIRECTORIES:
        # Relative paths start at the root, if there is one.
        if options.root is not None:
            return tuple(os.path.normpath(os.path.join("/", path)) for path in said)
        return tuple(map(os.path.abspath, said))
    if kind is DIRECTORY and said is not None:
        if not said.startswith("/"):
            # Each process would look for it in its own current directory.
            raise UsageError(f"--pycache-prefix {said}: is relative", hint="name an absolute directory")
        return os.path.normpath(said)
    return tuple(said) if kind.is_list else said


def _read_paths(options: argparse.Namespace, pycache_prefix: str | None) -> tuple[str, ...] | None:
    """Returns the paths; None without any PATH or list, which means everything. An empty list or PATH means nothing."""
    if not options.paths and options.paths_from is None:
        return None
    paths = list(options.paths)
    if options.paths_from is not None:
        paths += _read_path_list(options.paths_from, b"\0" if options.null else b"\n")
    cwd = "/" if options.root is not None else _current_directory(paths)
    found = tuple(absolute(path, manager=options.manager, cwd=cwd) if path else "" for path in paths)
    has_root = options.root is None or os.path.isdir(options.root)  # or else that is the error to report
    if options.paths and has_root and not _comes_from_manager(options):
        from .presence import require_there

        typed: list[str] = options.paths
        require_there(typed, found, root=options.root, prefix=pycache_prefix)
    return found


def _comes_from_manager(options: argparse.Namespace) -> bool:
    """Whether the paths come from a package manager, which may have removed them."""
    return options.hook or options.manager is not None or options.event != "unknown"


def _read_path_list(name: str, separator: bytes) -> list[str]:
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as file:
            data = file.read(_LARGEST_LIST + 1)
    except OSError as error:
        raise UsageError(f"--paths-from {name}: {error.strerror}", hint="name a readable file, or -") from error
    if len(data) > _LARGEST_LIST:
        raise UsageError(
            f"--paths-from {name}: larger than {_LARGEST_LIST >> 20} MiB", hint="name no paths: everything is looked at"
        )
    if separator != b"\0" and b"\0" in data:
        raise UsageError(f"--paths-from {name}: a path holds a NUL", hint="use --null if NULs separate the paths")
    return [os.fsdecode(path) for path in data.split(separator) if path]


def _current_directory(paths: list[str]) -> str:
    if all(path.startswith("/") for path in paths):
        return "/"
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the current directory is gone", hint="name absolute paths") from error
