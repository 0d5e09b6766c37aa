"""Checks that the paths a person names exist: a typing mistake is an error, and nothing is created for it.

Paths that a package manager's hook names may be gone, and so may those in a program's list.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from ..errors import UsageError, name_few
from ..pyc.names import PYCACHE, SOURCE_SUFFIX, cached_name
from ..run.scope.places import as_seen_inside
from ..tree.directory import open_in_root

#: Errors that mean that nothing has this name. All others are reported when it is opened.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def require_there(typed: Sequence[str], paths: Sequence[str], *, root: str | None, prefix: str | None) -> None:
    """Raise UsageError for paths that neither exist nor have bytecode that does.

    `typed` is how `paths` were written, which are absolute and as seen inside `root`. `prefix` is the tree that the
    target's `sys.pycache_prefix` names.
    """
    gone = [name for name, path in zip(typed, paths) if path and not _is_there(path, root, prefix)]
    if not gone:
        return
    inside = as_seen_inside(os.path.abspath(gone[0]), root)
    hint = "check the path; --paths-from takes paths that may be gone"
    if inside is not None:
        hint = f"as seen inside {root}, it is {inside}"
    raise UsageError(f"{name_few(gone)}: no such file or directory", hint=hint)


def _is_there(path: str, root: str | None, prefix: str | None) -> bool:
    """Whether there is such a file, bytecode of such a source, or the source of such a pyc."""
    if any(_exists(each, root) for each in _related_paths(path, prefix)):
        return True
    above, name = os.path.split(path)
    pycache = os.path.join(above, PYCACHE) if prefix is None else prefix + above
    return name.endswith(SOURCE_SUFFIX) and _find_in(pycache, root, lambda directory: _has_bytecode(directory, name))


def _related_paths(path: str, prefix: str | None) -> Iterator[str]:
    """Yields the path and others that make it known: its place in the prefix's tree, its pyc, or its source."""
    yield path
    if prefix is not None:
        yield prefix + path
    above, name = os.path.split(path)
    if name.endswith(SOURCE_SUFFIX):
        yield f"{path}c"
    elif name.endswith(".pyc"):
        yield path[:-1]
    cached = cached_name(name)
    if cached is not None and os.path.basename(above) == PYCACHE:
        yield os.path.join(os.path.dirname(above), cached.source)
    elif cached is not None and prefix is not None and above.startswith(f"{prefix}/"):
        yield os.path.join(above[len(prefix) :], cached.source)


def _exists(path: str, root: str | None) -> bool:
    above, name = os.path.split(os.path.normpath(path))
    return _find_in(above, root, lambda directory: os.stat(name or ".", dir_fd=directory, follow_symlinks=False))


def _has_bytecode(directory: int, source: str) -> bool:
    """Whether a directory has bytecode of a source, of any flavour."""
    cached = map(cached_name, os.listdir(directory))
    return any(each is not None and each.source == source for each in cached)


def _find_in(directory: str, root: str | None, look: Callable[[int], object]) -> bool:
    """Whether `look` finds something in a directory. What can't be examined for another reason may be there."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY) if root is None else open_in_root(root, directory)
        try:
            return bool(look(descriptor))
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno not in _ABSENT
