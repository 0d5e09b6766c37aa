"""Writing pycs: atomically, with the owner and mode that follow from the directory and the source.

CPython's `_write_atomic` ignores what `write()` returns (gh-126606): on a nearly full disk a truncated pyc gets its
final name. Here all bytes are known to be written before the rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence

from ..buffers import Buffer, write_pieces
from ..namespaces import is_unmapped_group
from ..pyc.names import PYCACHE, temporary_names
from ..stamps import inode_of
from ..typed import NamedTuple
from .directory import Tree
from .identity import acts_as_other, make_directory, make_file, masking_nothing_of, read_umask
from .opened import account_of_owner
from .permission.access_lists import drop_list, give_list, has_default_list
from .permission.readers import Readers, is_kept_from_visitors, mode_for_visitors

#: What stat.S_IMODE leaves of a mode.
_PERMISSIONS = 0o7777
#: A directory's group may sweep and replace what is in it; others never may.
_DIRECTORY_MODE = 0o775
#: Errors of the system or file system, not of this file: chmod and chown aren't available here.
_UNAVAILABLE = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EOVERFLOW}
)


class WriteRefused(Exception):
    """Writing here would reveal or replace something that it must not; the text says what, and the remedy if known."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__("; ".join(filter(None, (reason, remedy))))
        self.has_remedy = bool(remedy)


def _is_directory() -> WriteRefused:
    return WriteRefused("a directory has the name of its pyc", "pyctrigger repair removes it")


def _is_not_empty() -> WriteRefused:
    return WriteRefused("a directory that isn't empty has the name of its pyc", "move it away")


def refusal_to_remove(directory: int, name: str, *, clears: bool) -> WriteRefused | None:
    """Returns why a directory stays that has the name of a pyc; `clears` if obstacles are to be cleared."""
    if not clears:
        return _is_directory()
    opened = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        with os.scandir(opened) as entries:
            return None if next(entries, None) is None else _is_not_empty()
    finally:
        os.close(opened)


class _Rights(NamedTuple):
    """The rights that the pycs of some sources have in a directory."""

    uid: int
    gid: int
    by_list: bool
    """Whether they have an access list."""
    first: int
    """The mode that they are made with."""
    mode: int
    """The mode that they have in the end, if owner and group are these."""

    def are_those_of(self, status: os.stat_result) -> bool:
        """Whether a file that was made in the directory needs no others."""
        if self.by_list or status.st_mode & _PERMISSIONS != self.mode:
            return False
        return status.st_uid == self.uid and status.st_gid == self.gid


