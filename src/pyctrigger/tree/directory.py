"""A site directory, held open by its descriptor. Everything below is opened component by component, without links.

Root works here on directories that others may write. A path can be replaced by a link between two system calls, a
descriptor can't (openat(2), O_NOFOLLOW): so no call below a site directory takes a path of more than one component. A
name in another account's directory can mean something else at each call; so every system call there is made with that
account's ids.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable

from ..links import MAX_LINKS
from ..stamps import inode_of
from .identity import Acting, ForeignPlaceError, Identity, identity_of, is_root, making_for, masking_nothing_of
from .opened import DIRECTORY, FILE, TRAVERSE, Opened, account_of_owner, is_confined, open_below, open_name, read_link

_Accept = Callable[[list[int], os.stat_result], bool]


def _open_max() -> int:
    try:
        return os.sysconf("SC_OPEN_MAX")
    except OSError:  # getrlimit(2) is refused
        return 256


#: Directories kept open at once: those above the current one, and the few that results are still written to. At most a
#: quarter of what this process may open.
_MAX_OPEN = min(192, max(8, _open_max() // 4))


class Tree:
    """One site directory (or the tree of a pycache prefix), opened once. `path` is its path as the target sees it."""

    def __init__(self, opened: Opened, path: str, root: str | None = None) -> None:
        self.path = path
        self._root = opened
        self._staged = root
        #: Whether it is in a staged root, whose sources nobody here vouches for.
        self.is_confined = is_confined(root)
        #: A directory on the way to it in which everybody may rename: the path may lead to another directory each time.
        self.exposed = opened.exposed
        self._open: OrderedDict[str, Opened] = OrderedDict()
        #: Whether other accounts' directories are handled as such: only as root.
        self.is_judged = is_root()
        status = os.fstat(opened.descriptor)
        self.identity = inode_of(status)
        #: The account as which we work in it: its owner, or ourselves if the owner isn't mapped here.
        self.owner = account_of_owner(opened.descriptor, status)

    @classmethod
    def open(cls, path: str, root: str | None = None) -> Tree:
        """Open the directory `path`, inside the staged root `root` if one is given.

        Links above a site directory are followed; inside a root they can't leave it. Raises OSError.
        """
        if root is None and not is_root():
            return cls(Opened(os.open(path, DIRECTORY & ~os.O_NOFOLLOW), None), path)
        return cls(open_way(path, root), path, root)

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def descriptor(self) -> int:
        """That of the tree itself."""
        return self._root.descriptor

    def forget_all(self) -> None:
        """Forget the directories below: in a forked process their descriptors are closed."""
        self._open.clear()

    def close(self) -> None:
        """Close all descriptors."""
        self._drop_all()
        if self._root.descriptor >= 0:
            os.close(self._root.descriptor)
            self._root.descriptor = -1

    def describe(self, relative: str, name: str = "") -> str:
        """Returns the full path of an entry of this tree, as the target sees it."""
        return "/".join(filter(None, (self.path.rstrip("/"), relative, name)))

    def directory(self, relative: str) -> int:
        """Returns a descriptor of a directory, by its path relative to the tree; "" is the tree itself.

        The tree owns the descriptor, which is valid until the next call. Raises OSError: ELOOP or ENOTDIR for a link or
        a file. Use `entered` to change anything in the directory.
        """
        return self.entered(relative).descriptor

    def entered(self, relative: str) -> Opened:
        """Returns a directory below; its `with` block acts as the account that owns the place. Raises like `directory`.

        Also ForeignPlaceError in a process that can't change its ids, and IdentityRefusedError if that fails.
        """
        if not relative:
            return self._root
        opened = self._open.get(relative)
        if opened is not None:
            self._open.move_to_end(relative)
            return opened
        above, _, name = relative.rpartition("/")
        try:
            opened = self._open_below(above, name)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._drop_all()
            opened = self._open_below(above, name)
        self._open[relative] = opened
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1].descriptor)
        return opened

    def _open_below(self, above: str, name: str) -> Opened:
        return open_below(self.entered(above), name, DIRECTORY, judged=self.is_judged, confined=self.is_confined)

    def is_open(self, relative: str) -> bool:
        """Whether a directory below is held open, so that it was there."""
        return relative in self._open

    def nearest(self, relative: str) -> Opened:
        """Returns a directory below, or the nearest one above it that can be opened."""
        while relative:
            try:
                return self.entered(relative)
            except OSError:
                relative = relative.rpartition("/")[0]
        return self._root

    def account_at(self, relative: str) -> Identity | None:
        """Returns the account as which we act in a directory, which may be gone; None for ourselves."""
        return self.nearest(relative).identity

    def owner_at(self, relative: str) -> int:
        """Returns the uid as which we work in a directory."""
        identity = self.account_at(relative)
        return self.owner if identity is None else identity.uid

    def forget(self, relative: str) -> None:
        """Open this directory again next time: another flavour's sweep may have removed it while it was open."""
        opened = self._open.pop(relative, None)
        if opened is not None:
            os.close(opened.descriptor)

    def lstat(self, relative: str, name: str) -> os.stat_result:
        """Returns the status of an entry, without following a link. Raises OSError."""
        with self.entered(relative) as directory:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def directories_in(self, relative: str) -> list[str]:
        """Returns the names of subdirectories, without links. Raises OSError."""
        with self.entered(relative) as directory, os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]

    def open_file(self, relative: str, name: str) -> int:
        """Open a file of any kind for reading. Never blocks, never follows a link. Raises OSError."""
        with self.entered(relative) as directory:
            return open_name(name, FILE, directory, self.is_confined)

    def read_link(self, relative: str, name: str) -> str:
        """Returns what a link contains. Raises OSError."""
        with self.entered(relative) as directory:
            return os.readlink(name, dir_fd=directory)

    def resolve(self, relative: str, name: str) -> tuple[str, str] | None:
        """Resolve a link to (directory, name) without leaving the tree. Returns None if it leads out of it.

        Raises OSError if it is dangling, a loop, or leads through a file.
        """
        parts, pending, links = relative.split("/") if relative else [], [name], 0
        top = self.path.rstrip("/")
        with self.entered(relative):  # the link's owner reaches nothing that it couldn't reach itself
            while pending:
                part = pending.pop()
                if part == "..":
                    if not parts:
                        return None
                    parts.pop()
                elif part not in ("", "."):
                    status = self.lstat("/".join(parts), part)
                    if stat.S_ISLNK(status.st_mode):
                        links += 1
                        if links > MAX_LINKS:
                            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                        destination = self.read_link("/".join(parts), part)
                        if destination.startswith("/"):
                            if not destination.startswith(f"{top}/"):
                                return None
                            parts, destination = [], destination[len(top) :]
                        pending += destination.split("/")[::-1]
                    elif pending:
                        parts.append(part)
                    else:
                        return "/".join(parts), part
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))

    def follow(self, relative: str, name: str) -> os.stat_result:
        """Returns the status of what a link leads to, anywhere, as the target's import sees it. Raises OSError."""
        with self.entered(relative) as directory:
            if self._staged is None:
                return os.stat(name, dir_fd=directory)
            return status_in_root(self._staged, self.describe(relative, name))

    def open_outside(self, relative: str, name: str) -> tuple[Tree, str] | None:
        """Open the directory outside of this tree that holds the file a link leads to. Returns it and the file's name.

        None if anybody other than root and ourselves could redirect the link, or if a directory on the way keeps
        anybody out: the pyc would reveal the source to them. Raises OSError.
        """
        if self.account_at(relative) is not None:
            return None
        path = self.describe(relative, name)
        with _Way(self._staged or "/", accept=_is_ours_and_open) as way:
            if way.follow(path) is None:
                return None
            return Tree(Opened(os.dup(way.directory), None), os.path.dirname(path)), way.names[-1]

    def open_linked(self, relative: str, name: str) -> Opened:
        """Open the directory that a link leads to, wherever it is, for reading. Raises OSError."""
        with self.entered(relative) as directory:
            if self._staged is None:
                linked = os.open(name, DIRECTORY & ~os.O_NOFOLLOW, dir_fd=directory)
            else:
                linked = open_in_root(self._staged, self.describe(relative, name))
            return Opened(linked, self.account_at(relative))

    def _drop_all(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1].descriptor)


