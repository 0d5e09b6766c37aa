"""The table of settings: each with its kind, where it is written, and what it means.

The parser, the configuration, the journal and the reference are made of it. A new one is a row here, and a field where
its value is kept, which has its default: in a part of `Request`, or in `Settings`. What describes a key or an option
appears in the manual and in the reference (`docs/build`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from ...pyc.header import InvalidationMode
from ...typed import Any, NamedTuple

#: The events that a package manager may name; all of them are handled alike, and "unknown" is always safe.
EVENTS = ("install", "upgrade", "remove", "configure", "unknown")
MANAGERS = ("pkg", "dpkg", "rpm", "pacman", "apk")

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = r"([0-9]{1,18})\s*([A-Za-z]*)\Z"
#: setrlimit(2) takes no more.
_LARGEST_SIZE = (1 << 63) - 1


class ValueKind(NamedTuple):
    """One kind of value: how it is read, and what is said to who writes it wrongly."""

    write: str
    """What the configuration may have, in words."""
    is_valid: Callable[[Any], bool]
    """Whether what TOML or JSON has is one."""
    becomes: Callable[[Any], Any] = lambda value: value
    """What is made of a valid one."""
    say: str = ""
    """What may be said on a command line; nothing: any text."""
    value: str = ""
    """What the help calls one; nothing: the choices, or that it is a switch."""
    parse: Callable[[str], Any] = str
    """From a word of the command line to what TOML would have; raises ValueError or OSError."""
    choices: tuple[str, ...] = ()
    """The words that there are, if they can be listed."""
    is_list: bool = False
    """Whether each of several words of the command line adds one."""

    def convert(self, value: Any) -> Any:
        """What it is to us. Raises ValueError, which says what to write."""
        if not self.is_valid(value):
            raise ValueError(f"write {self.write}{self.suggest(value)}")
        return self.becomes(value)

    def read(self, text: str) -> Any:
        """The same of a word of the command line. Raises ValueError, which says what to say."""
        if not self.say:
            return text
        try:
            return self.convert(self.parse(text))
        except (OSError, ValueError):
            raise ValueError(f"use {self.say}{self.suggest(text)}") from None

    def suggest(self, value: Any) -> str:
        """Returns which of the choices it was probably meant to be."""
        if not self.choices or not isinstance(value, str):
            return ""
        from ...suggestions import MANAGERS, did_you_mean

        return did_you_mean(value, self.choices, MANAGERS)


class Setting(NamedTuple):
    """One thing that can be set: by an option, which has a help, or by a key of the configuration, or by both."""

    name: str
    """The field that has its value."""
    kind: ValueKind
    help: str = ""
    """What the option does, in a line."""
    verbs: tuple[str, ...] = ()
    """Those that take it, since it changes what they do."""
    value: str = ""
    """What the help calls its value, if not as others of its kind."""
    flags: tuple[str, ...] = ()
    """How the command line writes it, if not by its name; without dashes it is an argument."""
    group: str = ""
    """Under what title the help lists it, if not under that of the part of a request that has it."""
    once: bool = False
    """Whether it may have one value only: of two roots, or two lists of levels, one would silently be left out."""
    kept: bool = False
    """Whether the journal keeps it: another run needs it to do the same work."""
    default: Any = None
    """Of one that is an option of one verb alone; all others have theirs in their field."""
    meaning: str = ""
    """For a key of the configuration: whole sentences, in Markdown."""

    @property
    def names(self) -> tuple[str, ...]:
        """How the command line writes it."""
        return self.flags or (f"--{self.name.replace('_', '-')}",)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _is_absolute(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value


def _are_absolute(value: Any) -> bool:
    return _are_texts(value) and all(map(_is_absolute, value))


def _is_store(value: Any) -> bool:
    return isinstance(value, str) and (value in ("", "local") or _is_absolute(value) or "://" in value)


def _check_store(value: str) -> str:
    """What is no path has to be a URL. Raises ValueError."""
    if "://" in value and value[0] != "/":
        from ...store.remote.address import parse_address

        parse_address(value)
    return value


def _is_file(value: Any) -> bool:
    return value == "" or _is_absolute(value)


def _are_keys(value: Any) -> bool:
    return _are_texts(value) and all(each.startswith("ed25519:") or _is_absolute(each) for each in value)


def _check_keys(value: list[str]) -> tuple[str, ...]:
    """What is no path has to be a key. Raises ValueError."""
    from ...store.signing import parse_public  # few have any

    for each in value:
        if not each.startswith("/"):
            parse_public(each)
    return tuple(value)


def _are_levels(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(each) is int and 0 <= each <= 2 for each in value)


def _are_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 10**6


def _bytes(value: Any) -> Any:
    """A size's number of bytes; what is no size, as it is."""
    match = re.match(_SIZE, value.strip(), re.ASCII) if isinstance(value, str) else None
    return int(match[1]) * _UNITS[match[2].lower()] if match and match[2].lower() in _UNITS else value


