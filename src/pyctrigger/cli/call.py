"""Reads a call: its options from the command line, and then the `Request` that they ask for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import SimpleNamespace

from ..errors import UsageError
from ..outcome.observer import Observer
from ..run.scope.paths import absolute
from ..run.scope.request import Request, Work
from ..run.scope.settings import DIRECTORIES, DIRECTORY, SETTINGS, ValueKind
from ..typed import Any
from .commands import Call
from .hook_line import read_hook_line

#: The maximum size of a list of paths, in bytes.
_LARGEST_LIST = 256 << 20


def parse(arguments: Sequence[str], program: tuple[str, ...] = ()) -> Call:
    """Read a command line. Raises UsageError; exits only for --help and --version."""
    options = read_hook_line(arguments)
    if options is None:
        from .parser import parse_options  # argparse, which takes a fifth of a hook's start

        options = parse_options(arguments)
    return Call(options, program, lambda observer: _read_request(options, observer))


def _read_request(options: SimpleNamespace, observer: Observer) -> Request:
    request = make_request(options)
    if request.running.hook:  # whatever environment is active in the shell
        return request
    from ..run.scope.environments import with_active

    return with_active(request, os.environ, observer)


def make_request(options: SimpleNamespace) -> Request:
    """Returns the request. Reads the lists of paths that options name. Raises UsageError.

    Settings that the verb has no option for have their defaults.
    """
    said = vars(options)
    kinds = {setting.name: setting.kind for setting in SETTINGS if setting.name in said}
    values = {name: _convert_value(kind, said[name], options) for name, kind in kinds.items()}
    values["paths"] = _read_paths(options, values["pycache_prefix"])
    return Request(Work(options.verb)).with_values(values)


def _convert_value(kind: ValueKind, said: Any, options: SimpleNamespace) -> Any:
    if kind is DIRECTORIES:
        # Relative paths start at the root, if there is one.
        if options.root is not None:
            return tuple(os.path.normpath(os.path.join("/", path)) for path in said)
        return tuple(map(os.path.abspath, said))
    if kind is DIRECTORY and said is not None:
        if not said.startswith("/"):
            # Each process would look for it in its own current directory.
            raise UsageError(f"--pycache-prefix {said}: a relative path", hint="name an absolute directory")
        return os.path.normpath(said)
    return tuple(said) if kind.is_list else said


def _read_paths(options: SimpleNamespace, pycache_prefix: str | None) -> tuple[str, ...] | None:
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


def _comes_from_manager(options: SimpleNamespace) -> bool:
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
