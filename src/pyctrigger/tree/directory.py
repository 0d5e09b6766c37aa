"""A site directory held by its descriptor; everything below is reached component by component, no link followed.

Root works here on directories that others may write. A path can be swapped for a link between two system calls, a
descriptor can't (openat(2), O_NOFOLLOW): so no call below a site directory takes a path with more than one component.
A name in somebody else's directory can mean something else at each call; so every act there is that account's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING

from .identity import Acting, Identity, identity_of, is_root
from .opened import Opened, account_of_owner, is_confined, open_below, open_name

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
#: A directory on the way to another one: to pass through takes no right to list it.
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """One site directory (or the tree of a pycache prefix), opened once. `path` is its name as the target sees it."""

    def __init__(self, descriptor: int, path: str, identity: Identity | None = None) -> None:
        self.path = path
        self._root = Opened(descriptor, identity)
        self._staged: str | None = None
        #: A directory on the way to it in which everybody may rename, so that it may be another one each time.
        self.exposed: str | None = None
        self._open: OrderedDict[str, Opened] = OrderedDict()
        #: Directories below that are the first of another account's on their way.
        self._foreign: dict[str, Identity] = {}
        #: Whether places of others are told from ours.
        self.is_judged = is_root()
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
        if root is None and not is_root():
            return cls(os.open(path, _DIRECTORY & ~os.O_NOFOLLOW), path)
        opened = open_way(path, root)
        tree = cls(opened.descriptor, path, opened.identity)
        tree._staged = root
        tree.exposed = opened.exposed
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
        if self._root.descriptor >= 0:
            os.close(self._root.descriptor)
            self._root.descriptor = -1

    def describe(self, relative: str, name: str = "") -> str:
        """The full path of something in this tree, as the target sees it."""
        return "/".join(part for part in (self.path.rstrip("/"), relative, name) if part)

    def directory(self, relative: str) -> int:
        """The descriptor of a directory below, by its path relative to the tree; "" is the tree itself.

        It stays ours: it is good until the next call. Raises OSError: ELOOP or ENOTDIR for a link or a file. What is
        done in the directory is done in `entered`.
        """
        return self.entered(relative).descriptor

    def entered(self, relative: str) -> Opened:
        """A directory below, to act in as the account whose place it is. Raises like `directory`.

        ForeignPlaceError in a process that keeps its ids, and IdentityRefusedError where they can't be had.
        """
        if not relative:
            return self._root
        opened = self._open.get(relative)
        if opened is not None:
            self._open.move_to_end(relative)
            return opened
        above, _, name = relative.rpartition("/")
        try:
            opened = self._opened(self.entered(above), relative, name)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._drop_all()
            opened = self._opened(self.entered(above), relative, name)
        self._open[relative] = opened
        if len(self._open) > _MOST_OPEN:
            os.close(self._open.popitem(last=False)[1].descriptor)
        return opened

    def _opened(self, above: Opened, relative: str, name: str) -> Opened:
        if not self.is_judged or above.identity is not None:
            with above as parent:
                return Opened(open_name(name, _DIRECTORY, parent, is_confined(self._staged)), above.identity)
        opened = open_below(above.descriptor, name, _DIRECTORY, confined=is_confined(self._staged))
        if opened.identity is not None:
            self._foreign[relative] = opened.identity
        return opened

    def account_at(self, relative: str) -> Identity | None:
        """As whom everything is done in a directory that was opened, or below it; None: as ourselves."""
        if self._root.identity is not None or not self._foreign:
            return self._root.identity
        while relative:
            if relative in self._foreign:
                return self._foreign[relative]
            relative = relative.rpartition("/")[0]
        return None

    def owner_at(self, relative: str) -> int:
        """The account whose rights work in a directory has."""
        identity = self.account_at(relative)
        return self.owner if identity is None else identity.uid

    def forget(self, relative: str) -> None:
        """Open this directory anew next time: it may have vanished under the descriptor (a neighbour's sweep)."""
        opened = self._open.pop(relative, None)
        if opened is not None:
            os.close(opened.descriptor)

    def lstat(self, relative: str, name: str) -> os.stat_result:
        """The status of an entry itself, link or not. Raises OSError."""
        with self.entered(relative) as directory:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def directories_in(self, relative: str) -> list[str]:
        """The names of the directories in one, links left out. Raises OSError."""
        with self.entered(relative) as directory, os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def open_file(self, relative: str, name: str) -> int:
        """A descriptor for reading a file of any kind; never blocks, never follows a link. Raises OSError."""
        with self.entered(relative) as directory:
            return open_name(name, _FILE, directory, is_confined(self._staged))

    def read_link(self, relative: str, name: str) -> str:
        """Where a link leads. Raises OSError."""
        with self.entered(relative) as directory:
            return os.readlink(name, dir_fd=directory)

    def resolve(self, relative: str, name: str) -> tuple[str, str] | None:
        """Where a link below leads, as (directory, name), resolved without leaving the tree; None if it leads out.

        Raises OSError where it leads nowhere, in circles, or through a file.
        """
        with self.entered(relative):  # whoever made the link gets no further than by his own rights
            return self._resolve(relative.split("/") if relative else [], [name])

    def _resolve(self, parts: list[str], pending: list[str]) -> tuple[str, str] | None:
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
                    goal = self.read_link("/".join(parts), part)
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
        with self.entered(relative) as directory:
            if self._staged is None:
                return os.stat(name, dir_fd=directory)
            return status_in_root(self._staged, self.describe(relative, name))

    def beyond(self, relative: str, name: str) -> tuple[Tree, str] | None:
        """The directory outside of this tree in which a link's goal lies, opened, and its name there.

        None where somebody else than root and ourselves could lead the link elsewhere, or may read the goal without
        being let in there: who reads what was made of it would learn more. Raises OSError.
        """
        if self.account_at(relative) is not None:
            return None
        path = self.describe(relative, name)
        found = _Way(self._staged or "/", judged=False, accept=_is_ours_and_open).find(path)
        return None if found is None else (Tree(found[0], os.path.dirname(path)), found[1])

    def open_behind(self, relative: str, name: str) -> Opened:
        """The directory that a link leads to, wherever it is, to be looked at only. Raises OSError."""
        with self.entered(relative) as directory:
            if self._staged is None:
                behind = os.open(name, _DIRECTORY & ~os.O_NOFOLLOW, dir_fd=directory)
            else:
                behind = open_in_root(self._staged, self.describe(relative, name))
            return Opened(behind, self.account_at(relative))

    def _drop_all(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1].descriptor)