def _is_size(value: Any) -> bool:
    return type(_bytes(value)) is int and 0 <= _bytes(value) <= _LARGEST_SIZE


def _number(text: str) -> Any:
    """The number that digits are; what is none, as it is."""
    return int(text) if text.isascii() and text.isdigit() else text


def whole_number(least: int, most: int, say: str = "") -> ValueKind:
    """A whole number with these limits."""
    limits = f"from {least} to {most}"

    def is_valid(value: Any) -> bool:
        return type(value) is int and least <= value <= most

    return ValueKind(f"a whole number {limits}", is_valid, say=say or f"a number {limits}", value="N", parse=_number)


def one_of(*known: str, becomes: Callable[[str], Any] = str) -> ValueKind:
    """One of these words."""
    return ValueKind(
        "one of " + ", ".join(f'"{each}"' for each in known),
        lambda value: isinstance(value, str) and value in known,
        becomes,
        say=f"{', '.join(known[:-1])} or {known[-1]}",
        choices=known,
    )


TEXT = ValueKind("a text", lambda value: isinstance(value, str))
TEXTS = ValueKind('a list of texts, such as ["*/tests/data/*"]', _are_texts, tuple, is_list=True)
STORES = ValueKind('"", "local", an absolute path, or a URL', _is_store, _check_store)
FILE = ValueKind('"" or an absolute path', _is_file)
#: Public keys, and files with such.
TRUSTED_KEYS = ValueKind(
    'a list of public keys and absolute paths, such as ["/etc/pyctrigger.keys"]', _are_keys, _check_keys, is_list=True
)
BOOLEAN = ValueKind("true or false", lambda value: isinstance(value, bool))
#: How many times an option was given.
HOW_OFTEN = whole_number(0, 9)
LEVELS = ValueKind(
    "a list of optimization levels, such as [0, 1, 2]",
    _are_levels,
    lambda value: tuple(sorted(set(value))),
    say="levels from 0 to 2, such as 0,1,2",
    value="0,1,2",
    parse=lambda text: [("0", "1", "2").index(level) for level in text.split(",")],
)
MODES = one_of(*(mode.value for mode in InvalidationMode), becomes=InvalidationMode)._replace(value="MODE")
COUNT = whole_number(0, 4096)
EPOCH = whole_number(0, 1 << 63, "a whole number of seconds since 1970, 0 or more")
SECONDS = ValueKind(
    "a number of seconds, 0 or more",
    _are_seconds,
    float,
    say="a number of seconds, 0 or more",
    value="SECONDS",
    parse=float,
)
POSITIVE_SECONDS = SECONDS._replace(is_valid=lambda value: value != 0 and _are_seconds(value), say="seconds, above 0")
#: What a run may wait for something that only makes it faster.
FEW_SECONDS = SECONDS._replace(
    write="a number of seconds, more than 0 and at most 60",
    is_valid=lambda value: _are_seconds(value) and 0 < value <= 60,
)
SIZES = ValueKind(
    'a size such as "2GiB", "512MiB" or a number of bytes',
    _is_size,
    _bytes,
    say="a size such as 2GiB, 512MiB or a number of bytes",
    value="SIZE",
    parse=_number,
)
#: A path of this system, whatever root is served: from the directory that it is named in.
PATH = ValueKind("an absolute path", _is_absolute, say="an absolute path", value="DIR", parse=os.path.abspath)
#: A path that has to be absolute on the command line, too.
DIRECTORY = PATH._replace(say="")
#: Directories as the target sees them, which the parser makes absolute where it knows the root.
DIRECTORIES = ValueKind("absolute paths", _are_absolute, tuple, value="DIR", is_list=True)

_COMPILE = ("run", "repair")
WRITE = (*_COMPILE, "sweep", "purge")
_COMPARE = (*_COMPILE, "verify", "status", "explain")
LOOK = (*WRITE, "verify", "status", "explain")
SERVE = (*LOOK, "which")

