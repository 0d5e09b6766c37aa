"""The schema of the configuration: every key, what it takes, how that is read, and what it means.

The reference and the manual are made of it (`docs/build`), so it describes each key as a reader of those needs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ...pyc.header import InvalidationMode

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_SIZE = re.compile(r"([0-9]{1,18})\s*([A-Za-z]*)\Z", re.ASCII)
#: setrlimit(2) takes no more.
_LARGEST_SIZE = (1 << 63) - 1


class Kind(NamedTuple):
    """One kind of value."""

    takes: str
    """What may be written, in words."""
    convert: Callable[[Any], Any]
    """From what TOML has to what `Settings` has; raises ValueError, which says what to write."""


class Key(NamedTuple):
    """One key of a table."""

    kind: Kind
    meaning: str
    """Whole sentences, in Markdown."""


def levels(value: Any) -> tuple[int, ...]:
    """Optimization levels, sorted and once each. Raises ValueError."""
    if (
        not isinstance(value, list)
        or not value
        or any(type(level) is not int or level not in (0, 1, 2) for level in value)
    ):
        raise ValueError("write a list of optimization levels, such as [0, 1, 2]")
    return tuple(sorted(set(value)))


def size(value: Any) -> int:
    """Bytes, from a number or a text such as "2GiB". Raises ValueError."""
    match = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if match and match[2].lower() in _UNITS:
        value = int(match[1]) * _UNITS[match[2].lower()]
    if type(value) is not int or not 0 <= value <= _LARGEST_SIZE:
        raise ValueError('write a size such as "2GiB", "512MiB" or a number of bytes')
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise ValueError('write a list of texts, such as ["*/tests/data/*"]')
    return tuple(value)


def _absolute_directories(value: Any) -> tuple[str, ...]:
    paths = _texts(value)
    if not all(path.startswith("/") and "\0" not in path for path in paths):
        raise ValueError("write absolute paths")
    return paths


def _executable(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("write the absolute path of an interpreter")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 4096:
        raise ValueError("write a whole number from 0 to 4096")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 10**6:
        raise ValueError("write a number of seconds, 0 or more")
    return float(value)


def _one_of(*known: str, becomes: Callable[[str], Any] = str) -> Kind:
    *others, last = (f'`"{each}"`' for each in known)

    def convert(value: Any) -> Any:
        if not isinstance(value, str) or value not in known:
            from ...suggestions import did_you_mean

            likely = did_you_mean(value, known) if isinstance(value, str) else ""
            raise ValueError("write one of " + ", ".join(f'"{each}"' for each in known) + likely)
        return becomes(value)

    return Kind(f"{', '.join(others)} or {last}", convert)


_LEVELS = Kind("a list of 0, 1 and 2", levels)
_TEXTS = Kind("a list of texts", _texts)
_BOOLEAN = Kind("`true` or `false`", _boolean)
_COUNT = Kind("a whole number from 0 to 4096", _count)
_SECONDS = Kind("a number of seconds", _seconds)
_SIZES = Kind('a number of bytes, or a text with a unit, such as `"512MiB"`', size)
_MODES = _one_of(*(mode.value for mode in InvalidationMode), becomes=InvalidationMode)

#: `[defaults]`: for all flavours.
DEFAULTS = {
    "optimize": Key(
        _LEVELS,
        "The optimization levels that bytecode is written for: 0, 1 and 2 are what `python`, `python -O` and "
        "`python -OO` use (PEP 488).",
    ),
    "invalidation_mode": Key(
        _MODES,
        "How a pyc tells that its source has changed (PEP 552): `timestamp` by the source's time and size, "
        "`checked-hash` by a hash of its content, `unchecked-hash` not at all, for trees that never change.",
    ),
    "exclude": Key(
        _TEXTS,
        "Shell patterns of the full paths of sources that are not compiled; `*` crosses `/`. What `--exclude` says is "
        "added.",
    ),
    "create_missing": Key(
        _BOOLEAN,
        "If false, what exists is mended and swept, and nothing is added that the distribution left out.",
    ),
    "owned_stale": Key(
        _one_of("keep", "replace"),
        "What becomes of stale bytecode that a package owns: it is kept and reported, or written anew. It is never "
        "removed.",
    ),
    "untrusted_directories": Key(
        _one_of("refuse", "allow"),
        "Whether anything is written into a directory that everybody may write into without a sticky bit, or that "
        "belongs neither to root, nor to the caller, nor to the owner of a source in it.",
    ),
    "duplicates": Key(
        _one_of("hardlink", "copy"),
        "How equal code at several levels is stored: as one file with several names, or as several files.",
    ),
    "jobs": Key(
        _COUNT, "How many workers compile. 0 is the least of the CPUs, the cgroup's quota and what memory allows."
    ),
    "file_timeout": Key(
        _SECONDS,
        "CPU time that the compilation of one source may take. A source that takes more isn't tried again, nor is one "
        "of the same content, until it, its interpreter or this value changes, or `pyctrigger repair` is run. The slow "
        "sources of a run, those that take more than a tenth of this, may together take five times this value; what "
        "is left then gets a second each, or a sixtieth of this value if that is more. Once those that need more than "
        "that have taken this value once more, nothing is tried any longer: the rest is named in one line, and left to "
        "the next run. With 60 seconds a run so loses at most six minutes of CPU time, and what each worker has begun.",
    ),
    "memory_limit": Key(
        _SIZES,
        "Address space that one worker may have. A source that needs more is remembered as one that is too slow.",
    ),
    "lock_timeout": Key(
        _SECONDS,
        "How long to wait for another run to end. A wait is announced after 2 seconds. A hook waits at most 30 "
        "seconds, and leaves its work in the journal then.",
    ),
    "log": Key(
        _one_of("none", "syslog"),
        "Whether the system's log gets one line for each run that may change something, facility `daemon`.",
    ),
}

#: `[hooks]`: what package managers start.
HOOKS = {
    "enabled": Key(_BOOLEAN, "If false, hooks only note what was touched, and the next run of another kind does it.")
}

#: `[flavours."3.11"]`: for one flavour alone.
FLAVOUR = {
    "executable": Key(
        Kind("an absolute path", _executable), "The interpreter of this version, which is not searched then."
    ),
    "optimize": Key(_LEVELS, "As in `[defaults]`."),
    "site_dirs": Key(
        Kind("a list of absolute paths", _absolute_directories),
        "The site directories, instead of those that the interpreter names itself.",
    ),
}
