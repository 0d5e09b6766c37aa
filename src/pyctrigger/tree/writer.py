"""Writing a pyc: whole or not at all, with the owner and mode that its directory and its source allow.

CPython's `_write_atomic` doesn't look at what `write()` returned (gh-126606): on a nearly full disk a torn pyc gets its
final name. Here every byte is accounted for before the rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from ..buffers import write_pieces
from ..namespaces import is_unmapped_group
from ..pyc.names import PYCACHE, temporary_names
from .identity import MakingFor, acts_as_other, make_directory
from .opened import account_of_owner
from .permission.access_lists import drop_list, give_list, has_default_list
from .permission.readers import is_kept_from_visitors, mode_for_visitors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..buffers import Buffer
    from .directory import Tree
    from .permission.readers import Readers

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Who else shares a directory may sweep and replace what is in it; never everybody.
_DIRECTORY_MODE = 0o775
#: Answers that are about the file system or the system, and not about this file: no chmod or chown can be had here.
_NOT_TO_BE_HAD = frozenset(
    {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EOVERFLOW}
)


class WriteRefused(Exception):
    """Writing here would reveal or displace something; the text says what."""


class Writer:
    """Writes pycs into one tree, under temporary names that carry the writer's id."""

    def __init__(self, tree: Tree, writer: str, *, clear_obstacles: bool = False) -> None:
        self._tree = tree
        self._names = temporary_names(writer)
        self._clear_obstacles = clear_obstacles
        #: The last directory that was asked for its default access list, and whether it has one.
        self._listed = "\0", False
        # There is no asking without setting; a stricter one for a moment does no harm.
        self._umask = os.umask(0o077)
        os.umask(self._umask)

    def ensure_pycache(self, relative: str) -> str:
        """Make the `__pycache__` of a directory if it is missing, with its parent's owner and mode; its path.

        Raises WriteRefused where a link or a file has its name, and OSError.
        """
        return self.ensure_directory(relative, PYCACHE)

    def ensure_directory(self, relative: str, name: str) -> str:
        """Make one directory below another if it is missing; like `ensure_pycache`."""
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
                raise WriteRefused(f"{name} is a link or a file; a repair replaces it") from error
            with self._tree.entered(relative) as above:
                os.unlink(name, dir_fd=above)
        with contextlib.suppress(FileExistsError), self._tree.entered(relative) as above:
            self._make_directory(above, name)  # unless another flavour's run was faster
        self._tree.directory(path)
        return path

    def _make_directory(self, parent: int, name: str) -> None:
        """Make a directory as Python's own would be, but for the umask: all that it has comes with mkdir.

        What is opened afterwards under its name may be another one, which a chmod or chown would give away.
        """
        above = os.fstat(parent)
        mode = stat.S_IMODE(above.st_mode) & _DIRECTORY_MODE
        if above.st_mode & stat.S_ISVTX:
            mode &= ~stat.S_IWGRP  # where not even who may write may remove another's
        is_its_group = _group_in(above) == above.st_gid
        if not is_its_group and not _can_make_for(above.st_gid):
            # Another group gets no more than everybody has.
            mode &= ~0o020 if mode & 0o055 == 0o055 else ~0o070
        with self._masking_nothing_of(mode):
            make_directory(parent, name, mode, os.getegid() if is_its_group else above.st_gid)

    def open_pycache(self, relative: str) -> bool:
        """Let into the `__pycache__` of a directory whom that lets in, if it is the same owner's; whether it does then.

        Raises OSError where it can't be looked at.
        """
        parent, pycache = self._tree.entered(relative), self._tree.entered(f"{relative}/{PYCACHE}".lstrip("/"))
        above, status = os.fstat(parent.descriptor), os.fstat(pycache.descriptor)
        # Else the owner of the directory could have root open what isn't his, by calling it a `__pycache__`.
        is_one_owners = account_of_owner(pycache.descriptor, status) == account_of_owner(parent.descriptor, above)
        if is_one_owners and (parent.identity is not None or not _can_others_rename_in(above)):
            with parent:
                _change_mode(pycache.descriptor, mode_for_visitors(above, status))
        return not is_kept_from_visitors(above, os.fstat(pycache.descriptor))

    def replace(self, relative: str, name: str, content: Sequence[Buffer], readers: Readers) -> os.stat_result | None:
        """Write a pyc, whole, for those who may read its source.

        Returns its status, unless somebody has put another file there since. Raises WriteRefused and OSError; then
        nothing was changed.
        """
        with self._tree.entered(relative) as directory:
            return self._replace(directory, relative, name, content, readers)

    def _replace(
        self, directory: int, relative: str, name: str, content: Sequence[Buffer], readers: Readers
    ) -> os.stat_result | None:
        above = os.fstat(directory)
        uid = os.geteuid() or account_of_owner(directory, above)  # others than root own what they write
        if not readers.include(uid):
            raise WriteRefused("the directory's owner may not read this source")
        gid = readers.group_for(uid, above.st_gid)
        by_list = readers.need_list(uid, gid) or self._has_default_list(relative, directory)
        made_for = gid if acts_as_other() and _can_make_for(gid) else _group_in(above)
        first = 0o600 if by_list else _mode(readers, uid, made_for)
        temporary = next(self._names)
        with self._masking_nothing_of(first), MakingFor(gid):
            descriptor = os.open(temporary, _CREATE, first, dir_fd=directory)
        try:
            try:
                _write_all(descriptor, content)
                written = _settle_rights(descriptor, readers, uid, gid, by_list=by_list)
            finally:
                os.close(descriptor)  # a network file system says here that the disk is full
            self._rename(directory, temporary, name)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return status if (status.st_ino, status.st_mtime_ns) == (written.st_ino, written.st_mtime_ns) else None

    def _has_default_list(self, relative: str, directory: int) -> bool:
        """Asked once for each directory: its files come in a row."""
        if self._listed[0] != relative:
            self._listed = relative, has_default_list(directory)
        return self._listed[1]

    @contextlib.contextmanager
    def _masking_nothing_of(self, mode: int) -> Iterator[None]:
        """The umask without what it would take from `mode`: another thread may give no more than that meanwhile."""
        if not mode & self._umask:
            yield
            return
        os.umask(self._umask & ~mode)
        try:
            yield
        finally:
            os.umask(self._umask)

    def link(self, relative: str, name: str, twin: str, expected: os.stat_result) -> bool:
        """Put the file `name` under the name `twin` as well, in one rename.

        False where that can't be: the file system has no hard links or no more of them, or somebody has put another
        file there than the `expected` one. Raises WriteRefused and OSError.
        """
        with self._tree.entered(relative) as directory:
            return self._link(directory, name, twin, expected)

    def _link(self, directory: int, name: str, twin: str, expected: os.stat_result) -> bool:
        temporary = next(self._names)
        try:
            os.link(name, temporary, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            raise
        except OSError:
            return False
        try:
            status = os.stat(temporary, dir_fd=directory, follow_symlinks=False)
            if (status.st_dev, status.st_ino) != (expected.st_dev, expected.st_ino):
                return False
            self._rename(directory, temporary, twin)
            return True
        finally:
            with contextlib.suppress(OSError):  # gone, if it was renamed
                os.unlink(temporary, dir_fd=directory)

    def _rename(self, directory: int, temporary: str, name: str) -> None:
        try:
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except IsADirectoryError:
            self._remove_directory(directory, name)
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    def make_way(self, relative: str, name: str) -> None:
        """Remove a directory that has the name of a pyc, if this is a repair's writer and it is empty.

        Else raises WriteRefused, before anything was made: who glances at what is refused finds it as it was.
        """
        with self._tree.entered(relative) as directory:
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                self._remove_directory(directory, name)

    def _remove_directory(self, directory: int, name: str) -> None:
        if not self._clear_obstacles:
            raise WriteRefused("a directory has the name of its pyc; a repair removes it")
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError as reason:
            raise WriteRefused("a directory that isn't empty has the name of its pyc") from reason


def _write_all(descriptor: int, content: Sequence[Buffer]) -> None:
    size = sum(map(len, content))
    written = write_pieces(descriptor, content)
    if written == size:
        return
    whole = memoryview(b"".join(content))
    while written < size:
        step = os.write(descriptor, whole[written:])
        if step <= 0:
            raise OSError(errno.EIO, "the file system took nothing")
        written += step


def _mode(readers: Readers, uid: int, gid: int) -> int:
    """The mode of a pyc of this owner and group. Its owner may write it, as importlib has it, and nobody else."""
    return readers.grants(uid, gid, by_list=False).mode | stat.S_IWUSR


def _can_others_rename_in(directory: os.stat_result) -> bool:
    """Whether somebody else than its owner may rename in a directory; with an access list the group bits say so."""
    return bool(directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _group_in(directory: os.stat_result) -> int:
    """The group that we make things with in a directory."""
    inherits = directory.st_mode & stat.S_ISGID or not sys.platform.startswith("linux")  # BSDs: always
    return directory.st_gid if inherits else os.getegid()


def _can_make_for(gid: int) -> bool:
    """Whether what we make as root, or as an account, can have another group than ours from the start."""
    return (os.geteuid() == 0 or acts_as_other()) and not is_unmapped_group(gid)


def _settle_rights(descriptor: int, readers: Readers, uid: int, gid: int, *, by_list: bool) -> os.stat_result:
    """Give a file that was just written its owner and group, and the mode or list for these; its status then.

    A file system that takes none of them is fine, unless it shows more than the source does: raises WriteRefused.
    """
    written = os.fstat(descriptor)
    if (written.st_uid, written.st_gid) != (uid, gid):
        _give(descriptor, uid, gid)
        written = os.fstat(descriptor)
    if by_list or written.st_gid != gid:
        if readers.need_list(written.st_uid, written.st_gid):
            with contextlib.suppress(OSError):  # none to be had, or with an account that is none in this user namespace
                give_list(descriptor, readers.grants(written.st_uid, written.st_gid, by_list=True).entries)
                return os.fstat(descriptor)
        try:
            drop_list(descriptor)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                return written  # it was made for nobody but its owner
    mode = _mode(readers, written.st_uid, written.st_gid)
    if by_list or stat.S_IMODE(written.st_mode) != mode:
        _change_mode(descriptor, mode)
        written = os.fstat(descriptor)
        if written.st_mode & 0o066 & ~mode:
            raise WriteRefused("its file system lets more accounts read or write the pyc than its source")
    return written


def _give(descriptor: int, uid: int, gid: int) -> None:
    # Others than root own what they write; a group that is ours can still be set.
    try:
        os.fchown(descriptor, uid if os.geteuid() == 0 else -1, -1 if is_unmapped_group(gid) else gid)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_HAD:
            raise


def _change_mode(descriptor: int, mode: int) -> None:
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in _NOT_TO_BE_HAD:
            raise