def identity_in_root(root: str, path: str) -> tuple[int, int] | None:
    """Device and inode of the directory that `path` means inside the staged root `root`; None where there is none."""
    try:
        return identity_on_way(root, path)
    except (OSError, ValueError):  # a configuration can name a path that no system call takes
        return None


def identity_on_way(root: str, path: str) -> tuple[int, int]:
    """The same. Raises OSError and ValueError where there is none."""
    return _identity_of(open_in_root(root, path))


def identity_as_others(root: str | None, path: str) -> tuple[int, int]:
    """The same, looked at as the accounts whose places are on the way. Raises like `open_way`."""
    return _identity_of(open_way(path, root).descriptor)


def _identity_of(descriptor: int) -> tuple[int, int]:
    try:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def open_in_root(root: str, path: str) -> int:
    """Open the directory that `path` means inside the staged root `root`, following links inside of it only.

    What a chroot(2) would see, without one, and with our own rights: to be looked at. Raises OSError.
    """
    found = _Way(root, judged=False).go(path)
    if isinstance(found, Opened):
        return found.descriptor
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def status_in_root(root: str, path: str) -> os.stat_result:
    """The status of what `path` means inside the staged root `root`, in the same manner. Raises OSError."""
    found = _Way(root, judged=False).go(path)
    if not isinstance(found, Opened):
        return found
    try:
        return os.fstat(found.descriptor)
    finally:
        os.close(found.descriptor)


def real_in_root(root: str, path: str) -> str:
    """The name, as seen inside the staged root `root`, that has no links in it; what isn't there keeps its own.

    As os.path.realpath, but after a chroot(2).
    """
    gone: list[str] = []
    while path:
        try:
            return os.path.normpath("/" + "/".join([*_Way(root, judged=False).name(path), *gone]))
        except OSError:
            path, _, name = path.rstrip("/").rpartition("/")
            gone.insert(0, name)
    return os.path.normpath("/" + "/".join(gone))


def open_way(path: str, root: str | None) -> Opened:
    """Open the directory that `path` means, inside the staged root `root` if there is one, and tell whose place it is.

    That is the account of the first one on the way from "/", through all links, who may rename there and isn't root.
    Raises OSError, ForeignPlaceError and IdentityRefusedError.
    """
    found = _Way(root, judged=is_root()).go(path if root is not None else _absolute(path))
    if isinstance(found, Opened):
        return found
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def account_on_way(path: str) -> int | None:
    """The account, but root, of the first directory above what `path` means: as which root does everything there.

    None where all are root's, or where it can't be seen. For who isn't root.
    """
    accounts: list[int] = []

    def note(way: list[int], step: os.stat_result) -> bool:
        owner = os.fstat(way[-1]).st_uid
        accounts.extend([owner] if owner != 0 else [])
        return True

    try:
        _Way("/", judged=False, accept=note).go(path)
    except OSError:
        return None
    return accounts[0] if accounts else None


