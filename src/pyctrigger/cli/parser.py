"""The parser: every verb and option of the contract, and what they make: a `Request` and the way to show its report."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..errors import UsageError
from ..run.request import Request, Work
from ..run.transaction import absolute
from ..version import VERSION
from .commands import VERBS
from .options import add_prefix, add_python, add_site_dir, processes, time_limit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..pyc.header import InvalidationMode


class Call(NamedTuple):
    """What the command line asks for, as far as it can be told without looking at a file."""

    options: argparse.Namespace
    command: str
    hook: bool
    dry_run: bool
    json: bool
    quiet: bool
    verbosity: int
    progress: bool
    color: str


class _Parser(argparse.ArgumentParser):
    """Measures the terminal when there is something to format: that takes shutil, and a trigger has no help to show."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Unmeasured, **options)

    def format_help(self) -> str:
        self.formatter_class = argparse.HelpFormatter
        return super().format_help()

    def format_usage(self) -> str:
        self.formatter_class = argparse.HelpFormatter
        return super().format_usage()

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, mend=f"see {self.prog} --help")


class _Unmeasured(argparse.HelpFormatter):
    """Enough to see whether an option's metavar can be shown, as each that is added is asked."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser. With `only`, that of one verb alone: a trigger pays for each of them."""
    parser = _Parser(
        prog="pyctrigger", description="Keeps Python bytecode in step with its sources.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"pyctrigger {VERSION}")
    # Named, `prog` needs no formatter, and with it no shutil.
    verbs = parser.add_subparsers(
        dest="verb", metavar="COMMAND", required=True, parser_class=_Parser, prog="pyctrigger"
    )
    for verb in VERBS if only is None else (only,):
        module = VERBS[verb]
        subparser = verbs.add_parser(verb, help=module.HELP, description=module.HELP, allow_abbrev=False)
        module.add_options(subparser)
        if not hasattr(module, "perform"):
            _add_paths(subparser)
            _add_scope(subparser)
            _add_bytecode(subparser)
            _add_state(subparser)
        _add_output(subparser)
    return parser


def parse(arguments: Sequence[str]) -> Call:
    """Read a command line. Raises UsageError; exits only for --help and --version."""
    only = arguments[0] if arguments and arguments[0] in VERBS else None
    options = build_parser(only).parse_args(list(arguments))
    return Call(
        options,
        options.verb,
        getattr(options, "hook", False),
        options.dry_run,
        options.json,
        options.quiet,
        options.verbose,
        not options.no_progress,
        options.color,
    )


def make_request(options: argparse.Namespace) -> Request:
    """What is to be done; reads the lists of paths that the options name. Raises UsageError."""
    return Request(
        work=Work(options.verb),
        pythons=tuple(options.python),
        paths=_paths(options),
        root=_absolute(options.root),
        trust_root=options.trust_root,
        site_dirs=tuple(_inside(path, options.root) for path in options.site_dir),
        prefixes=tuple(_inside(path, options.root) for path in options.prefix),
        stdlib=options.stdlib,
        pycache_prefix=_pycache_prefix(options.pycache_prefix),
        optimize=options.optimize,
        invalidation_mode=options.invalidation_mode,
        source_date_epoch=options.source_date_epoch,
        exclude=tuple(options.exclude),
        jobs=options.jobs,
        lock_timeout=options.lock_timeout,
        state_dir=_absolute(options.state_dir),
        stateless=options.stateless,
        config=_absolute(options.config),
        dry_run=options.dry_run,
        event=getattr(options, "event", "unknown"),
        manager=getattr(options, "manager", None),
        hook=getattr(options, "hook", False),
        defer=getattr(options, "defer", False),
        compare_code=getattr(options, "compare_code", False),
        cache_tag=getattr(options, "cache_tag", None),
        every=getattr(options, "every", False),
    )


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="what was touched, may be gone; none at all: the whole scope"
    )
    group = parser.add_argument_group("paths")
    group.add_argument(
        "--paths-from", metavar="FILE", help="read more PATHs from a file, one a line; -: standard input"
    )
    group.add_argument("--null", action="store_true", help="the PATHs in that file are separated by NUL")