class Writer:
    """Writes pycs into one tree. Temporary names contain the writer's id."""

    def __init__(self, tree: Tree, writer: str, *, clear_obstacles: bool = False) -> None:
        self._tree = tree
        self._names = temporary_names(writer)
        self._clear_obstacles = clear_obstacles
        self._umask = read_umask()
        #: The rights of the last pyc, and what they were derived from: few differ from the one before.
        self._rights: tuple[tuple[object, ...], _Rights | None] = ((), None)

    def ensure_pycache(self, relative: str) -> str:
        """Make the `__pycache__` of a directory if it is missing, with its parent's owner and mode. Returns its path.

        Raises WriteRefused if a link or a file has its name, and OSError.
        """
        return self.ensure_directory(relative, PYCACHE)

    def ensure_directory(self, relative: str, name: str) -> str:
        """Make a subdirectory if it is missing; like `ensure_pycache`."""
        path = f"{relative}/{name}" if relative else name
        try:
            self._tree.directory(path)
            return path
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            if not self._clear_obstacles:
                raise WriteRefused(f"{name} is a link or a file", "pyctrigger repair replaces it") from error
            with self._tree.entered(relative) as above:
                os.unlink(name, dir_fd=above)
        with contextlib.suppress(FileExistsError), self._tree.entered(relative) as above:
            self._make_directory(above, name)  # unless another flavour's run was faster
        self._tree.directory(path)
        return path

    def _make_directory(self, parent: int, name: str) -> None:
        """Make a directory with the mode that Python would give it, except for the umask.

        Mode and group come with the mkdir call: a moment later the name may lead to another directory, which a chmod or
        chown would give away.
        """
        above = os.fstat(parent)
        mode = stat.S_IMODE(above.st_mode) & _DIRECTORY_MODE
        if above.st_mode & stat.S_ISVTX:
            mode &= ~stat.S_IWGRP  # in a sticky directory the group can't remove others' files either
        is_its_group = _group_in(above) == above.st_gid
        if not is_its_group and not _can_make_for(above.st_gid):
            # It will have another group than its parent, which gets no more than others do.
            mode &= ~0o020 if mode & 0o055 == 0o055 else ~0o070
        with masking_nothing_of(mode, self._umask):
            make_directory(parent, name, mode, os.getegid() if is_its_group else above.st_gid)

    def open_pycache(self, relative: str) -> bool:
        """Let those into a `__pycache__` who may enter its parent, if both have one owner. Returns whether they can.

        Raises OSError if it can't be examined.
        """
        parent, pycache = self._tree.entered(relative), self._tree.entered(f"{relative}/{PYCACHE}".lstrip("/"))
        above, status = os.fstat(parent.descriptor), os.fstat(pycache.descriptor)
        # Otherwise the parent's owner could make root open another account's directory, by naming it `__pycache__`.
        is_one_owners = account_of_owner(pycache.descriptor, status) == account_of_owner(parent.descriptor, above)
        # With an access list the group bits are its mask.
        is_shared = bool(above.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
        if is_one_owners and (parent.identity is not None or not is_shared):
            with parent, _if_available():
                os.fchmod(pycache.descriptor, mode_for_visitors(above, status))
        return not is_kept_from_visitors(above, os.fstat(pycache.descriptor))

    def replace(self, relative: str, name: str, content: Sequence[Buffer], readers: Readers) -> os.stat_result | None:
        """Write a pyc atomically, readable by those who may read its source.

        Returns its status, or None if another file has replaced it since. Raises WriteRefused and OSError; nothing has
        changed then.
        """
        with self._tree.entered(relative) as directory:
            rights = self._rights_in(directory, readers)
            temporary = next(self._names)
            descriptor = make_file(directory, temporary, rights.first, rights.gid, self._umask)
            try:
                try:
                    _write_fully(descriptor, content)
                    written = os.fstat(descriptor)
                    if not rights.are_those_of(written):
                        written = _set_permissions(descriptor, readers, rights, written)
                finally:
                    os.close(descriptor)  # a network file system reports a full disk only here
                try:
                    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                except IsADirectoryError:
                    self._remove_directory(directory, name)
                    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            return status if (status.st_ino, status.st_mtime_ns) == (written.st_ino, written.st_mtime_ns) else None

    def _rights_in(self, directory: int, readers: Readers) -> _Rights:
        """Returns the rights of a pyc with these readers in a directory that we act in. Raises WriteRefused."""
        above = os.fstat(directory)
        uid = os.geteuid() or account_of_owner(directory, above)  # only root can choose the owner
        listed = has_default_list(directory)
        reasons = readers, uid, above.st_gid, above.st_mode, listed, acts_as_other()
        known, rights = self._rights
        if rights is None or known != reasons:
            if not readers.include(uid):
                raise WriteRefused("the directory's owner may not read this source")
            gid = readers.group_for(uid, above.st_gid)
            by_list = listed or readers.need_list(uid, gid)
            made_for = gid if acts_as_other() and _can_make_for(gid) else _group_in(above)
            first = 0o600 if by_list else _mode(readers, uid, made_for)
            rights = _Rights(uid, gid, by_list, first, _mode(readers, uid, gid))
            self._rights = reasons, rights
        return rights

    def link(self, relative: str, name: str, twin: str, expected: os.stat_result) -> bool:
        """Make `twin` a hard link to `name`, replacing it atomically.

        Returns False if the file system has no hard links, or no more of them, or if `name` isn't the `expected` file
        any more. Raises WriteRefused and OSError.
        """
        temporary = next(self._names)
        with self._tree.entered(relative) as directory:
            try:
                os.link(name, temporary, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                raise
            except OSError:
                return False
            try:
                status = os.stat(temporary, dir_fd=directory, follow_symlinks=False)
                if inode_of(status) != inode_of(expected):
                    return False
                try:
                    os.rename(temporary, twin, src_dir_fd=directory, dst_dir_fd=directory)
                except IsADirectoryError:
                    self._remove_directory(directory, twin)
                    os.rename(temporary, twin, src_dir_fd=directory, dst_dir_fd=directory)
                return True
            finally:
                with contextlib.suppress(OSError):  # already gone if it was renamed
                    os.unlink(temporary, dir_fd=directory)

    def make_way(self, relative: str, name: str) -> None:
        """Remove an empty directory that has the name of a pyc, if obstacles are to be cleared (`repair`).

        Otherwise raises WriteRefused, before anything is written, so that the directory's times stay as they were.
        """
        if stat.S_ISDIR(self._tree.lstat(relative, name).st_mode):
            with self._tree.entered(relative) as directory:
                self._remove_directory(directory, name)

    def _remove_directory(self, directory: int, name: str) -> None:
        if not self._clear_obstacles:
            raise _is_directory()
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as reason:
            raise _is_not_empty() from reason


def _write_fully(descriptor: int, content: Sequence[Buffer]) -> None:
    left = sum(map(len, content)) - write_pieces(descriptor, content)
    while left:
        written = os.write(descriptor, b"".join(content)[-left:])
        if written <= 0:
            raise OSError(errno.EIO, "the file system accepts no more bytes")
        left -= written


def _mode(readers: Readers, uid: int, gid: int) -> int:
    """Returns the mode of a pyc of this owner and group. Only its owner may write it, as with importlib."""
    return readers.grants(uid, gid, by_list=False).mode | stat.S_IWUSR


def _group_in(directory: os.stat_result) -> int:
    """Returns the group that files get which we create in a directory."""
    inherits = directory.st_mode & stat.S_ISGID or not sys.platform.startswith("linux")  # BSDs: always
    return directory.st_gid if inherits else os.getegid()


def _can_make_for(gid: int) -> bool:
    """Whether files that we create as root, or as an account, can have another group than ours from the start."""
    return (os.geteuid() == 0 or acts_as_other()) and not is_unmapped_group(gid)


def _set_permissions(descriptor: int, readers: Readers, rights: _Rights, written: os.stat_result) -> os.stat_result:
    """Set owner, group, and mode or access list of a file that was just written. Returns its status.

    A file system may ignore all of them, unless the pyc would be readable by more accounts than its source: raises
    WriteRefused.
    """
    uid, gid, by_list = rights.uid, rights.gid, rights.by_list
    if (written.st_uid, written.st_gid) != (uid, gid):
        with _if_available():  # only root can choose the owner; one of our own groups can still be set
            os.fchown(descriptor, uid if os.geteuid() == 0 else -1, -1 if is_unmapped_group(gid) else gid)
        written = os.fstat(descriptor)
    if by_list or written.st_gid != gid:
        if readers.need_list(written.st_uid, written.st_gid):
            with contextlib.suppress(OSError):  # no lists here, or an account that isn't mapped in this user namespace
                give_list(descriptor, readers.grants(written.st_uid, written.st_gid, by_list=True).entries)
                return os.fstat(descriptor)
        try:
            drop_list(descriptor)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                return written  # it was created for its owner alone
    mode = _mode(readers, written.st_uid, written.st_gid)
    if by_list or stat.S_IMODE(written.st_mode) != mode:
        with _if_available():
            os.fchmod(descriptor, mode)
        written = os.fstat(descriptor)
        if written.st_mode & 0o066 & ~mode:
            raise WriteRefused("its file system lets more accounts read or write the pyc than its source")
    return written


@contextlib.contextmanager
def _if_available() -> Iterator[None]:
    """Go on without a change that the system or the file system doesn't have, or refuses."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNAVAILABLE:
            raise
