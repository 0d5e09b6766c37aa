"""Reading a source whole: a regular file, by descriptor, of bounded size, and not while it changes."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..tuples import NamedTuple
from .directory import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Bytes. No real source comes near it; what does would exhaust a worker (a million statements take 2.4 GB).
LARGEST_SOURCE = 64 << 20
#: Bytes. The marshalled code of the largest source has some ten times its size.
LARGEST_PYC = 1 << 30
#: How often a source that changes under the reader is read again before it is left to the next run.
_TRIES = 5


class SourceRefused(Exception):
    """This source must not be read, or can't be; the text says why, without a word of its contents."""


class SourceText(NamedTuple):
    """The bytes of a file, and the status that belongs to exactly these bytes."""

    data: bytes
    status: os.stat_result
    when: int
    """Nanoseconds since the epoch: when the reading began."""
    acl: bytes | None
    """A source's access list; None where it has none."""


def read_source(tree: Tree, relative: str, name: str) -> SourceText:
    """Read the source `name` in the directory `relative`, through a link inside the tree if it is one.

    The status before and after must agree, or it is read again: an edit between read and stat gives old code the new
    mtime, which is stale for ever. Raises SourceRefused and OSError.
    """
    try:
        with tree.entered(relative):
            return _read_still(_open, (tree, relative, name), LARGEST_SOURCE)
    except PermissionError as error:
        account = tree.account_at(relative)
        if account is None:
            raise
        raise SourceRefused(f"account {account.uid}, whose directory it lies in, may not read it") from error


def read_pyc(tree: Tree, relative: str, name: str) -> SourceText:
    """Read the pyc `name`, a regular file and no link, in the same manner. Raises SourceRefused and OSError."""
    with tree.entered(relative):
        return _read_still(Tree.open_file, (tree, relative, name), LARGEST_PYC)


def _read_still(open_file: Callable[[Tree, str, str], int], file: tuple[Tree, str, str], largest: int) -> SourceText:
    for _ in range(_TRIES):
        when = time.time_ns()
        descriptor = open_file(*file)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "is no regular file")
            if before.st_size > largest:
                raise SourceRefused(f"larger than {largest >> 20} MiB")
            data = _read_all(descriptor, before.st_size, largest)
            acl = _access_list(descriptor, before) if open_file is _open else None
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if _same(before, after) and len(data) == after.st_size:
            return SourceText(data, after, when, acl)
    raise SourceRefused("it changes while it is read")


def source_status(tree: Tree, relative: str, name: str) -> os.stat_result:
    """The status of a source as the target's import sees it. Raises like `read_source`."""
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with tree.entered(relative), _behind(tree, relative, name, status) as (goals, directory, goal):
            return goals.lstat(directory, goal)
    return status


def source_access_list(tree: Tree, relative: str, name: str) -> bytes | None:
    """The access list of a source; None where it has none. Raises like `read_source`."""
    with tree.entered(relative):
        descriptor = _open(tree, relative, name)
        try:
            return _access_list(descriptor, os.fstat(descriptor))
        finally:
            os.close(descriptor)


def _access_list(descriptor: int, status: os.stat_result) -> bytes | None:
    from .access_lists import access_list  # who reads no source doesn't pay for it

    return access_list(descriptor, status)


def _open(tree: Tree, relative: str, name: str) -> int:
    try:
        return tree.open_file(relative, name)
    except OSError as error:
        # FreeBSD says EMLINK of a link that isn't to be followed (open(2)).
        if error.errno not in (errno.ELOOP, errno.EMLINK):
            raise
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with _behind(tree, relative, name, status) as (goals, directory, goal):
            return goals.open_file(directory, goal)
    return tree.open_file(relative, name)


@contextmanager
def _behind(tree: Tree, relative: str, name: str, link: os.stat_result) -> Iterator[tuple[Tree, str, str]]:
    """What a link to a regular file leads to: a tree, a directory in it, and a name there."""
    behind = tree.resolve(relative, name)
    goal = tree.follow(relative, name) if behind is None else tree.lstat(*behind)
    if not stat.S_ISREG(goal.st_mode):
        raise OSError(errno.EINVAL, "is no regular file")  # nor does import take it for a source
    if behind is None:
        beyond = tree.beyond(relative, name)
        if beyond is None:
            raise SourceRefused("a link that leads out of the site directory")
        with beyond[0] as outside:
            yield outside, "", beyond[1]
        return
    # Otherwise whoever made the link could have root compile, and so reveal, what only its owner may read.
    if link.st_uid not in (0, goal.st_uid):
        raise SourceRefused("a link to a file of another owner")
    yield tree, *behind


def _read_all(descriptor: int, size: int, largest: int) -> bytes:
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    pieces = [data]
    held = len(data)
    while pieces[-1] and held <= largest:
        pieces.append(os.read(descriptor, 1 << 20))
        held += len(pieces[-1])
    return b"".join(pieces)


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
        other.st_ctime_ns,
    )
