"""bcep files: sources that Debian's packages ask not to compile, for some versions of Python (py3compile(1)).

A line is `KIND|VERSIONS|PLACE` or `KIND|VERSIONS|PLACE|PATTERN`. `dir` is a directory with all below it, `file` a file,
and `re` what a regular expression matches below a directory, or everything there. `3.11` is one version, and `3.8-3.11`
those from 3.8 that are below 3.11, where either may be missing.

The file `pyctrigger` is an administrator's, and speaks to py3compile alone: what that leaves out, we compile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

from ..typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .databases import Files

#: Where the packages put them.
BCEP = "/usr/share/python3/bcep"
_FOR_PY3COMPILE = "pyctrigger"
#: Bytes of a file; the largest of Debian's has a few hundred.
_LARGEST = 1 << 20
_MOST_FILES = 10_000
_VERSION = r"[0-9][.][0-9]+"


class Exclusion(NamedTuple):
    """A line that applies to a version."""

    kind: str
    place: str
    """A file, or a directory with a slash at its end."""
    pattern: str = ".*"


def read_exclusions(files: Files, version: tuple[int, int]) -> tuple[Exclusion, ...]:
    """Returns what packages exclude for a version of Python. What can't be read excludes nothing.

    The regular expressions of a foreign root are left out: somebody could have written one that takes years.
    """
    found = {each for text in _texts_of(files) for each in parse_exclusions(os.fsdecode(text), version)}
    return tuple(sorted(each for each in found if each.kind != "re" or not files.is_foreign))


def _texts_of(files: Files) -> Iterator[bytes]:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = files.names(BCEP, _MOST_FILES)
    for name in names:
        if not name.startswith(".") and name != _FOR_PY3COMPILE:
            with contextlib.suppress(OSError):
                text = files.read(f"{BCEP}/{name}")
                if len(text) <= _LARGEST:
                    yield text


def parse_exclusions(text: str, version: tuple[int, int]) -> Iterator[Exclusion]:
    """Yields the lines of a file that apply to a version, without those that say nothing."""
    for line in text.split("\n"):
        kind, *rest = line.split("|", 3)
        if kind not in ("dir", "file", "re") or len(rest) < 2:
            continue
        versions, place, *pattern = rest
        if kind != "file":
            place = place.rstrip("/") + "/"
        if place.startswith("/") and _contains(versions, version):
            yield Exclusion(kind, place, *pattern)


def _contains(versions: str, version: tuple[int, int]) -> bool:
    """Whether a version lies in a range; what is no range contains none."""
    import re

    if versions in ("", "-"):
        return True
    match = re.match(f"(-?)({_VERSION})(?:(-)({_VERSION})?)?", versions)
    if match is None:
        return False
    below, first, dash, last = match.groups()
    named = _pair(first)
    if below:
        return version < named
    if not dash or (last and _pair(last) == named):
        return version == named
    return named <= version and (not last or version < _pair(last))


def _pair(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def exclusion_test(exclusions: Iterable[Exclusion]) -> Callable[[str], bool]:
    """Returns what says of a source's path whether it is excluded. A line with an invalid pattern excludes nothing."""
    import re
    import warnings

    known = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, place, pattern in exclusions:
            with contextlib.suppress(re.error, OverflowError, RecursionError):
                known.append((kind, place, re.compile(pattern)))

    def is_excluded(path: str) -> bool:
        for kind, place, pattern in known:
            if not path.startswith(place):
                continue
            if kind == "dir" or (kind == "file" and path == place):
                return True
            if kind == "re" and (pattern.match(path) or pattern.match(path[len(place) :])):
                return True
        return False

    return is_excluded
