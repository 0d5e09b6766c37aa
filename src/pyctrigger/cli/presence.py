"""Whether what a person names is there: a slip of the keyboard is an error, and nothing is done or made for it.

What a package manager's hook names may be gone, and so may what stands in a program's list of paths.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from ..errors import UsageError
from ..pyc.names import PYCACHE, SOURCE_SUFFIX, cached_name
from ..run.scope.places import as_seen_inside
from ..tree.directory import open_in_root

#: What says that there is nothing of a name; whatever else goes wrong is told by who opens it.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
#: Paths to name, where there are more.
_MOST_NAMED = 3


def require_there(typed: Sequence[str], paths: Sequence[str], *, root: str | None, prefix: str | None) -> None:
    """Raise UsageError for paths that neither are there themselves nor have bytecode that is.

    `typed` is what `paths`, which are absolute and as seen inside `root`, were written like. `prefix` is the tree that
    the target's `sys.pycache_prefix` names.
    """
    gone = [name for name, path in zip(typed, paths) if path and not _is_there(path, root, prefix)]
    if not gone:
        return
    named = ", ".join(gone[:_MOST_NAMED])
    more = f" and {len(gone) - _MOST_NAMED} more" if len(gone) > _MOST_NAMED else ""
    inside = as_seen_inside(os.path.abspath(gone[0]), root)
    hint = "check the path; --paths-from takes paths that may be gone"
    if inside is not None:
        hint = f"as seen inside {root}, it is {inside}"
    raise UsageError(f"{named}{more}: no such file or directory", hint=hint)


def _is_there(path: str, root: str | None, prefix: str | None) -> bool:
    """Whether there is such a file, bytecode of such a source, or the source of such a pyc."""
    if _exists(path, root) or (prefix is not None and _exists(prefix + path, root)):
        return True
    above, name = os.path.split(path)
    if name.endswith(SOURCE_SUFFIX):
        places = [os.path.join(above, PYCACHE)] if prefix is None else [prefix + above]
        return _exists(f"{path}c", root) or any(_has_bytecode(place, name, root) for place in places)
    if name.endswith(".pyc") and _exists(path[:-1], root):
        return True
    cached = cached_name(name)
    if cached is None:
        return False
    if os.path.basename(above) == PYCACHE:
        return _exists(os.path.join(os.path.dirname(above), cached.source), root)
    if prefix is None or not above.startswith(f"{prefix}/"):
        return False
    return _exists(os.path.join(above[len(prefix) :], cached.source), root)


def _exists(path: str, root: str | None) -> bool:
    try:
        if root is None:
            os.lstat(path)
            return True
        above, name = os.path.split(os.path.normpath(path))
        directory = open_in_root(root, above)
        try:
            os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
        finally:
            os.close(directory)
    except OSError as error:
        return error.errno not in _ABSENT
    return True


def _has_bytecode(directory: str, source: str, root: str | None) -> bool:
    """Whether bytecode of a source is left, of whatever flavour."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY) if root is None else open_in_root(root, directory)
    except OSError as error:
        return error.errno not in _ABSENT
    try:
        cached = map(cached_name, os.listdir(descriptor))
        return any(each is not None and each.source == source for each in cached)
    finally:
        os.close(descriptor)
