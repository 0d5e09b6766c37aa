"""Reading sources and pycs: regular files only, by descriptor, of bounded size, and never half of an edit."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..bounded import regular_status
from ..stamps import stamp_of
from ..typed import NamedTuple, TypeVar
from .directory import Tree
from .opened import FILE, Opened
from .permission.access_lists import access_list

T = TypeVar("T")

#: Bytes. No real source comes near it; one that did would exhaust a worker (a million statements take 2.4 GB).
LARGEST_SOURCE = 64 << 20
#: Bytes. A pyc of this size may belong to any source: one of 840 bytes can have one of 983,963.
_USUAL_PYC = 1 << 20
#: Bytes of pyc that are allowed for each byte of source, above that.
_PYC_BYTES_PER_SOURCE_BYTE = 1500
#: Bytes. Twice the largest source: only small sources that fold constants have a higher ratio.
_LARGEST_PYC = 128 << 20
_PIECE = 1 << 20
#: How often a source that changes while it is read is tried before it is left to the next run.
_TRIES = 5
_CHANGES_MEANWHILE = "it changes while it is read"


class SourceRefused(Exception):
    """A source that may not or can't be read. The text says why, and contains nothing of the source."""


class SourceText(NamedTuple):
    """The bytes of a source, and the status that goes with exactly these bytes."""

    data: bytes
    status: os.stat_result
    when: int
    """When reading began, in nanoseconds since the epoch."""
    rights: SourceRights


class SourceRights(NamedTuple):
    """The facts that decide who may read a source."""

    status: os.stat_result
    acl: bytes | None
    """Its access list, or None."""
    directory: str
    """The directory that holds the file, relative to the tree; differs from the name's if that is a link."""


class PycDigest(NamedTuple):
    """Header and digest of a pyc that was read in pieces."""

    header: bytes
    digest: bytes
    """Digest of the bytes after the header."""
    status: os.stat_result
    when: int


def largest_pyc(source_size: int) -> int:
    """Returns the most bytes that the pyc of a source may have; a larger one is corrupt, and isn't read."""
    return min(max(_USUAL_PYC, _PYC_BYTES_PER_SOURCE_BYTE * source_size), _LARGEST_PYC)


def read_source(tree: Tree, relative: str, name: str) -> SourceText:
    """Read the source `name` in the directory `relative`, through a link inside the tree if it is one.

    The status before and after must agree, or it is read again: an edit between read and stat gives old code the new
    mtime, which is stale for ever. Raises SourceRefused and OSError.
    """

    def read(descriptor: int, status: os.stat_result, when: int) -> SourceText | None:
        data = _read_all(descriptor, status.st_size)
        if data is None:
            return None
        return SourceText(data, status, when, SourceRights(status, access_list(descriptor, status), directory))

    opened = tree.entered(relative)
    with opened if opened.identity is None else ReadingAs(opened):
        for _ in range(_TRIES):
            descriptor, directory = _open_source(tree, relative, name)
            if text := _read_still(descriptor, LARGEST_SOURCE, read):
                return text
    raise SourceRefused(_CHANGES_MEANWHILE)


def read_pyc(tree: Tree, relative: str, name: str, source_size: int) -> tuple[bytes, os.stat_result]:
    """Read a pyc (a regular file, not a link) of a source of this size. Returns its bytes and its status.

    Raises SourceRefused and OSError.
    """

    def read(descriptor: int, status: os.stat_result, _: int) -> tuple[bytes, os.stat_result] | None:
        data = _read_all(descriptor, status.st_size)
        return None if data is None else (data, status)

    return _read_pyc(tree, relative, name, source_size, read)


def digest_pyc(
    tree: Tree, relative: str, name: str, source_size: int, header_size: int, digest: Callable[[Iterable[bytes]], bytes]
) -> PycDigest:
    """Read such a pyc in pieces, to keep memory low. Raises SourceRefused and OSError."""

    def read(descriptor: int, status: os.stat_result, when: int) -> PycDigest | None:
        header = os.read(descriptor, header_size)
        found = PycDigest(header, digest(_read_pieces(descriptor, status.st_size - len(header))), status, when)
        return None if os.read(descriptor, 1) else found

    return _read_pyc(tree, relative, name, source_size, read)


def _read_pyc(
    tree: Tree, relative: str, name: str, source_size: int, read: Callable[[int, os.stat_result, int], T | None]
) -> T:
    for _ in range(_TRIES):
        with tree.entered(relative):
            found = _read_still(tree.open_file(relative, name), largest_pyc(source_size), read)
        if found is not None:
            return found
    raise SourceRefused(_CHANGES_MEANWHILE)


def _read_still(descriptor: int, largest: int, read: Callable[[int, os.stat_result, int], T | None]) -> T | None:
    """Call `read` on a file of at most `largest` bytes, and close it. Returns None if the file changed meanwhile.

    `read` gets the file's status, and returns None if the file is longer than the status says.
    """
    try:
        when = time.time_ns()
        before = regular_status(descriptor)
        if before.st_size > largest:
            raise SourceRefused(f"larger than {largest >> 20} MiB")
        found = read(descriptor, before, when)
        return found if is_unchanged(before, os.fstat(descriptor)) else None
    finally:
        os.close(descriptor)


