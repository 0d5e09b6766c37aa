"""A site directory held by its descriptor; everything below is reached component by component, no link followed.

Root works here on directories that others may write. A path can be swapped for a link between two system calls, a
descriptor can't (openat(2), O_NOFOLLOW): so no call below a site directory takes a path with more than one component.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    _Accept = Callable[[list[int], os.stat_result], bool]


def _open_max() -> int:
    try:
        return os.sysconf("SC_OPEN_MAX")
    except OSError:  # getrlimit(2) is refused
        return 256


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: opening a FIFO for reading would wait for a writer for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Directories kept open at once: the way down to the one at work, and the few that results are still written to; a
#: quarter of what this process may open at most.
_MOST_OPEN = min(192, max(8, _open_max() // 4))
_MOST_LINKS = 40


class Tree:
    """One site directory (or the tree of a pycache prefix), opened once. `path` is its name as the target sees it."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.path = path
        self._root = descriptor
        self._staged: str | None = None
        self._open: OrderedDict[str, int] = OrderedDict()
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)
        #: Whose rights work on it has: its owner's, or ours where that is no account.
        self.owner = account_of_owner(descriptor, status)

    @classmethod
    def open(cls, path: str, root: str | None = None) -> Tree:
        """Open the directory `path`, inside the staged root `root` if there is one.

        Above a site directory the administrator's links are followed, links inside a root stay inside of it. Raises
        OSError.
        """
        if root is None:
            return cls(os.open(path, _DIRECTORY & ~os.O_NOFOLLOW), path)
        tree = cls(open_in_root(root, path), path)
        tree._staged = root
        return tree

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all descriptors back."""
        self._drop_all()
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def describe(self, relative: str, name: str = "") -> str:
        """The full path of something in this tree, as the target sees it."""
        return "/".join(part for part in (self.path.rstrip("/"), relative, name) if part)

    def directory(self, relative: str) -> int:
        """The descriptor of a directory below, by its path relative to the tree; "" is the tree itself.

        It stays ours: it is good until the next call. Raises OSError: ELOOP or ENOTDIR for a link or a file.
        """
        if not relative:
            return self._root
        descriptor = self._open.get(relative)
        if descriptor is not None:
            self._open.move_to_end(relative)
            return descriptor
        above, _, name = relative.rpartition("/")
        parent = self.directory(above)
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._drop_all()
            descriptor = os.open(name, _DIRECTORY, dir_fd=self.directory(above))
        self._open[relative] = descriptor
        if len(self._open) > _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def forget(self, relative: str) -> None:
        """Open this directory anew next time: it may have vanished under the descriptor (a neighbour's sweep)."""
        descriptor = self._open.pop(relative, None)
        if descriptor is not None:
            os.close(descriptor)

    def lstat(self, relative: str, name: str) -> os.stat_result:
        """The status of an entry itself, link or not. Raises OSError."""
        return os.stat(name, dir_fd=self.directory(relative), follow_symlinks=False)

    def open_file(self, relative: str, name: str) -> int:
        """A descriptor for reading a file of any kind; never blocks, never follows a link. Raises OSError."""
        return os.open(name, _FILE, dir_fd=self.directory(relative))

    def resolve(self, relative: str, name: str) -> tuple[str, str] | None:
        """Where a link below leads, as (directory, name), resolved without leaving the tree; None if it leads out.

        Raises OSError where it leads nowhere, in circles, or through a file.
        """
        pending = [name]
        parts = relative.split("/") if relative else []
        links = 0
        while True:
            part = pending.pop()
            if part == "..":
                if not parts:
                    return None
                parts.pop()
            elif part not in ("", "."):
                status = self.lstat("/".join(parts), part)
                if stat.S_ISLNK(status.st_mode):
                    links += 1
                    if links > _MOST_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    goal = os.readlink(part, dir_fd=self.directory("/".join(parts)))
                    if goal.startswith("/"):
                        if not goal.startswith(self.path.rstrip("/") + "/"):
                            return None
                        parts, goal = [], goal[len(self.path.rstrip("/")) :]
                    pending += goal.split("/")[::-1]
                elif pending:
                    parts.append(part)
                else:
                    return "/".join(parts), part
            if not pending:
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))

    def follow(self, relative: str, name: str) -> os.stat_result:
        """The status of what a link leads to, wherever that is, as the target's import sees it. Raises OSError."""
        if self._staged is None:
            return os.stat(name, dir_fd=self.directory(relative))
        return status_in_root(self._staged, self.describe(relative, name))

    def beyond(self, relative: str, name: str) -> tuple[Tree, str] | None:
        """The directory outside of this tree in which a link's goal lies, opened, and its name there.

        None where somebody else than root and ourselves could lead the link elsewhere, or may read the goal without
        being let in there: who reads what was made of it would learn more. Raises OSError.
        """
        path = self.describe(relative, name)
        directory, last = _walk(self._staged or "/", path, _is_ours_and_open)
        if directory < 0:
            return None
        return Tree(directory, os.path.dirname(path)), last

    def open_behind(self, relative: str, name: str) -> int:
        """A descriptor of the directory that a link leads to, wherever it is, to be looked at only. Raises OSError."""
        if self._staged is None:
            return os.open(name, _DIRECTORY & ~os.O_NOFOLLOW, dir_fd=self.directory(relative))
        return open_in_root(self._staged, self.describe(relative, name))

    def _drop_all(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])


