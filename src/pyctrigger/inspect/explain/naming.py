"""What the path of a pyc says by itself: its source, the cache tag, the level; the file may be gone.

Sources: PEP 3147 and PEP 488 for `__pycache__`, `sys.pycache_prefix` (Python 3.8) for a tree apart; a pyc beside its
source, without a tag, is of before Python 3.2, or was put there for want of a source.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from ...interpreter.flavour import TAGS
from ...pyc.names import PYCACHE, SOURCE_SUFFIX, writer_of


class PycPath(NamedTuple):
    """A path read as that of a pyc."""

    path: str
    kind: str
    """pyc; residue (what a killed writer left behind); legacy (beside its source); foreign (somebody else's file)."""
    source: str | None
    cache_tag: str | None = None
    level: int = 0

    @property
    def directory(self) -> str:
        """The directory of its source, or of what it is residue of."""
        if self.source is not None:
            return os.path.dirname(self.source)
        return directory_of(os.path.dirname(self.path))


def clean_paths(paths: Iterable[str]) -> list[str]:
    """Absolute paths, each once and without detours."""
    cleaned = [os.path.normpath(path) for path in paths if path]
    return list(dict.fromkeys(path[1:] if path.startswith("//") else path for path in cleaned))


def is_source(path: str) -> bool:
    """Whether a path has the name of a source."""
    return path.endswith(SOURCE_SUFFIX) and os.path.basename(path) != SOURCE_SUFFIX


def pycache_of(directory: str, prefix: str | None) -> str:
    """Returns the directory of the pycs of a directory of sources."""
    return os.path.join(directory, PYCACHE) if prefix is None else prefix + directory


def directory_of(path: str) -> str:
    """Returns the directory of sources that a directory is, or whose pycs it holds."""
    return os.path.dirname(path) if os.path.basename(path) == PYCACHE else path


def read_name(path: str, known_tags: Iterable[str], prefix: str | None = None) -> PycPath | None:
    """Read an absolute path; None for one that no pyc can have.

    `known_tags` are those of interpreters that are here, `prefix` is the tree that their `sys.pycache_prefix` names.
    """
    above, name = os.path.split(path)
    if os.path.basename(above) == PYCACHE:
        directory = os.path.dirname(above)
    elif prefix is not None and f"{path}/".startswith(prefix.rstrip("/") + "/"):
        directory = above[len(prefix.rstrip("/")) :] or "/"
    elif name.endswith(".pyc") and name != ".pyc":
        return PycPath(path, "legacy", path[:-1])
    else:
        return None
    if writer_of(name) is not None:
        return PycPath(path, "residue", None)
    tags = "|".join([TAGS, *map(re.escape, known_tags)])
    pattern = rf"(.+)\.({tags})(?:\.opt-([1-9][0-9]*))?\.pyc(\.[0-9]+)?"
    match = re.fullmatch(pattern, name, re.DOTALL | re.ASCII)
    if match:
        source = os.path.join(directory, match[1] + SOURCE_SUFFIX)
        return PycPath(path, "residue" if match[4] else "pyc", source, match[2], int(match[3] or 0))
    return PycPath(path, "foreign", None) if ".pyc" in name else None