def source_status(tree: Tree, relative: str, name: str) -> os.stat_result:
    """Returns the status of a source as the target's import sees it. Raises like `read_source`."""
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with tree.entered(relative), _follow_link(tree, relative, name, status) as (linked_tree, directory, linked):
            return linked_tree.lstat(directory, linked)
    return status


def require_readable(tree: Tree, relative: str, name: str) -> None:
    """See whether a source could be read now, without reading it. Raises like `read_source`."""
    with ReadingAs(tree.entered(relative)):
        _read_still(_open_source(tree, relative, name)[0], LARGEST_SOURCE, lambda *_: True)


class ReadingAs:
    """A `with` block that acts as the account that owns a directory, and says so if it may not read something there.

    Raises SourceRefused instead of PermissionError.
    """

    __slots__ = ("_opened", "_reason")

    def __init__(self, opened: Opened, reason: str = "{}, which owns its directory, may not read it") -> None:
        self._opened = opened
        self._reason = reason

    def __enter__(self) -> None:
        self._opened.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._opened.__exit__()
        if isinstance(error, PermissionError) and self._opened.identity is not None:
            raise SourceRefused(self._reason.format(f"account {self._opened.identity.uid}")) from error


def source_rights(tree: Tree, relative: str, name: str) -> SourceRights:
    """Returns the facts that decide who may read a source. Raises like `read_source`."""
    with tree.entered(relative):
        descriptor, directory = _open_source(tree, relative, name)
        try:
            status = os.fstat(descriptor)
            return SourceRights(status, access_list(descriptor, status), directory)
        finally:
            os.close(descriptor)


def look_at_pyc(directory: int, name: str, size: int) -> tuple[bytes, int]:
    """Returns the first bytes of a pyc in an open directory, and its size; empty and 0 if it can't be read."""
    try:
        descriptor = os.open(name, FILE, dir_fd=directory)
        try:
            return os.read(descriptor, size), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError:
        return b"", 0


def pyc_rights(directory: int, name: str) -> tuple[os.stat_result, bytes | None]:
    """Returns the status of a pyc in an open directory, and its access list. Raises OSError."""
    try:
        descriptor = os.open(name, FILE, dir_fd=directory)
    except PermissionError:  # we can't read it, whatever its access list says
        return os.stat(name, dir_fd=directory, follow_symlinks=False), None
    try:
        status = os.fstat(descriptor)
        return status, access_list(descriptor, status)
    finally:
        os.close(descriptor)


def _open_source(tree: Tree, relative: str, name: str) -> tuple[int, str]:
    """Open a source. Returns a descriptor, and the directory that holds the file."""
    try:
        return tree.open_file(relative, name), relative
    except OSError as error:
        # FreeBSD answers EMLINK for a link that isn't followed (open(2)).
        if error.errno not in (errno.ELOOP, errno.EMLINK):
            raise
    status = tree.lstat(relative, name)
    if stat.S_ISLNK(status.st_mode):
        with _follow_link(tree, relative, name, status) as (linked_tree, directory, linked):
            # `open_outside` accepts only ways that are open to everybody.
            return linked_tree.open_file(directory, linked), directory if linked_tree is tree else relative
    return tree.open_file(relative, name), relative


@contextmanager
def _follow_link(tree: Tree, relative: str, name: str, link: os.stat_result) -> Iterator[tuple[Tree, str, str]]:
    """Follow a link to a regular file. Yields a tree, a directory in it, and a name there."""
    with ReadingAs(tree.entered(relative), "a link to a file that {}, which owns the link, may not read"):
        linked = tree.resolve(relative, name)
        target = tree.follow(relative, name) if linked is None else tree.lstat(*linked)
    if not stat.S_ISREG(target.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")  # import doesn't take it for a source either
    if linked is None:
        found = tree.open_outside(relative, name)
        if found is None:
            raise SourceRefused("a link that leads out of the site directory")
        with found[0] as outside:
            yield outside, "", found[1]
        return
    # Otherwise the link's owner could make root compile, and so reveal, a file that only another account may read.
    if link.st_uid not in (0, target.st_uid):
        raise SourceRefused("a link to a file of another owner")
    yield tree, *linked


def _read_all(descriptor: int, size: int) -> bytes | None:
    """Returns the bytes of a file of exactly this size, or None if it is longer or shorter."""
    data = os.read(descriptor, size + 1)
    if len(data) < size:
        data += b"".join(_read_pieces(descriptor, size + 1 - len(data)))
    return data if len(data) == size else None


def _read_pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """Yields the next `size` bytes of a file, or as many as there are."""
    while size > 0 and (piece := os.read(descriptor, min(size, _PIECE))):
        size -= len(piece)
        yield piece


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether both are the status of the same file, and nothing has changed it in between."""
    return stamp_of(before) == stamp_of(after)
