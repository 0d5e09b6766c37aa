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

from ..pyc.names import PYCACHE, temporary_name

if TYPE_CHECKING:
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
        self._writer = writer
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

    def replace(self, relative: str, name: str, content: bytes, source: os.stat_result) -> os.stat_result | None:
        """Put `content` under `name`, in one rename; its status, unless somebody has put another file there since.

        Raises WriteRefused and OSError; then nothing was changed.
        """
        directory = self._tree.directory(relative)
        mode = self._mode(os.fstat(directory), source)
        temporary = temporary_name(self._writer)
        descriptor = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
        try:
            try:
                _write_all(descriptor, content)
                self._give_to_owner(descriptor, os.fstat(directory), source)
                os.fchmod(descriptor, mode)
                written = os.fstat(descriptor)
            finally:
                os.close(descriptor)  # a network file system says here that the disk is full
            self._rename(directory, temporary, name)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        same = (status.st_ino, status.st_size, status.st_mtime_ns) == (
            written.st_ino,
            len(content),
            written.st_mtime_ns,
        )
        return status if same else None

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

    def _give_to_owner(self, descriptor: int, directory: os.stat_result, source: os.stat_result) -> None:
        gid = source.st_gid if source.st_uid == directory.st_uid else directory.st_gid
        _give(descriptor, directory.st_uid, gid)


def _write_all(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):
        step = os.write(descriptor, memoryview(content)[written:])
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
