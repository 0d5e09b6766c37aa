"""Which files are to be examined: the named ones, and what is named like an archive below a named directory."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...tree.directory import Tree

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_COMPRESSIONS = "gz|bz2|xz|zst|lzma"
_ARCHIVE = re.compile(
    rf".\.(?:whl|egg|pyz|zip|conda|deb|udeb|ddeb|rpm|pkg|apk|tar|tgz|tbz|tbz2|txz|tzst|(?:tar|pkg\.tar)\.(?:{_COMPRESSIONS}))\Z",
    re.IGNORECASE | re.DOTALL,
)
#: Directories below one another that are walked; a tree that goes deeper was made to hurt.
_DEEPEST = 100


class Candidate(NamedTuple):
    """A file to examine, or a directory that can't be."""

    path: str
    open: Callable[[], int]
    """Gives a descriptor for reading, of a regular file. Raises OSError."""


class Collection:
    """Every candidate of a call, each path once: in the order of the arguments, below a directory by name.

    Named links are followed, they are the caller's own word; below a directory none is. Directories stay open until
    `close`.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._trees: list[Tree] = []
        self.candidates: list[Candidate] = []
        seen: set[str] = set()
        try:
            for path in paths:
                for candidate in self._below(path):
                    if candidate.path not in seen:
                        seen.add(candidate.path)
                        self.candidates.append(candidate)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the directories back."""
        for tree in self._trees:
            tree.close()
        self._trees = []

    def _below(self, path: str) -> Iterator[Candidate]:
        try:
            is_directory = stat.S_ISDIR(os.stat(path).st_mode)
            tree = Tree.open(path) if is_directory else None
        except (OSError, ValueError) as error:
            yield _failed(path, error)
            return
        if tree is None:
            yield Candidate(path, lambda: _open_named(path))
            return
        self._trees.append(tree)
        yield from _walk(tree)


def is_archive_name(name: str) -> bool:
    """Whether a file is named like an archive of a kind that is known."""
    return _ARCHIVE.search(name) is not None


def _walk(tree: Tree) -> Iterator[Candidate]:
    pending = [""]
    while pending:
        relative = pending.pop()
        try:
            if relative.count("/") >= _DEEPEST:
                raise OSError(errno.ELOOP, f"is more than {_DEEPEST} directories deep")
            with tree.entered(relative) as directory, os.scandir(directory) as entries:
                names = sorted((entry.name, entry.is_dir(follow_symlinks=False), _is_file(entry)) for entry in entries)
        except OSError as error:
            yield _failed(tree.describe(relative), error)
            continue
        # A directory's own files come first, then what lies below it, each by name.
        for name, _, is_file in names:
            if is_file and is_archive_name(name):
                yield Candidate(tree.describe(relative, name), _opener(tree, relative, name))
        pending += [f"{relative}/{name}" if relative else name for name, is_directory, _ in names if is_directory][::-1]


def _is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def _opener(tree: Tree, relative: str, name: str) -> Callable[[], int]:
    return lambda: tree.open_file(relative, name)


def _open_named(path: str) -> int:
    descriptor = os.open(path, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "isn't a regular file")
    return descriptor


def _failed(path: str, error: OSError | ValueError) -> Candidate:
    def fail() -> int:
        raise error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))

    return Candidate(path, fail)