def open_in_root(root: str, path: str) -> int:
    """Open the directory `path` inside the staged root `root`, following links only inside of it.

    This resolves as after a chroot(2), with our own rights, and is for reading only. Raises OSError.
    """
    with _Way(root) as way:
        return way.open(path).descriptor


def status_in_root(root: str, path: str) -> os.stat_result:
    """Returns the status of `path` inside the staged root `root`, resolved like `open_in_root`. Raises OSError."""
    with _Way(root) as way:
        return way.follow(path) or os.fstat(way.directory)


def real_in_root(root: str, path: str) -> str:
    """Returns a path inside the staged root `root` without links; parts that don't exist stay as they are.

    Like os.path.realpath after a chroot(2).
    """
    gone: list[str] = []
    while path:
        try:
            with _Way(root) as way:
                way.follow(path)
            return os.path.normpath("/" + "/".join([*way.names, *gone]))
        except OSError:
            path, _, name = path.rpartition("/")
            gone.insert(0, name)
    return os.path.normpath("/" + "/".join(gone))


def open_way(path: str, root: str | None) -> Opened:
    """Open the directory `path`, inside the staged root `root` if any, and find the account that owns the place.

    That is the first one other than root that may rename on the way from "/", through all links. Raises OSError,
    ForeignPlaceError and IdentityRefusedError.
    """
    with _Way(root or "/", judged=is_root()) as way:
        return way.open(path if root is not None else _absolute(path))


def make_directories(path: str, root: str = "/") -> None:
    """Make a directory inside a staged root, and those above it, each as the account that owns the place.

    Raises like `open_way`.
    """
    above, name = os.path.split(path.rstrip("/"))
    try:
        os.close(open_way(path, root).descriptor)
    except FileNotFoundError:
        if not name:
            raise  # the root itself is gone
        make_directories(above, root)
        opened = open_way(above, root)
        try:
            with (
                opened as directory,
                masking_nothing_of(0o755),
                contextlib.suppress(FileExistsError),
                making_for(os.fstat(directory).st_gid),
            ):
                os.mkdir(name, 0o755, dir_fd=directory)
        finally:
            os.close(opened.descriptor)


