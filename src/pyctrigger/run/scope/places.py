"""Places that a request names: whether they are there, what leads to them, and what lies in them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from ...errors import RefusedError, UsageError, hint_for_place
from ...stamps import inode_of
from ...typed import TYPE_CHECKING, TypeVar
from .request import Request

if TYPE_CHECKING:
    from ...tree.opened import Opened

_Answer = TypeVar("_Answer")


def require_named(request: Request) -> None:
    """Raise UsageError for what a person names and isn't there, before anything is made for it.

    What a hook names may be gone, but for its root: below that its state would be made.
    """
    scope = request.scope
    if scope.root is not None:
        require_root(scope.root)
    if request.running.hook:
        return
    named = [("--prefix", path) for path in scope.prefixes] + [("--site-dir", path) for path in scope.site_dirs]
    named += [("--prefix-below", path) for path in scope.prefixes_below]
    named += [("--pycache-prefix", scope.pycache_prefix)] if scope.pycache_prefix is not None else []
    for option, path in named:
        if locate(scope.root, path) is None:
            from ...tree.mounts import HINT_FOR_FUSE, KEPT_OUT, lies_on_fuse

            # It may be there, and root may not look.
            if os.geteuid() == 0 and lies_on_fuse((scope.root or "") + path):
                raise RefusedError(f"{option} {path}: {KEPT_OUT}", hint=HINT_FOR_FUSE)
            raise no_directory(option, path, scope.root)


def as_seen_inside(path: str, root: str | None) -> str | None:
    """What an absolute path that was named as seen outside of a root is inside; None for any other one."""
    if root is None or not path.startswith(f"{root.rstrip('/')}/") or not os.path.lexists(path):
        return None
    return path[len(root.rstrip("/")) :]


def require_root(root: str) -> tuple[int, int]:
    """Device and inode of a staged root. Raises UsageError where there is none."""
    found = locate(None, root)
    if found is None:
        raise no_directory("--root", root, hint="name the directory of a staged root")
    return found


def no_directory(
    option: str, path: str, root: str | None = None, *, hint: str = "name a directory that exists"
) -> UsageError:
    """The error for what was named and is no directory, or can't be looked at."""
    reason = "no such directory" if root is None else f"no such directory in {root}"
    if root is not None:
        inside = as_seen_inside(path, root)
        if lies_on_mount(root, path):
            reason, hint = f"is on a mount in {root}, and mounts below a root aren't entered", HINT_FOR_MOUNT
        elif inside is not None:
            hint = f"as seen inside, it is {inside}"
        return UsageError(f"{option} {path}: {reason}", hint=hint)
    try:
        os.stat(path)
        reason = "not a directory"
    except PermissionError as error:
        reason, hint = str(error.strerror), hint_for_place(error, hint)
    except (OSError, ValueError):
        pass  # there is nothing of the name
    return UsageError(f"{option} {path}: {reason}", hint=hint)


def locate(root: str | None, path: str) -> tuple[int, int] | None:
    """Device and inode of a directory, inside a staged root if there is one; None where there is none."""

    def look() -> tuple[int, int] | None:
        if root is not None:
            from ...tree.directory import status_in_root  # a hook whose list is empty needs nothing of the tree

        status = os.stat(path) if root is None else status_in_root(root, path)
        return inode_of(status) if stat.S_ISDIR(status.st_mode) else None

    return _ask(root, path, look, lambda opened: inode_of(os.fstat(opened.descriptor)))


def _ask(root: str | None, path: str, look: Callable[[], _Answer], ask: Callable[[Opened], _Answer]) -> _Answer | None:
    """Returns what a look at a directory finds, or if we may not look, a process that acts as whose place it is.

    On network file systems, and without capabilities, root has no more rights than others. None where there is no
    answer.
    """

    def look_as_others(_: object) -> _Answer:
        from ...tree.directory import open_way

        opened = open_way(path, root)
        try:
            return ask(opened)
        finally:
            os.close(opened.descriptor)

    try:
        return look()
    except PermissionError:
        if os.geteuid() != 0:
            return None
    except (OSError, ValueError):
        return None
    from .forked import NoProcessError, act_as_others

    try:
        return act_as_others(look_as_others)
    except (NoProcessError, OSError):
        return None


#: What to do about what isn't entered.
HINT_FOR_MOUNT = "run pyctrigger inside the root (chroot)"


def lies_on_mount(root: str, path: str) -> bool:
    """Whether a path leads to what is mounted below a root: none of that is looked at."""
    from ...tree.directory import open_in_root

    try:
        os.close(open_in_root(root, path))
    except OSError as error:
        return error.errno == errno.EXDEV
    except ValueError:
        pass
    return False


def lies_in(root: str | None, path: str, above: str) -> bool:
    """Whether a directory is `above`, or lies below it: whatever links lead there, and however they are named."""
    from ...tree.directory import open_in_root
    from ...tree.elsewhere import is_below
    from ...tree.opened import Opened

    top = locate(root, above)
    if top is None:
        return False

    def look() -> bool:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if root is None else open_in_root(root, path)
        try:
            return is_below(Opened(directory, None), {top})
        finally:
            os.close(directory)

    return bool(_ask(root, path, look, lambda opened: is_below(opened, {top})))


def is_inside(path: str, directory: str) -> bool:
    """Whether a path, which may not be there yet, lies in a directory, whatever links lead there."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return lies_in(None, path, directory)


def real_prefix(root: str | None, prefix: str) -> str:
    """What all names of an environment have in common: its real path; in a root its device and inode."""
    if root is None:
        return os.path.realpath(prefix)
    where = locate(root, prefix)
    return os.path.normpath(prefix) if where is None else f"{where[0]}:{where[1]}"


def real_name(root: str | None, path: str) -> str:
    """What has no links in it, and leads to the same; in a root as seen inside."""
    if root is None:
        return os.path.realpath(path)
    from ...tree.directory import real_in_root

    return real_in_root(root, path)
