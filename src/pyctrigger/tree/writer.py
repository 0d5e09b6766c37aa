"""Writing a pyc: whole or not at all, with the owner and mode that its directory and its source allow.

CPython's `_write_atomic` doesn't look at what `write()` returned (gh-126606): on a nearly full disk a torn pyc gets its
final name. Here every byte is accounted for before the rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from ..pieces import write_pieces
from ..pyc.names import PYCACHE, temporary_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..pieces import Buffer
    from .directory import Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755


class WriteRefused(Exception):
    """Writing here would reveal or displace something; the text says what."""


class Writer:
    """Writes pycs into one tree, under temporary names that carry the writer's id."""

    def __init__(self, tree: Tree, writer: str, *, clear_obstacles: bool = False) -> None:
        self._tree = tree
        self._names = temporary_names(writer)
        self._clear_obstacles = clear_obstacles

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
            os.unlink(name, dir_fd=self._tree.directory(relative))
        parent = self._tree.directory(relative)
        above = os.fstat(parent)
        with contextlib.suppress(FileExistsError):  # another flavour's run was faster
            os.mkdir(name, 0o700, dir_fd=parent)
            made = self._tree.directory(path)
            _give(made, above.st_uid, above.st_gid)
            os.fchmod(made, stat.S_IMODE(above.st_mode) & _DIRECTORY_MODE)
        self._tree.directory(path)
        return path

    def replace(
        self, relative: str, name: str, content: Sequence[Buffer], source: os.stat_result
    ) -> os.stat_result | None:
        """Put `content`, its pieces in a row, under `name`, in one rename.

        Returns its status, unless somebody has put another file there since. Raises WriteRefused and OSError; then
        nothing was changed.
        """
        directory = self._tree.directory(relative)
        above = os.fstat(directory)
        mode, gid = self._mode(above, source), source.st_gid if source.st_uid == above.st_uid else above.st_gid
        temporary = next(self._names)
        # What only some may read is nobody's until it is given to them.
        first_mode = mode if mode == _FILE_MODE and above.st_uid == os.geteuid() else 0o600
        descriptor = os.open(temporary, _CREATE, first_mode, dir_fd=directory)
        try:
            try:
                _write_all(descriptor, content)
                written = os.fstat(descriptor)
                if (written.st_uid, written.st_gid) != (above.st_uid, gid):
                    _give(descriptor, above.st_uid, gid)
                    written = os.fstat(descriptor)
                if stat.S_IMODE(written.st_mode) != mode:
                    os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)  # a network file system says here that the disk is full
            self._rename(directory, temporary, name)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return status if (status.st_ino, status.st_mtime_ns) == (written.st_ino, written.st_mtime_ns) else None

    def link(self, relative: str, name: str, twin: str, expected: os.stat_result) -> bool:
        """Put the file `name` under the name `twin` as well, in one rename.

        False where that can't be: the file system has no hard links or no more of them, or somebody has put another
        file there than the `expected` one. Raises WriteRefused and OSError.
        """
        directory = self._tree.directory(relative)
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
        except IsADirectoryError as error:
            if not self._clear_obstacles:
                raise WriteRefused("a directory has the name of its pyc; a repair removes it") from error
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as reason:
                raise WriteRefused("a directory that isn't empty has the name of its pyc") from reason
            os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)

    def _mode(self, directory: os.stat_result, source: os.stat_result) -> int:
        """Never more than the source grants, to nobody whom the source doesn't grant it."""
        mode = stat.S_IMODE(source.st_mode) & _FILE_MODE
        if source.st_uid == directory.st_uid:
            return mode
        if directory.st_uid != 0 and os.geteuid() == 0 and not mode & stat.S_IROTH:
            raise WriteRefused("the directory's owner may not read this source")
        return mode & ~stat.S_IRGRP | (stat.S_IRGRP if mode & stat.S_IROTH else 0)


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


def _give(descriptor: int, uid: int, gid: int) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) == (uid, gid):
        return
    # Others than root own what they write; a group that is ours can still be set.
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, uid if os.geteuid() == 0 else -1, gid)
