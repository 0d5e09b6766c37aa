"""Names of pycs, and of the temporary files that killed writers leave behind, parsed exactly.

Sources: PEP 3147 (`__pycache__/<module>.<tag>.pyc`), PEP 488 (`.opt-N`), and `_write_atomic` in
`importlib._bootstrap_external` (a temporary file `NAME.pyc.<id>`, which a killed writer leaves behind). A name that
doesn't match exactly belongs to another program: Numba's `.nbi` and `.nbc`, pytest's `<tag>-pytest-<version>.pyc`,
another flavour's tag.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator

from ..typed import NamedTuple

PYCACHE = "__pycache__"
SOURCE_SUFFIX = ".py"
_TEMPORARY_PREFIX = ".pyctrigger-"
_TEMPORARY_SUFFIX = ".tmp"
#: A text that `re` compiles when it is first used: most runs find no such file.
_RANDOM = r"-[0-9a-f]{16}\Z"

#: The longest name that a directory can hold (NAME_MAX of every file system in use), in bytes.
NAME_MAX = 255


def pyc_suffix(cache_tag: str, level: int) -> str:
    """Returns the suffix after a module's name at this optimization level, such as `.cpython-311.opt-1.pyc`."""
    return f".{cache_tag}.opt-{level}.pyc" if level else f".{cache_tag}.pyc"


class PycNames:
    """Parses the names in a `__pycache__` for one cache tag."""

    def __init__(self, cache_tag: str) -> None:
        tag = re.escape(cache_tag)
        # No writer makes `.opt-0` or `.opt-01`: level 0 has no suffix, and numbers have no leading zeros.
        self._pyc = re.compile(rf"(.+)\.{tag}(?:\.opt-([1-9][0-9]*))?\.pyc\Z", re.DOTALL | re.ASCII)
        self._residue = re.compile(rf"(.+)\.{tag}(?:\.opt-[1-9][0-9]*)?\.pyc\.[0-9]+\Z", re.DOTALL | re.ASCII)

    def source_of(self, name: str) -> str | None:
        """Returns the name of the source of a pyc with this tag, at any level, or None for any other name."""
        match = self._pyc.match(name)
        return match[1] + SOURCE_SUFFIX if match else None

    def level_of(self, name: str) -> int:
        """Returns the optimization level in the name of a pyc with this tag."""
        match = self._pyc.match(name)
        return int(match[2] or 0) if match else 0

    def is_residue(self, name: str) -> bool:
        """Whether this is a temporary file that CPython's own writer leaves behind when it is killed."""
        return self._residue.match(name) is not None


def temporary_names(writer: str) -> Iterator[str]:
    """Yields new names for temporary files. `writer` is the installation's id: whoever has its lock may sweep them."""
    first, prefix = int.from_bytes(os.urandom(8), "big"), f"{_TEMPORARY_PREFIX}{writer}-"
    for number in itertools.count(first):
        yield f"{prefix}{number & 0xFFFFFFFFFFFFFFFF:016x}{_TEMPORARY_SUFFIX}"


def writer_of(name: str) -> str | None:
    """Returns the id of the installation that made a temporary file of ours, or None for any other name."""
    if not (name.startswith(_TEMPORARY_PREFIX) and name.endswith(_TEMPORARY_SUFFIX)):
        return None
    stem = name[len(_TEMPORARY_PREFIX) : -len(_TEMPORARY_SUFFIX)]
    match = re.search(_RANDOM, stem)
    return stem[: match.start()] if match and match.start() else None


class CachedName(NamedTuple):
    """The parts of a pyc's name in a `__pycache__`, for any cache tag."""

    source: str
    cache_tag: str
    level: str
    """The text after `.opt-`, empty for level 0."""


#: Such a text, too: a run knows the tag that it looks for.
_CACHED = r"(?P<module>.+)\.(?P<tag>(?!opt-)[A-Za-z_]+-?[0-9]+(?:-[0-9]+)?)(?:\.opt-(?P<level>[0-9A-Za-z]+))?\.py[co]\Z"


def cached_name(name: str) -> CachedName | None:
    """Returns the parts of a name in a `__pycache__`, or None for a name that importlib wouldn't look for.

    Python 3.2 to 3.4 wrote `.pyo` there with -O.
    """
    match = re.match(_CACHED, name, re.DOTALL | re.ASCII)
    return CachedName(match["module"] + SOURCE_SUFFIX, match["tag"], match["level"] or "") if match else None
