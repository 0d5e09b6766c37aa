"""Package databases of a root: a stranger's data, opened beneath its descriptor, copied, and read by a child.

The child has no right over anything, and its answer is checked like a stranger's. All of it together, over all package
managers of a root, ends in a few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import struct
import tempfile
import time
from collections.abc import Collection, Iterator
from typing import BinaryIO, NamedTuple, NoReturn

from ...packages.files import Files, ManagerError, Source
from ...packages.manager import Manager
from ...stamps import stamp_of
from ...state.files import hold_directory
from ...tree.beneath import open_beneath, open_root, read_link, status_of_regular
from ...tree.identity import ActingAsOurselves, masking_nothing_of
from ...tree.opened import is_confined
from .foreign.patience import Patience
from .foreign.reader import ReaderError, ask_reader

#: Seconds for all questions about one root, in one run.
_PATIENCE = 5.0
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_PIECE = 1 << 20
#: Bytes of a file that is looked at in this process.
_MOST_OF_SMALL = 1 << 20
#: Of texts, each and together, and how many there may be.
_MOST_OF_TEXT = 64 << 20
_MOST_OF_TEXTS = 256 << 20
_MOST_NAMES = 200_000
#: Bytes of a database, and of its write-ahead log.
_MOST_OF_DATABASE = 512 << 20
#: How a rollback journal begins that isn't done (sqlite.org/fileformat2.html, 3).
_HOT = bytes.fromhex("d9d505f920a163d7")
_PREFIX = "pyctrigger-databases-"
#: Modes of the copies: the reader goes into their directory and lists it not, and locks a database.
_ENTERED, _LOCKABLE = 0o711, 0o666
_FRAME = struct.Struct(">IQ")
_ATTEMPTS = 3
#: Nanoseconds: a change within a tick of the clock shows in no time (see `state.record`).
_TICK = 20_000_000


def files_of(root: str | None) -> Files:
    """Where package managers have their databases; None: on this system."""
    return RootFiles(root) if root is not None and is_confined(root) else Files()


class RootFiles(Files):
    """Those below a root."""

    is_foreign = True

    def __init__(self, root: str) -> None:
        self._root = root
        self._left = _PATIENCE

    def describe(self, path: str) -> str:
        return self._root.rstrip("/") + path

    def has(self, path: str) -> bool:
        try:
            os.close(self._open(path, _PATH))
        except OSError as error:
            # On a mount, which isn't entered, or what else it may be: something is there.
            return error.errno not in (errno.ENOENT, errno.ENOTDIR)
        return True

    def has_file(self, path: str) -> bool:
        try:
            descriptor = self._open(path, _PATH)
        except OSError:
            return False
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)

    def link(self, path: str) -> str | None:
        above, name = os.path.split(path)
        try:
            with self._opened(above) as directory:
                return read_link(name, directory)
        except OSError:
            return None

    def read(self, path: str) -> bytes:
        descriptor = self._open(path, _FILE)
        try:
            if status_of_regular(descriptor).st_size > _MOST_OF_SMALL:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return os.read(descriptor, _MOST_OF_SMALL)
        finally:
            os.close(descriptor)

    def read_below(self, directory: str, ending: str) -> NoReturn:
        raise ManagerError(f"{self.describe(directory)} is read by a child only")

    def open_database(self, path: str, tables: Collection[str]) -> NoReturn:
        raise ManagerError(f"{self.describe(path)} is read by a child only")

    def owned_pycs(self, manager: Manager) -> Iterator[bytes]:
        return (path for path, _ in self._ask(manager, None))

    def owners(self, manager: Manager, paths: Collection[bytes]) -> dict[bytes, str]:
        return {path: os.fsdecode(package) for path, package in self._ask(manager, paths) if path in paths}

    def _ask(self, manager: Manager, paths: Collection[bytes] | None) -> list[tuple[bytes, bytes]]:
        """Copy what a manager reads, and have a child read it. Raises ManagerError."""
        patience = Patience(self._left)
        try:
            # Nobody else may see the copies, nor have a hand in the child, whoever's place we are at work in.
            with ActingAsOurselves(), _workplace() as (private, place), tempfile.TemporaryFile(dir=private) as texts:
                copy = _Copy(self, place, texts, patience)
                for source in manager.sources:
                    copy.take(source)
                return ask_reader(manager.name, paths, texts, place, patience)
        except (OSError, ReaderError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ManagerError(f"{self.describe(manager.database)} can't be read: {reason}") from error
        finally:
            self._left = patience.left

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        descriptor = self._open(path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _open(self, path: str, flags: int = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) -> int:
        with ActingAsOurselves():
            root = open_root(self._root)
            try:
                return open_beneath(root, path, flags)
            finally:
                os.close(root)


_PATH = getattr(os, "O_PATH", _FILE) | os.O_CLOEXEC


class _Seen(NamedTuple):
    """What a file looked like."""

    identity: tuple[int, ...]
    newest: int
    size: int

    @classmethod
    def of(cls, descriptor: int) -> _Seen:
        status = status_of_regular(descriptor)
        return cls(stamp_of(status), max(status.st_mtime_ns, status.st_ctime_ns), status.st_size)


class _Copy:
    """Copies what a manager reads: texts one after the other into a file, a database to a place of its own."""

    def __init__(self, files: RootFiles, place: str, texts: BinaryIO, patience: Patience) -> None:
        self._files = files
        self._place = place
        self._texts = texts
        self._patience = patience
        self._left = _MOST_OF_TEXTS

    def take(self, source: Source) -> None:
        """Raises OSError and ManagerError."""
        if source.kind == "database":
            self._take_database(source.path)
        elif source.kind == "file":
            with contextlib.suppress(FileNotFoundError):
                self._take_text(self._files._open(source.path, _FILE), source.path)
        else:
            with self._files._opened(source.path) as directory:
                self._take_below(source, directory)

    def _take_below(self, source: Source, directory: int) -> None:
        with os.scandir(directory) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_NAMES:
                    raise OSError(errno.EFBIG, f"it has more than {_MOST_NAMES} names")
                self._check_clock()
                if source.ending.startswith("/"):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        self._take_text(open_beneath(directory, entry.name + source.ending, _FILE), entry.name)
                elif entry.name.endswith(source.ending):
                    self._take_text(open_beneath(directory, entry.name, _FILE), entry.name[: -len(source.ending)])

    def _take_text(self, descriptor: int, name: str) -> None:
        """Takes the descriptor, too."""
        try:
            size = status_of_regular(descriptor).st_size
            if size > min(_MOST_OF_TEXT, self._left):
                raise OSError(errno.EFBIG, f"{name}: {os.strerror(errno.EFBIG)}")
            text = bytearray()
            while len(text) < size and (piece := os.read(descriptor, min(_PIECE, size - len(text)))):
                text += piece
                self._check_clock()
        finally:
            os.close(descriptor)
        self._left -= len(text)
        key = os.fsencode(name)
        self._texts.write(_FRAME.pack(len(key), len(text)) + key)
        self._texts.write(text)

    def _take_database(self, path: str) -> None:
        for _ in range(_ATTEMPTS):
            if self._copied(path):
                return
            time.sleep(2 * _TICK / 1e9)
        raise OSError(errno.EBUSY, "it changes while it is read")

    def _copied(self, path: str) -> bool:
        """Whether neither the database nor its log changed meanwhile: one without the other answers wrongly."""
        began = time.time_ns()
        with contextlib.ExitStack() as stack:
            opened: dict[str, int] = {}
            for ending in ("", "-wal", "-journal"):
                try:
                    opened[ending] = self._files._open(path + ending, _FILE)
                except FileNotFoundError:
                    if not ending:
                        raise
                else:
                    stack.callback(os.close, opened[ending])
            before = {ending: _Seen.of(descriptor) for ending, descriptor in opened.items()}
            if any(seen.size > _MOST_OF_DATABASE for seen in before.values()):
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            if "-journal" in opened and os.pread(opened["-journal"], len(_HOT), 0) == _HOT:
                raise OSError(errno.EBUSY, "a transaction isn't done")
            for ending in ("", "-wal"):
                if ending in opened:
                    self._copy(opened[ending], os.path.join(self._place, f"database{ending}"))
            after = {ending: _Seen.of(descriptor) for ending, descriptor in opened.items()}
            is_old = all(seen.newest + _TICK < began for seen in before.values())
            return before == after and is_old and self._are_there(path, before)

    def _are_there(self, path: str, before: dict[str, _Seen]) -> bool:
        """Whether the names still mean the same files, and no log has come."""
        for ending in ("", "-wal"):
            try:
                descriptor = self._files._open(path + ending, _FILE)
            except FileNotFoundError:
                if ending in before:
                    return False
                continue
            try:
                if ending not in before or _Seen.of(descriptor) != before[ending]:
                    return False
            finally:
                os.close(descriptor)
        return True

    def _copy(self, descriptor: int, path: str) -> None:
        # The reader may lock it, which takes a file open for writing; it can't make one, nor let it grow.
        with masking_nothing_of(_LOCKABLE):
            copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _LOCKABLE)
        try:
            offset = 0
            while piece := os.pread(descriptor, _PIECE, offset):
                os.write(copy, piece)
                offset += len(piece)
                if offset > _MOST_OF_DATABASE:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
                self._check_clock()
        finally:
            os.close(copy)

    def _check_clock(self) -> None:
        if not self._patience.left:
            raise TimeoutError(errno.ETIMEDOUT, "it takes too long")


@contextlib.contextmanager
def _workplace() -> Iterator[tuple[str, str]]:
    """A private directory, and one in it that the reader may enter and not change. Raises OSError."""
    # No variable of the environment moves root's; a database may be larger than memory has room for.
    above = "/var/tmp" if os.geteuid() == 0 else tempfile.gettempdir()  # noqa: S108
    _sweep(above)
    private, held = _held_directory(above)
    try:
        place = os.path.join(private, "root")
        with masking_nothing_of(_ENTERED):
            os.mkdir(place, _ENTERED)
        yield private, place
    finally:
        shutil.rmtree(private, ignore_errors=True)
        os.close(held)


def _held_directory(above: str) -> tuple[str, int]:
    """A new directory, and a descriptor with the lock that says that somebody is at work in it. Raises OSError."""
    while True:
        private = tempfile.mkdtemp(prefix=_PREFIX, dir=above)
        with contextlib.suppress(FileNotFoundError):  # somebody swept it before it was held
            held = hold_directory(private)
            if held is not None:
                return private, held


def _sweep(above: str) -> None:
    """Remove what hosts that were killed have left."""
    for name in os.listdir(above):
        path = os.path.join(above, name)
        with contextlib.suppress(OSError):
            if name.startswith(_PREFIX) and os.lstat(path).st_uid == os.geteuid():
                held = hold_directory(path)
                if held is not None:
                    shutil.rmtree(path, ignore_errors=True)
                    os.close(held)
