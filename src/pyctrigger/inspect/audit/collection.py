"""Which files are to be examined: the named ones, those behind URLs, and what is named like one below a directory."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from ...tree.directory import Tree

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_COMPRESSIONS = "gz|bz2|xz|zst|lzma"
_ARCHIVE = re.compile(
    rf".\.(?:whl|egg|pyz|zip|conda|deb|udeb|ddeb|rpm|pkg|apk|tar|tgz|tbz|tbz2|txz|tzst|(?:tar|pkg\.tar)\.(?:{_COMPRESSIONS}))\Z",
    re.IGNORECASE | re.DOTALL,
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:::[A-Za-z][A-Za-z0-9+.-]*)*://")
#: Directories below one another that are walked; a tree that goes deeper was made to hurt.
_DEEPEST = 100


class Collection:
    """All files to examine, each once: in the order of the arguments, below a directory by name.

    Named links are followed, they are the caller's own word; below a directory none is. Directories stay open until
    `close`.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._trees = ExitStack()
        self.close = self._trees.close
        #: By path, what returns a descriptor of a regular file for reading, or raises OSError; of a URL the URL.
        self.candidates: dict[str, Callable[[], int] | str] = {}
        #: Files below a directory are opened one at a time: they share the directories above them.
        self._opening = threading.Lock()
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self.close()
            raise

    def _add(self, path: str) -> None:
        if is_url(path):
            self.candidates.setdefault(path, open_url(path))
            return
        try:
            if not stat.S_ISDIR(os.stat(path).st_mode):
                self.candidates.setdefault(path, partial(_open_named, path))
                return
            tree = self._trees.enter_context(Tree.open(path))
        except (OSError, ValueError) as error:
            self.candidates.setdefault(path, partial(_fail, error))
            return
        self._walk(tree)

    def _walk(self, tree: Tree) -> None:
        """Add what is named like an archive: a directory's own files first, then what lies below it, each by name."""
        pending = [""]
        while pending:
            relative = pending.pop()
            try:
                if relative.count("/") >= _DEEPEST:
                    raise OSError(errno.ELOOP, f"is more than {_DEEPEST} directories deep")
                with tree.entered(relative) as directory, os.scandir(directory) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.candidates.setdefault(tree.describe(relative), partial(_fail, error))
                continue
            for entry in entries:
                if is_archive_name(entry.name) and entry.is_file(follow_symlinks=False):
                    path, name = tree.describe(relative, entry.name), entry.name
                    self.candidates.setdefault(path, partial(self._open_below, tree, relative, name))
            below = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            pending += [f"{relative}/{name}" if relative else name for name in reversed(below)]

    def _open_below(self, tree: Tree, relative: str, name: str) -> int:
        with self._opening:
            return tree.open_file(relative, name)


def is_url(path: str) -> bool:
    """Whether it begins like a URL. A file of such a name can be given as `./NAME`."""
    return _URL.match(path) is not None


def open_url(url: str) -> Callable[[], int] | str:
    """Returns what opens the archive behind a URL: a file is opened here, all else is fetched."""
    scheme, _, path = url.partition("://")
    return partial(_open_named, path) if scheme in ("file", "local") else url


def is_archive_name(name: str) -> bool:
    """Whether a file is named like an archive of a known kind."""
    return _ARCHIVE.search(name) is not None


def _open_named(path: str) -> int:
    descriptor = os.open(path, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "isn't a regular file")
    return descriptor


def _fail(error: OSError | ValueError) -> int:
    raise error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