#: In the order of the help.
SETTINGS = (
    Setting("event", one_of(*EVENTS), "what the package manager did", ("run",)),
    Setting("manager", one_of(*MANAGERS), "the package manager that passes the paths", ("run",), once=True, kept=True),
    Setting("hook", BOOLEAN, "called by a package manager: exit 0 whatever happens", ("run",)),
    Setting("defer", BOOLEAN, "only record the paths; the next run does the work", ("run",)),
    Setting("compare_code", BOOLEAN, "compile everything again, and compare with the existing bytecode", ("verify",)),
    Setting("unwanted", BOOLEAN, "also remove bytecode of levels that aren't configured any more", ("sweep",)),
    Setting(
        "cache_tag",
        TEXT,
        "a removed Python, by the cache tag in its file names: cpython-311",
        ("purge",),
        value="TAG",
        once=True,
    ),
    Setting("every", BOOLEAN, "all Pythons, including removed ones", ("purge",), flags=("--all",)),
    Setting("keep_system", BOOLEAN, "keep what the system's own tools would write (Debian's py3compile)", ("purge",)),
    Setting(
        "pythons",
        TEXTS,
        "which Python: 3.11, 3.13t, pypy3.11, python3 or a path; repeatable",
        (*SERVE, "measure", "hooks"),
        value="V",
        flags=("--python",),
    ),
    Setting("root", PATH, "a chroot, jail or image, seen from outside", (*SERVE, "history", "hooks"), once=True),
    Setting("trust_root", BOOLEAN, "run the Python inside the root", SERVE),
    Setting(
        "site_dirs",
        DIRECTORIES,
        "a site directory, instead of the target's own; repeatable",
        (*SERVE, "measure", "hooks"),
        flags=("--site-dir",),
        kept=True,
    ),
    Setting(
        "prefixes",
        DIRECTORIES,
        "a venv or conda environment; repeatable",
        (*SERVE, "measure"),
        flags=("--prefix",),
        kept=True,
    ),
    Setting(
        "prefixes_below",
        DIRECTORIES,
        "all environments below this directory; repeatable",
        SERVE,
        flags=("--prefix-below",),
    ),
    Setting("stdlib", BOOLEAN, "include the standard library", SERVE, kept=True),
    Setting(
        "pycache_prefix",
        DIRECTORY,
        "the tree for bytecode, as in Python's sys.pycache_prefix",
        SERVE,
        once=True,
        kept=True,
    ),
    Setting(
        "optimize",
        LEVELS,
        "optimization levels (default: 0)",
        LOOK,
        once=True,
        kept=True,
        meaning=(
            "The optimization levels that bytecode is written for: 0, 1 and 2 are what `python`, `python -O` and "
            "`python -OO` use (PEP 488)."
        ),
    ),
    Setting(
        "invalidation_mode",
        MODES,
        "how a pyc shows that its source changed: timestamp, checked-hash or unchecked-hash",
        _COMPARE,
        once=True,
        kept=True,
        meaning=(
            "How Python notices that a source has changed (PEP 552): `timestamp` by the source's time and size, "
            "`checked-hash` by a hash of its content, `unchecked-hash` not at all, for trees that never change."
        ),
    ),
    Setting("source_date_epoch", EPOCH, "the latest timestamp to write into a pyc", _COMPARE, kept=True),
    Setting(
        "exclude",
        TEXTS,
        "leave out sources whose full path matches; repeatable",
        _COMPARE,
        value="GLOB",
        kept=True,
        meaning=(
            "Shell patterns for the full paths of sources that are not compiled; `*` also matches `/`. `--exclude` adds"
            " to them."
        ),
    ),
    Setting(
        "create_missing",
        BOOLEAN,
        meaning="If false, existing bytecode is updated and swept, but none is added that the distribution left out.",
    ),
    Setting(
        "owned_stale",
        one_of("keep", "replace"),
        meaning=(
            "What happens to stale bytecode that a package owns: it is kept and reported, or replaced. It is never"
            " removed."
        ),
    ),
    Setting(
        "untrusted_directories",
        one_of("refuse", "allow"),
        meaning=(
            "Whether anything is written into a world-writable directory without a sticky bit, or into one that "
            "belongs neither to root, nor to the caller, nor to the owner of a source in it."
        ),
    ),
    Setting(
        "duplicates",
        one_of("hardlink", "copy"),
        meaning="How equal code at several levels is stored: as one file with several names, or as several files.",
    ),
    Setting(
        "jobs",
        COUNT,
        "how many workers; 0: as many as the machine allows",
        (*_COMPILE, "status", "audit"),
        meaning="How many workers compile. 0 is the least of the CPUs, the cgroup's quota and what memory allows.",
    ),
    Setting(
        "file_timeout",
        SECONDS,
        meaning=(
            "CPU time for compiling one source. If a source takes more, neither it nor another one of the same "
            "content is retried until its content, its interpreter or this value changes, or `pyctrigger repair` is "
            "run. All slow sources of a run, those that take more than a tenth of this value, may take five times "
            "this value together; after that each remaining source gets one second, or a sixtieth of this value if "
            "that is more. Once sources that need more than that have taken this value once more, the run stops "
            "compiling: the remaining sources are reported in one line, and left to the next run. With 60 seconds a "
            "run loses at most six minutes of CPU time, plus what each worker has begun."
        ),
    ),
    Setting(
        "memory_limit",
        SIZES,
        meaning=("Address space of one worker. A source that needs more is recorded like one that is too slow."),
    ),
    Setting(
        "lock_timeout",
        SECONDS,
        "how long to wait for another run to end",
        WRITE,
        meaning=(
            "How long to wait for another run to end. A wait is announced after 2 seconds. A hook waits at most 30 "
            "seconds, and then leaves its work in the journal."
        ),
    ),
    Setting(
        "log",
        one_of("none", "syslog"),
        meaning="Whether each run that may change something writes a line to the system's log, facility `daemon`.",
    ),
    Setting("state_dir", PATH, "the directory for state", (*SERVE, "doctor", "history", "hooks")),
    Setting("stateless", BOOLEAN, "keep no state and take no lock", (*SERVE, "hooks")),
    Setting("config", PATH, "the configuration file", (*SERVE, "store", "doctor", "audit", "measure"), value="FILE"),
    Setting("dry_run", BOOLEAN, "show what would be done, and do nothing", (*WRITE, "hooks")),
)