def _add_scope(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scope")
    add_python(group)
    group.add_argument("--root", metavar="DIR", help="a staged root, chroot or jail seen from outside")
    group.add_argument("--trust-root", action="store_true", help="run the interpreter inside the root")
    add_site_dir(group)
    add_prefix(group)
    group.add_argument("--stdlib", action="store_true", help="the standard library as well")
    group.add_argument("--pycache-prefix", metavar="DIR", help="the tree that the target's sys.pycache_prefix names")
    group.add_argument(
        "--exclude",
        metavar="GLOB",
        action="append",
        default=[],
        help="sources not to compile, by full path; repeatable",
    )


def _add_bytecode(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("bytecode")
    group.add_argument("--optimize", metavar="0,1,2", type=_levels, help="optimization levels (default: 0)")
    group.add_argument(
        "--invalidation-mode",
        metavar="MODE",
        type=_mode,
        help="how a pyc tells that its source has changed: timestamp, checked-hash, unchecked-hash",
    )
    group.add_argument("--source-date-epoch", metavar="N", type=_epoch, help="no timestamp in a pyc is later than this")


def _add_state(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--jobs", metavar="N", type=processes, help="workers; 0: what the machine allows")
    group.add_argument("--lock-timeout", metavar="SECONDS", type=time_limit, help="how long to wait for the lock")
    group.add_argument("--state-dir", metavar="DIR", help="where journal and manifest live")
    group.add_argument("--stateless", action="store_true", help="keep no state and take no lock")
    group.add_argument("--config", metavar="FILE", help="the configuration")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="one JSON object on standard output")
    group.add_argument("-q", "--quiet", action="store_true", help="errors and failures only")
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="name what is written and removed; twice: more"
    )
    group.add_argument("--no-progress", action="store_true", help="no progress bar")
    group.add_argument(
        "--color",
        default="auto",
        choices=("auto", "always", "never"),
        help="when there is colour; auto: on a terminal only (default)",
    )


def _levels(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part in ("0", "1", "2") for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: say levels from 0 to 2, such as 0,1,2")
    return tuple(sorted({int(part) for part in parts}))


def _mode(text: str) -> InvalidationMode:
    from ..pyc.header import InvalidationMode

    try:
        return InvalidationMode(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: say timestamp, checked-hash or unchecked-hash") from None


def _epoch(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: say a number of seconds since 1970")
    return int(text)


def _paths(options: argparse.Namespace) -> tuple[str, ...] | None:
    """None without any PATH and list: everything. A list that is empty, and an empty PATH, mean nothing."""
    if options.null and options.paths_from is None:
        raise UsageError("--null goes with --paths-from", mend="name the file of the list, or leave it out")
    if not options.paths and options.paths_from is None:
        return None
    paths = list(options.paths)
    if options.paths_from is not None:
        paths += _read_list(options.paths_from, b"\0" if options.null else b"\n")
    manager = getattr(options, "manager", None)
    cwd = "/" if options.root is not None else _cwd(paths)
    return tuple(absolute(path, manager=manager, cwd=cwd) if path else "" for path in paths)


def _read_list(name: str, separator: bytes) -> list[str]:
    try:
        with open(0 if name == "-" else name, "rb", closefd=name != "-") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"--paths-from {name}: {error.strerror}", mend="name a readable file, or -") from error
    if separator != b"\0" and b"\0" in data:
        raise UsageError(f"--paths-from {name}: a path holds a NUL", mend="say --null if NULs separate the paths")
    return [os.fsdecode(path) for path in data.split(separator) if path]


def _cwd(paths: list[str]) -> str:
    if all(path.startswith("/") for path in paths):
        return "/"
    try:
        return os.getcwd()
    except OSError as error:
        raise UsageError("the current directory is gone", mend="name absolute paths") from error


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _pycache_prefix(path: str | None) -> str | None:
    if path is not None and not path.startswith("/"):
        # The target would look for it below whatever directory each process happens to start in.
        raise UsageError(f"--pycache-prefix {path}: is relative", mend="name an absolute directory")
    return None if path is None else os.path.normpath(path)


def _inside(path: str, root: str | None) -> str:
    """A directory as the target sees it: inside a root there is no current directory but its own."""
    return os.path.normpath(os.path.join("/", path)) if root is not None else os.path.abspath(path)
