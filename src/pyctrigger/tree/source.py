"""Reading a source whole: a regular file, by descriptor, of bounded size, and not while it changes."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..tuples import NamedTuple
from .permission.access_lists import access_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from .directory import Tree

    T = TypeVar("T")

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: Bytes. No real source comes near it; what does would exhaust a worker (a million statements take 2.4 GB).
LARGEST_SOURCE = 64 << 20
#: Bytes. A pyc of this size may belong to any source: one of 840 bytes can have one of 983,963.
_USUAL_PYC = 1 << 20
#: What a larger one may have for each byte of its source.
_MOST_FOR_A_BYTE = 1500
#: Bytes. Twice the largest source: what has more than this to a byte is one that folds constants, and small.
_LARGEST_PYC = 128 << 20
_PIECE = 1 << 20
#: How often a source that changes under the reader is read again before it is left to the next run.
_TRIES = 5
_CHANGES = "it changes while it is read"


class SourceRefused(Exception):
    """This source must not be read, or can't be; the text says why, without a word of its contents."""


class SourceText(NamedTuple):
    """The bytes of a source, and the status that belongs to exactly these bytes."""

    data: bytes
    status: os.stat_result
    when: int
    """Nanoseconds since the epoch: when the reading began."""
    rights: SourceRights


class SourceRights(NamedTuple):
    """What decides who may read a source."""

    status: os.stat_result
    acl: bytes | None
    """Its access list; None where it has none."""
    directory: str
    """Where it lies, relative to the tree: somewhere else than its name if that is a link's."""


class PycDigest(NamedTuple):
    """A pyc that was read a piece at a time."""

    header: bytes
    digest: bytes
    """Of what is behind the header."""
    status: os.stat_result
    when: int


def largest_pyc(source_size: int) -> int:
    """Bytes that the pyc of a source may have at most; a larger one is corrupt, and isn't read."""
    return min(max(_USUAL_PYC, _MOST_FOR_A_BYTE * source_size), _LARGEST_PYC)


def read_source(tree: Tree, relative: str, name: str) -> SourceText:
    """Read the source `name` in the directory `relative`, through a link inside the tree if it is one.

    The status before and after must agree, or it is read again: an edit between read and stat gives old code the new
    mtime, which is stale for ever. Raises SourceRefused and OSError.
    """
    try:
        with tree.entered(relative):
            return _read_source(tree, relative, name)
    except PermissionError as error:
        raise _kept_out(tree, relative, error) from error


def _read_source(tree: Tree, relative: str, name: str) -> SourceText:

    def read(descriptor: int, status: os.stat_result, when: int) -> SourceText | None:
        data = _read_all(descriptor, status.st_size)
        if data is None:
            return None
        return SourceText(data, status, when, SourceRights(status, access_list(descriptor, status), directory))

    directory = relative
    for _ in range(_TRIES):
        descriptor, directory = _open(tree, relative, name)
        if text := _read_still(descriptor, LARGEST_SOURCE, read):
            return text
    raise SourceRefused(_CHANGES)


def read_pyc(tree: Tree, relative: str, name: str, source_size: int) -> tuple[bytes, os.stat_result]:
    """Read the pyc `name` of a source of this size, a regular file and no link, and its status.

    Raises SourceRefused and OSError.
    """

    def read(descriptor: int, status: os.stat_result, _: int) -> tuple[bytes, os.stat_result] | None:
        data = _read_all(descriptor, status.st_size)
        return None if data is None else (data, status)

    return _of_pyc(tree, relative, name, source_size, read)


def digest_pyc(
    tree: Tree, relative: str, name: str, source_size: int, header_size: int, digest: Callable[[Iterable[bytes]], bytes]
) -> PycDigest:
    """Header and digest of such a pyc, of which no more than a piece is held. Raises SourceRefused and OSError."""

    def read(descriptor: int, status: os.stat_result, when: int) -> PycDigest | None:
        header = os.read(descriptor, header_size)
        found = PycDigest(header, digest(_pieces(descriptor, status.st_size - len(header))), status, when)
        return None if os.read(descriptor, 1) else found

    return _of_pyc(tree, relative, name, source_size, read)


def _of_pyc(
    tree: Tree, relative: str, name: str, source_size: int, read: Callable[[int, os.stat_result, int], T | None]
) -> T:
    for _ in range(_TRIES):
        with tree.entered(relative):
            found = _read_still(tree.open_file(relative, name), largest_pyc(source_size), read)
        if found is not None:
            return found
    raise SourceRefused(_CHANGES)


