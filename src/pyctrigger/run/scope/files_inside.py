"""Files inside a root, a stranger's: opened beneath its descriptor, and small ones read."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NoReturn

from ...bounded import regular_status
from ...errors import ManagerError
from ...packages.databases import Files
from ...tree.directory import open_in_root
from ...tree.identity import acting_as_ourselves
from ...tree.opened import is_confined, open_name, read_link

_PATH = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
#: Bytes of a file that is looked at in this process.
_MOST_OF_SMALL = 1 << 20


def files_inside(root: str) -> Files:
    """Returns access to the files inside a root; all are small."""
    return FilesInside(root) if is_confined(root) else Files()


class FilesInside(Files):
    """The files inside a root. Package databases aren't read here."""

    is_foreign = True

    def __init__(self, root: str) -> None:
        self._root = root

    def describe(self, path: str) -> str:
        return self._root.rstrip("/") + path

    def has(self, path: str) -> bool:
        try:
            with self.opened(path, _PATH):
                return True
        except OSError as error:
            # On a mount, which isn't entered, or what else it may be: something is there.
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)

    def has_file(self, path: str) -> bool:
        with contextlib.suppress(OSError), self.opened(path, _PATH) as descriptor:
            return stat.S_ISREG(os.fstat(descriptor).st_mode)
        return False

    def link(self, path: str) -> str | None:
        above, name = os.path.split(path)
        with contextlib.suppress(OSError), self.opened(above) as directory:
            return read_link(name, directory)
        return None

    def names(self, directory: str, most: int) -> list[str]:
        with self.opened(directory) as descriptor, os.scandir(descriptor) as entries:
            return [entry.name for entry in islice(entries, most)]

    def read(self, path: str) -> bytes:
        with self.opened(path, FILE) as descriptor:
            if regular_status(descriptor).st_size > _MOST_OF_SMALL:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return os.read(descriptor, _MOST_OF_SMALL)

    def read_below(self, directory: str, ending: str) -> NoReturn:
        raise ManagerError(f"{self.describe(directory)} is read by a child only")

    def open_database(self, path: str, tables: Collection[str]) -> NoReturn:
        raise ManagerError(f"{self.describe(path)} is read by a child only")

    @contextlib.contextmanager
    def opened(self, path: str, flags: int = DIRECTORY) -> Iterator[int]:
        """Open a directory, or another file, for a `with` block. Raises OSError."""
        descriptor = self.open(path, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, path: str, flags: int = DIRECTORY) -> int:
        """Open a directory, a file, or with O_PATH anything, inside the root. Raises OSError."""
        with acting_as_ourselves():
            if flags & os.O_DIRECTORY:
                return open_in_root(self._root, path)
            above, name = os.path.split(path)
            directory = open_in_root(self._root, above)
            try:
                return open_name(name, flags, directory, confined=True)
            finally:
                os.close(directory)