class _RejectedStep(Exception):
    """A step of a way that isn't to be taken."""


def _exposed(directory: int, name: str) -> str | None:
    """What to call a directory that everybody may rename in; None for every other."""
    mode = os.fstat(directory).st_mode
    return f"the directory of {name}" if mode & stat.S_IWOTH and not mode & stat.S_ISVTX else None


class _Way:
    """A way from "/", or from a staged root, through links, component by component."""

    def __init__(self, root: str | None, *, judged: bool, accept: _Accept | None = None) -> None:
        assert root is not None or judged
        self._accept = accept
        self._identity: Identity | None = None
        self._is_judged = judged
        self._is_confined = False
        #: The directories down to this one, each with its status where that decides about links in it.
        self._ancestry: list[int] = []
        #: What those below the first are called, without links.
        self._names: list[str] = []
        self._links = 0
        self._exposed: str | None = None
        #: Of the file at the end of the way.
        self._name = ""
        if judged:
            self._ancestry.append(os.open("/", _PASSAGE))
        if root is None:
            return
        try:
            if judged:
                self._walk(_absolute(root))
                top = self._ancestry.pop()
                self._close()
                self._ancestry.append(top)
                self._names.clear()
            else:
                self._ancestry.append(os.open(root, _PASSAGE & ~os.O_NOFOLLOW))
            self._is_confined = is_confined(root)
        except BaseException:
            self._close()
            raise

    def go(self, path: str) -> Opened | os.stat_result:
        """The directory at the end of a path, or the status of a file of another kind. Raises OSError."""
        try:
            status = self._walk(path)
            if status is not None:
                return status
            with Acting(self._identity):
                found = Opened(os.open(".", _DIRECTORY, dir_fd=self._ancestry[-1]), self._identity)
            found.exposed = self._exposed
            return found
        finally:
            self._close()

    def name(self, path: str) -> list[str]:
        """The components of what a path leads to, without links. Raises OSError where it leads nowhere."""
        try:
            status = self._walk(path)
            return self._names if status is None else [*self._names, self._name]
        finally:
            self._close()

    def find(self, path: str) -> tuple[int, str] | None:
        """The directory, and in it the name, of a file at the end of a path; None where a step isn't accepted.

        Raises OSError.
        """
        try:
            status = self._walk(path)
            return None if status is None else (self._ancestry.pop(), self._name)
        except _RejectedStep:
            return None
        finally:
            self._close()

    def _close(self) -> None:
        while self._ancestry:
            os.close(self._ancestry.pop())

    def _walk(self, path: str) -> os.stat_result | None:
        pending = path.split("/")[::-1]
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(self._ancestry) > 1:
                    os.close(self._ancestry.pop())
                    self._names.pop()
                continue
            with Acting(self._identity):
                status = os.stat(part, dir_fd=self._ancestry[-1], follow_symlinks=False)
            if self._is_judged and self._identity is None and not self._exposed:
                self._exposed = _exposed(self._ancestry[-1], part)
            if self._accept and not self._accept(self._ancestry, status):
                raise _RejectedStep
            if not stat.S_ISLNK(status.st_mode):
                if not pending and not stat.S_ISDIR(status.st_mode):
                    self._name = part
                    return status
                self._descend(part)
                self._names.append(part)
                continue
            pending += self._goal(part, status).split("/")[::-1]
        return None

    def _descend(self, name: str) -> None:
        if self._is_judged:
            opened = open_below(self._ancestry[-1], name, _PASSAGE, self._identity, confined=self._is_confined)
            self._identity = opened.identity
            self._ancestry.append(opened.descriptor)
        else:
            self._ancestry.append(open_name(name, _PASSAGE, self._ancestry[-1], self._is_confined))

    def _goal(self, name: str, link: os.stat_result) -> str:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        above = self._ancestry[-1]
        # In a sticky directory a link is in the hands of its owner.
        if self._is_judged and self._identity is None and link.st_uid != 0 and os.fstat(above).st_mode & stat.S_ISVTX:
            self._identity = identity_of(link.st_uid)
        with Acting(self._identity):
            goal = os.readlink(name, dir_fd=above)
        if goal.startswith("/"):
            while len(self._ancestry) > 1:
                os.close(self._ancestry.pop())
            self._names.clear()
        return goal


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
    if status.st_mode & 0o111 != 0o111:
        return False
    from .permission.access_lists import has_list  # few links lead out of a tree

    listed = os.open(".", _DIRECTORY, dir_fd=way[-1])
    try:
        return not has_list(listed)
    finally:
        os.close(listed)


def _absolute(path: str) -> str:
    """A path from "/" on; the current directory, which may be gone, is asked for only where that matters."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
