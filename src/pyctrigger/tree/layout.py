"""Where the pycs of a directory are: in its `__pycache__`, or in the tree that `sys.pycache_prefix` names.

Sources: PEP 3147, and `cache_from_source` in `importlib._bootstrap_external`: with a prefix, a source `/a/b/m.py` has
its pyc at `PREFIX/a/b/m.<tag>.pyc`, without a `__pycache__` (CPython 3.8 and later).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from ..pyc.names import PYCACHE
from ..typed import TYPE_CHECKING
from .directory import Tree
from .opened import Opened

# An idle hook asks for nobody's permissions, and reads no source: what does so is imported there.
if TYPE_CHECKING:
    from .permission.readers import Grants, Readers
    from .source import SourceRights, SourceText

#: ST_RDONLY of statvfs(3). PyPy doesn't define it.
_READ_ONLY = getattr(os, "ST_RDONLY", 1)


class Layout:
    """One site directory, with the tree that holds its pycs. Use it as a context manager."""

    def __init__(self, sources: Tree, prefix: Tree | None = None) -> None:
        self.sources = sources
        self.pycs = prefix or sources
        self.has_prefix = prefix is not None
        self._base = sources.path.strip("/") if prefix else ""
        #: With a prefix: the ways to the tree of the sources, and the last directory with all ways to it.
        self._above: tuple[Grants, ...] | None = None
        self._ways: tuple[str, tuple[Grants, ...]] = "\0", ()
        #: Readers of the last source, and what they were derived from: few sources differ from the one before.
        self._readers: tuple[tuple[object, ...], Readers | None] = ((), None)

    def __enter__(self) -> Layout:
        return self

    def __exit__(self, *_: object) -> None:
        self.sources.close()
        self.pycs.close()

    def pycache(self, relative: str) -> str:
        """Returns the directory of the pycs of `relative`, relative to `pycs`."""
        if self.has_prefix:
            return f"{self._base}/{relative}" if relative else self._base
        return f"{relative}/{PYCACHE}" if relative else PYCACHE

    def readers(self, relative: str, rights: SourceRights) -> Readers:
        """Returns who may read a source of the directory `relative`. Raises OSError."""
        status, ways = rights.status, self.ways(relative, rights.directory)
        reasons = status.st_mode, status.st_uid, status.st_gid, rights.acl, ways
        known, readers = self._readers
        if readers is None or known != reasons:
            from .permission.readers import Readers

            readers = Readers(status, rights.acl, ways)
            self._readers = reasons, readers
        return readers

    def ways(self, relative: str, directory: str) -> tuple[Grants, ...]:
        """Returns what keeps accounts out of `directory`, but not out of the pycache of `relative`. Raises OSError."""
        if directory == relative and not self.has_prefix:
            return ()
        from .ways import ways_above, ways_inside

        if not self.has_prefix:
            return ways_inside(self.sources, directory, relative)
        if self._above is None:
            self._above = ways_above(self.sources, self.pycs)
        if self._ways[0] != directory:
            self._ways = directory, (*self._above, *ways_inside(self.sources, directory, ""))
        return self._ways[1]

    def nearest(self, relative: str, *, is_bare: bool = False) -> Opened:
        """Returns the directory of the pycs of `relative`, or the nearest one above it that can be opened.

        If `is_bare`, the directory has been listed, and has no `__pycache__`.
        """
        return self.pycs.nearest(relative if is_bare else self.pycache(relative))

    def is_read_only(self, relative: str) -> bool:
        """Whether the pycs of the directory `relative` are on a file system that is mounted read-only.

        Checked for each directory: any of them can be a mount point.
        """
        return self._is_mounted_read_only(self.pycache(relative))

    def read_only_top(self, relative: str) -> str:
        """Returns the topmost directory, relative to `pycs`, that can't be written if these pycs can't.

        It is the top of the same mount, or of the same device if only writing fails (a read-only btrfs snapshot).
        """
        top = self.pycache(relative)
        return _topmost(top, self._is_mounted_read_only if self._is_mounted_read_only(top) else self._device)

    def may_write(self, relative: str) -> bool:
        """Whether this account may write the pycs of the directory `relative`."""
        return self._may_change(self.pycache(relative))

    def forbidden_top(self, relative: str) -> str:
        """Returns the topmost directory, relative to `pycs`, that we may not write if we may not write these pycs."""
        return _topmost(self.pycache(relative), self._may_change)

    def _is_mounted_read_only(self, directory: str) -> bool:
        return is_mounted_read_only(self.pycs.nearest(directory))

    def _device(self, directory: str) -> int:
        return os.fstat(self.pycs.nearest(directory).descriptor).st_dev

    def _may_change(self, directory: str) -> bool:
        return may_change(self.pycs.nearest(directory))

    def owner_of(self, path: str) -> int:
        """Returns the owner of a directory, relative to `pycs`, or of its nearest existing parent."""
        return os.fstat(self.pycs.nearest(path).descriptor).st_uid

    def keeps_visitors_out(self, relative: str, sources: list[str]) -> bool:
        """Whether accounts that may read one of these sources can't enter its `__pycache__`. Raises OSError."""
        if self.has_prefix or not sources:
            return False  # the prefix has modes of its own
        from .permission.access_lists import has_list
        from .permission.readers import is_kept_from_visitors

        pycache = self.pycs.directory(self.pycache(relative))
        with self.sources.entered(relative) as directory:
            if not is_kept_from_visitors(os.fstat(directory), os.fstat(pycache)):
                return False
            if has_list(directory) or has_list(pycache):
                return False  # then the modes don't say who may enter
            for name in sources:
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode & 0o044:
                        return True
        return False

    def read_source(self, relative: str, name: str) -> SourceText:
        """Read a source, with the rights of the account that owns the directory of its pycs.

        Raises SourceRefused and OSError.
        """
        from .source import ReadingAs, read_source

        if not self.has_prefix:
            return read_source(self.sources, relative, name)
        with ReadingAs(self.pycs.nearest(self.pycache(relative)), "{}, which will own its pycs, may not read it"):
            return read_source(self.sources, relative, name)

    def describe_source(self, relative: str, name: str = "") -> str:
        """Returns the full path of a source, or of its directory."""
        return self.sources.describe(relative, name)

    def describe_pyc(self, relative: str, name: str = "") -> str:
        """Returns the full path of a pyc of the directory `relative`, or of the directory that holds its pycs."""
        return self.pycs.describe(self.pycache(relative), name)