def account_on_way(path: str) -> int | None:
    """Returns the account as which root would work at `path`: the first owner other than root on the way there.

    None if all directories are root's, or one can't be examined. For callers that aren't root.
    """
    try:
        with _Way("/", judged=True) as way:
            way.follow(path)
    except ForeignPlaceError as place:
        return place.uid
    except OSError:
        pass
    return None


class _Way:
    """The way to a path from "/", or from a staged root, component by component and through links.

    With `judged` it goes on as the account that owns the place. Use it as a context manager, for one path.
    """

    def __init__(self, root: str, *, judged: bool = False, accept: _Accept | None = None) -> None:
        self._root = root
        self._is_judged = judged
        self._accept = accept
        self._is_confined = False
        self._identity: Identity | None = None
        self._exposed: str | None = None
        self._links = 0
        #: Descriptors of the directories down to the current one.
        self._ancestry: list[int] = []
        #: The names of all below the root, without links.
        self.names: list[str] = []

    def __enter__(self) -> _Way:
        return self

    def __exit__(self, *_: object) -> None:
        while self._ancestry:
            os.close(self._ancestry.pop())

    @property
    def directory(self) -> int:
        """The directory that was reached, or the one of the file that was; closed at the end of the block."""
        return self._ancestry[-1]

    def open(self, path: str) -> Opened:
        """Follow a path, and open the directory at its end. Raises OSError."""
        if self.follow(path) is not None:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with Acting(self._identity):
            found = Opened(os.open(".", DIRECTORY, dir_fd=self.directory), self._identity)
        found.exposed = self._exposed
        return found

    def follow(self, path: str) -> os.stat_result | None:
        """Follow a path. Returns the status of the file at its end; None for a directory, and if a part isn't accepted.

        Raises OSError.
        """
        if self._is_judged:
            self._ancestry.append(os.open("/", TRAVERSE))
            self._walk(_absolute(self._root))
            while len(self._ancestry) > 1:
                os.close(self._ancestry.pop(0))
            self.names.clear()
        else:
            self._ancestry.append(os.open(self._root, TRAVERSE & ~os.O_NOFOLLOW))
        self._is_confined = is_confined(self._root)
        return self._walk(path)

    def _walk(self, path: str) -> os.stat_result | None:
        pending = path.split("/")[::-1]
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(self._ancestry) > 1:
                    os.close(self._ancestry.pop())
                    self.names.pop()
                continue
            if self._accept and not self._accept(self._ancestry, self._lstat(part)):
                return None
            destination = self._examine(part)
            if destination is not None:
                pending += destination.split("/")[::-1]
                continue
            try:
                self._descend(part)
            except NotADirectoryError:
                if pending:
                    raise
                self.names.append(part)
                with Acting(self._identity):
                    return self._lstat(part)
            self.names.append(part)
        return None

    def _examine(self, name: str) -> str | None:
        """Returns what a link contains, None for any other component. Raises OSError."""
        if self._is_judged and self._identity is None:
            mode = os.fstat(self.directory).st_mode
            if mode & stat.S_ISVTX:
                link = self._lstat(name)
                # In a sticky directory only a link's owner can replace it.
                if stat.S_ISLNK(link.st_mode) and link.st_uid != 0:
                    self._identity = identity_of(link.st_uid)
            elif mode & stat.S_IWOTH:
                self._exposed = self._exposed or f"the directory of {name}"
        with Acting(self._identity):
            destination = read_link(name, self.directory)
        if destination is not None:
            self._links += 1
            if self._links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if destination.startswith("/"):
                while len(self._ancestry) > 1:
                    os.close(self._ancestry.pop())
                self.names.clear()
        return destination

    def _lstat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.directory, follow_symlinks=False)

    def _descend(self, name: str) -> None:
        above = Opened(self.directory, self._identity)
        opened = open_below(above, name, TRAVERSE, judged=self._is_judged, confined=self._is_confined)
        self._identity = opened.identity
        self._ancestry.append(opened.descriptor)


def _is_ours_and_open(way: list[int], step: os.stat_result) -> bool:
    """Whether only root and we can change where a component of a path leads, and everybody may enter it."""
    ours = (0, os.geteuid())
    status = os.fstat(way[-1])
    if status.st_uid not in ours or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return False
    if stat.S_ISLNK(step.st_mode) and step.st_uid not in ours:
        return False
    if len(way) == 1:
        return True  # whoever can't enter the first directory reaches neither the link nor its target
    from .permission.access_lists import has_list  # few links are followed like this

    if status.st_mode & 0o111 != 0o111:
        return False
    listed = os.open(".", DIRECTORY, dir_fd=way[-1])
    try:
        return not has_list(listed)
    finally:
        os.close(listed)


def _absolute(path: str) -> str:
    """Returns an absolute path. The current directory, which may be gone, is looked up only for a relative one."""
    return path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
