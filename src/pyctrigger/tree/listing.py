"""Directory listings in one pass: only names are kept, so that a large directory costs little memory.

`scandir` gives the type of an entry without a system call; a source costs one `stat` when it is checked, a pyc one
`open` and a `read` of a few bytes. Nothing here blocks: a FIFO is never opened, or with O_NONBLOCK.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container

from ..pyc.names import PYCACHE, SOURCE_SUFFIX
from ..typed import NamedTuple


class SourceListing(NamedTuple):
    """Contents of a directory of sources."""

    sources: list[str]
    """Regular files with the name of a source, sorted."""
    links: list[str]
    """Links with the name of a source."""
    directories: list[str]
    names: set[str]
    """All names with a source's suffix, whatever they are. A pyc whose source's name is here is no orphan."""
    has_pycache: bool
    others: int
    linked: list[str]
    """Other links whose name could be a package's."""

    @property
    def is_barren(self) -> bool:
        """Whether the directory holds nothing but directories."""
        return not (self.sources or self.links or self.others)


class PycListing(NamedTuple):
    """Contents of a directory of pycs."""

    names: dict[str, bool]
    """All entries except directories, and whether each is a regular file."""
    directories: list[str]

    @property
    def entries(self) -> dict[str, bool]:
        """All entries: a directory with the name of a pyc is in its way."""
        return {**dict.fromkeys(self.directories, False), **self.names} if self.directories else self.names


def list_sources(directory: int, skip: Container[str] = ()) -> SourceListing:
    """List a directory of sources; subdirectories named in `skip` count as others. Raises OSError."""
    sources, links, directories, linked, names = [], [], [], [], set()
    has_pycache, others = False, 0
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name[-3:] == SOURCE_SUFFIX:
                names.add(name)
                if name != SOURCE_SUFFIX and entry.is_file(follow_symlinks=False):
                    sources.append(name)
                    continue
                if name != SOURCE_SUFFIX and entry.is_symlink():
                    links.append(name)
                    continue
            if name == PYCACHE:
                has_pycache = True
            elif entry.is_dir(follow_symlinks=False) and name not in skip:
                directories.append(name)
            else:
                others += 1
                if entry.is_symlink() and name.isidentifier():
                    linked.append(name)
    sources.sort()
    directories.sort()
    return SourceListing(sources, links, directories, names, has_pycache, others, linked)


def source_owners(directory: int) -> set[int]:
    """Returns the uids that own sources in a directory. Raises OSError."""
    owners = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name[-3:] == SOURCE_SUFFIX and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    owners.add(entry.stat(follow_symlinks=False).st_uid)
    return owners


def list_pycs(directory: int) -> PycListing:
    """List a directory of pycs. Raises OSError."""
    names, directories = {}, []
    with os.scandir(directory) as entries:
        for entry in entries:
            is_file = entry.is_file(follow_symlinks=False)
            if is_file or not entry.is_dir(follow_symlinks=False):
                names[entry.name] = is_file
            else:
                directories.append(entry.name)
    return PycListing(names, directories)