def account_of_owner(descriptor: int, status: os.stat_result) -> int:
    """The account that owns an open directory; our own where the owner is none in this user namespace."""
    if status.st_uid in (0, os.geteuid()):
        return status.st_uid
    from ..namespaces import is_unmapped_owner

    is_nobodys = is_unmapped_owner(status.st_uid, lambda flags: os.open(".", flags, dir_fd=descriptor))
    return os.geteuid() if is_nobodys else status.st_uid


def identity_in_root(root: str, path: str) -> tuple[int, int] | None:
    """Device and inode of the directory that `path` means inside the staged root `root`; None where there is none."""
    try:
        descriptor = open_in_root(root, path)
    except (OSError, ValueError):  # a configuration can name a path that no system call takes
        return None
    try:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def open_in_root(root: str, path: str) -> int:
    """Open the directory that `path` means inside the staged root `root`, following links inside of it only.

    What a chroot(2) would see, without one. Raises OSError.
    """
    directory, name = _walk(root, path)
    if name:
        os.close(directory)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return directory


def status_in_root(root: str, path: str) -> os.stat_result:
    """The status of what `path` means inside the staged root `root`, in the same manner. Raises OSError."""
    directory, name = _walk(root, path)
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False) if name else os.fstat(directory)
    finally:
        os.close(directory)


def _walk(root: str, path: str, accept: _Accept | None = None) -> tuple[int, str]:
    """A descriptor of the directory at the end of a path, and ""; of a file of another kind its directory and its name.

    No directory, -1, where a step is not accepted: from the last of the open directories to what has this status.
    """
    ancestry = [os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)]
    pending = path.split("/")[::-1]
    links = 0
    try:
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(ancestry) > 1:
                    os.close(ancestry.pop())
                continue
            status = os.stat(part, dir_fd=ancestry[-1], follow_symlinks=False)
            if accept and not accept(ancestry, status):
                return -1, ""
            if not stat.S_ISLNK(status.st_mode):
                if not pending and not stat.S_ISDIR(status.st_mode):
                    return ancestry.pop(), part
                ancestry.append(os.open(part, _DIRECTORY, dir_fd=ancestry[-1]))
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            goal = os.readlink(part, dir_fd=ancestry[-1])
            if goal.startswith("/"):
                while len(ancestry) > 1:
                    os.close(ancestry.pop())
            pending += goal.split("/")[::-1]
        return ancestry.pop(), ""
    finally:
        for descriptor in ancestry:
            os.close(descriptor)


def _is_ours_and_open(way: list[int], step: os.stat_result) -> bool:
    """Whether only root, and we, may change where a step on a way leads, and everybody may take it."""
    ours = (0, os.geteuid())
    status = os.fstat(way[-1])
    if status.st_uid not in ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    if stat.S_ISLNK(step.st_mode) and step.st_uid not in ours:
        return False
    if len(way) == 1:
        return True  # whom the first directory keeps out comes to neither end
    from .access_lists import has_list  # few links lead out of a tree

    return status.st_mode & 0o111 == 0o111 and not has_list(way[-1])