def is_mounted_read_only(opened: Opened) -> bool:
    """Whether an open directory is on a file system that is mounted read-only."""
    try:
        return bool(os.fstatvfs(opened.descriptor).f_flag & _READ_ONLY)
    except OSError:  # unknown; writing will show
        return False


def may_change(opened: Opened) -> bool:
    """Whether we, or the account that we act as there, may change the contents of a directory. Root always may."""
    with opened as directory:
        return os.geteuid() == 0 or _has_right_to(directory)


def _topmost(directory: str, look: Callable[[str], object]) -> str:
    """Returns the topmost directory from which on down to this one `look` finds the same."""
    found = look(directory)
    while directory and look(directory.rpartition("/")[0]) == found:
        directory = directory.rpartition("/")[0]
    return directory


def _has_right_to(directory: int) -> bool:
    effective = os.access in os.supports_effective_ids
    try:
        if os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=effective):
            return True
        # os.access gives no reason. A sandbox that refuses the call says no to this one, too; then writing will show.
        return not os.access("/", os.F_OK, effective_ids=effective)
    except NotImplementedError:
        return True


class Place:
    """A directory of sources and the directory of its pycs. Their paths are computed once for all files in them."""

    __slots__ = ("layout", "pyc_directory", "pycache", "relative", "source_directory")

    def __init__(self, layout: Layout, relative: str) -> None:
        self.layout = layout
        self.relative = relative
        self.pycache = layout.pycache(relative)
        #: Full paths.
        self.source_directory = layout.sources.describe(relative)
        self.pyc_directory = layout.pycs.describe(self.pycache)

    def source(self, name: str) -> str:
        """The full path of a source."""
        return f"{self.source_directory}/{name}"

    def pyc(self, name: str) -> str:
        """The full path of a pyc."""
        return f"{self.pyc_directory}/{name}"