def _read_still(descriptor: int, largest: int, read: Callable[[int, os.stat_result, int], T | None]) -> T | None:
    """What `read` makes of a file of at most `largest` bytes, and close it; None where it changed meanwhile.

    `read` gets the status that goes with what is read, and returns None where the file is longer than that says.
    """
    try:
        when = time.time_ns()
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        if before.st_size > largest:
            raise SourceRefused(f"larger than {largest >> 20} MiB")
        found = read(descriptor, before, when)
        return found if is_unchanged(before, os.fstat(descriptor)) else None
    finally:
        os.close(descriptor)


def source_status(tree: Tree, relative: str, name: str) -> os.stat_result:
    """The status of a source as the target's import sees it. Raises like `read_source`."""
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with tree.entered(relative), _behind(tree, relative, name, status) as (goals, directory, goal):
            return goals.lstat(directory, goal)
    return status


def require_readable(tree: Tree, relative: str, name: str) -> None:
    """See whether a source could be read now, without reading it. Raises like `read_source`."""
    try:
        with tree.entered(relative):
            _read_still(_open(tree, relative, name)[0], LARGEST_SOURCE, lambda *_: True)
    except PermissionError as error:
        raise _kept_out(tree, relative, error) from error


def _kept_out(tree: Tree, relative: str, error: PermissionError) -> Exception:
    account = tree.account_at(relative)
    if account is None:
        return error
    return SourceRefused(f"account {account.uid}, whose directory it lies in, may not read it")


def source_rights(tree: Tree, relative: str, name: str) -> SourceRights:
    """What decides who may read a source. Raises like `read_source`."""
    with tree.entered(relative):
        descriptor, directory = _open(tree, relative, name)
        try:
            status = os.fstat(descriptor)
            return SourceRights(status, access_list(descriptor, status), directory)
        finally:
            os.close(descriptor)


def look_at_pyc(directory: int, name: str, size: int) -> tuple[bytes, int]:
    """The first bytes of a pyc in an open directory, and how large it is; none where it can't be read."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=directory)
    except OSError:
        return b"", 0
    try:
        return os.read(descriptor, size), os.fstat(descriptor).st_size
    except OSError:
        return b"", 0
    finally:
        os.close(descriptor)


def pyc_rights(directory: int, name: str) -> tuple[os.stat_result, bytes | None]:
    """The status of a pyc in an open directory, and its access list. Raises OSError."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=directory)
    except PermissionError:  # whatever a list says, it keeps us out
        return os.stat(name, dir_fd=directory, follow_symlinks=False), None
    try:
        status = os.fstat(descriptor)
        return status, access_list(descriptor, status)
    finally:
        os.close(descriptor)


def _open(tree: Tree, relative: str, name: str) -> tuple[int, str]:
    """A descriptor of a source, and the directory that it lies in."""
    try:
        return tree.open_file(relative, name), relative
    except OSError as error:
        # FreeBSD says EMLINK of a link that isn't to be followed (open(2)).
        if error.errno not in (errno.ELOOP, errno.EMLINK):
            raise
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with _behind(tree, relative, name, status) as (goals, directory, goal):
            # What lies beyond the tree lies behind nothing that keeps anybody out.
            return goals.open_file(directory, goal), directory if goals is tree else relative
    return tree.open_file(relative, name), relative


@contextmanager
def _behind(tree: Tree, relative: str, name: str, link: os.stat_result) -> Iterator[tuple[Tree, str, str]]:
    """What a link to a regular file leads to: a tree, a directory in it, and a name there."""
    try:
        behind = tree.resolve(relative, name)
        goal = tree.follow(relative, name) if behind is None else tree.lstat(*behind)
    except PermissionError as error:
        account = tree.account_at(relative)
        if account is None:
            raise
        raise SourceRefused(f"a link to what account {account.uid}, whose it is, may not read") from error
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


def _read_all(descriptor: int, size: int) -> bytes | None:
    """The bytes of a file, which is as long as that; None where it is longer, or has changed."""
    data = os.read(descriptor, size + 1)
    if len(data) < size:
        data += b"".join(_pieces(descriptor, size + 1 - len(data)))
    return data if len(data) == size else None


def _pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file, or as many as there are."""
    while size > 0 and (piece := os.read(descriptor, min(size, _PIECE))):
        size -= len(piece)
        yield piece


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether both are the status of one file, in one state."""
    return (
        before.st_ino == after.st_ino
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_size == after.st_size
        and before.st_dev == after.st_dev
    )