#: `[defaults]`: for all flavours.
DEFAULTS = {setting.name: setting for setting in SETTINGS if setting.meaning}

#: `[hooks]`: what package managers start.
HOOKS = {
    "enabled": Setting(
        "hooks_enabled",
        BOOLEAN,
        meaning="If false, hooks only record what was touched, and the next run of another kind does the work.",
    )
}

#: `[store]`: bytecode made elsewhere.
STORE = {
    "url": Setting(
        "store_url",
        STORES,
        meaning=(
            "Where bytecode is taken from, and kept, instead of compiling the same source again: nowhere, the cache "
            "directory of the account (`local`; of root `/var/cache/pyctrigger`), the directory of this name, where no "
            "other account may write, or the store of another machine, which is only read and learns which public "
            "sources a machine has: `redis://[USER@]HOST[:PORT][/DATABASE]` (the extra `redis`) or "
            "`http://[USER@]HOST[:PORT]/PATH`; with `rediss://` and `https://` through TLS. Each process of a run "
            "asks a web server over up to 8 connections, and Redis over one."
        ),
    ),
    "write": Setting(
        "store_write",
        BOOLEAN,
        meaning="Whether what was compiled is kept there. If false, it is only taken from there.",
    ),
    "trusted_keys": Setting(
        "store_trusted_keys",
        TRUSTED_KEYS,
        meaning=(
            "Whose bytecode is taken from a store of another machine: the public keys that `pyctrigger store keygen` "
            'prints, `"ed25519:"` and 44 characters, or files with such keys, one a line. What none of them has '
            "signed counts as not there; without keys nothing is believed. A directory needs none."
        ),
    ),
    "signing_key": Setting(
        "store_signing_key",
        FILE,
        meaning=(
            "The private key that `pyctrigger store push` signs with, in a file that only its owner can read. Other "
            "commands never open it."
        ),
    ),
    "password_file": Setting(
        "store_password_file",
        FILE,
        meaning=(
            "The password for a store of another machine: the first line of a file that only its owner can read. For "
            "HTTP without a user in the URL it is a bearer's token."
        ),
    ),
    "max_size": Setting(
        "store_max_size", SIZES, meaning="How large the store may become; what was used least recently goes."
    ),
    "timeout": Setting(
        "store_timeout",
        FEW_SECONDS,
        meaning=(
            "How long a run may wait for a store of another machine, in all, and beyond the time for compiling that it "
            "has saved, from looking up its name on. Then it compiles what is left, and says so."
        ),
    ),
}

#: `[flavours."3.11"]`: for one flavour alone.
FLAVOUR = {
    setting.name: setting
    for setting in (
        Setting(
            "executable",
            PATH._replace(write="the absolute path of an interpreter"),
            meaning="The interpreter of this version, instead of searching for one.",
        ),
        Setting("optimize", LEVELS, meaning="As in `[defaults]`."),
        Setting(
            "site_dirs",
            DIRECTORIES,
            meaning="The site directories, instead of the interpreter's own.",
        ),
    )
}
