"""Package databases of a root: copied, and read by a child without any right.

Its answer is checked like a stranger's. All of it together, over all package managers of a root, takes a few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator
from typing import BinaryIO

from ...bounded import regular_status
from ...errors import ManagerError
from ...interpreter.child import kill, printable, start_own
from ...interpreter.patience import Patience
from ...interpreter.worker_accounts import lease
from ...packages.databases import Files, Source
from ...stamps import stamp_of
from ...state.locations import lock_directory
from ...state.own_files import hold_directory
from ...tree.identity import acting_as_ourselves, masking_nothing_of
from ...tree.opened import is_confined, open_name
from .database_reader import DONE, TEXT, TEXTS, TROUBLE
from .files_inside import DIRECTORY, FILE, FilesInside

#: Seconds for all questions about one root in one run.
_PATIENCE = 5.0
_PIECE = 1 << 20
#: Of texts, each and together, and how many there may be.
_MOST_OF_TEXT = 64 << 20
_MOST_OF_TEXTS = 256 << 20
_MOST_NAMES = 200_000
#: Bytes of a database, and of its write-ahead log.
_MOST_OF_DATABASE = 512 << 20
#: How a rollback journal begins that isn't done (sqlite.org/fileformat2.html, 3).
_HOT = bytes.fromhex("d9d505f920a163d7")
_PREFIX = "pyctrigger-databases-"
#: Modes of the copies: the reader goes into their directory and lists it not, and locks a database, which takes a file
#: open for writing. It can't make one, nor let it grow.
_ENTERED, _LOCKABLE = 0o711, 0o666
_ATTEMPTS = 3
#: Nanoseconds: a change within a tick of the clock shows in no time (see `state.record`).
_TICK = 20_000_000
#: What an answer may have: bytes, paths, and the bytes of a path and of a package's name.
_MOST_BYTES = 48 << 20
_MOST_PATHS = 400_000
_LONGEST_PATH = 4096
_LONGEST_PACKAGE = 512


class ReaderError(Exception):
    """Databases can't be copied, or the child gives no answer that can be believed; the text says why."""


def files_of(root: str | None) -> Files:
    """Where package managers have their databases; None: on this system."""
    return RootFiles(root) if root is not None and is_confined(root) else Files()


class RootFiles(FilesInside):
    """Those of a root."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._left = _PATIENCE

    def ask_reader(
        self, manager: str, sources: list[Source], paths: Collection[bytes] | None
    ) -> list[tuple[bytes, bytes]]:
        if paths is not None and not paths:
            return []
        patience = Patience(self._left)
        try:
            # Nobody else may see the copies, nor have a hand in the child, whoever's place we are at work in.
            with acting_as_ourselves(), _workplace() as private:
                with _create(f"{private}/root/{TEXTS}") as texts:
                    copies = _Copies(self, f"{private}/root", texts, patience)
                    for source in sources:
                        copies.take(source)
                return read_copies(manager, paths, private, patience)
        except (OSError, ReaderError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ManagerError(f"{self.describe(sources[0].path)} can't be read: {reason}") from error
        finally:
            self._left = patience.left


def _open_inside(directory: int, below: str, name: str) -> int:
    opened = open_name(below, DIRECTORY, directory, confined=True)
    try:
        return open_name(name, FILE, opened, confined=True)
    finally:
        os.close(opened)


def _stamps(opened: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Returns what each of some open files looks like. Raises OSError where one isn't a regular file."""
    return {ending: stamp_of(regular_status(descriptor)) for ending, descriptor in opened.items()}


class _Copies:
    """Copies what a manager reads: texts one after the other into a file, a database to its path below `place`."""

    def __init__(self, files: FilesInside, place: str, texts: BinaryIO, patience: Patience) -> None:
        self._files = files
        self._place = place
        self._texts = texts
        self._patience = patience
        self._left = _MOST_OF_TEXTS

    def take(self, source: Source) -> None:
        """Raises OSError and ReaderError."""
        if source.kind == "database":
            self._take_database(source.path)
        elif source.kind == "file":
            with contextlib.suppress(FileNotFoundError):
                self._take_text(self._files.open(source.path, FILE), source.path)
        else:
            with self._files.opened(source.path) as directory:
                self._take_below(source, directory)

    def _take_below(self, source: Source, directory: int) -> None:
        with os.scandir(directory) as entries:
            for count, entry in enumerate(entries):
                if count >= _MOST_NAMES:
                    raise ReaderError(f"it has more than {_MOST_NAMES} names")
                self._check_clock()
                if source.ending.startswith("/"):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        self._take_text(_open_inside(directory, entry.name, source.ending[1:]), entry.name)
                elif entry.name.endswith(source.ending):
                    name = entry.name[: -len(source.ending)]
                    self._take_text(open_name(entry.name, FILE, directory, confined=True), name)

    def _take_text(self, descriptor: int, name: str) -> None:
        """Takes the descriptor, too."""
        try:
            text = b"".join(self._read(descriptor, min(_MOST_OF_TEXT, self._left)))
        finally:
            os.close(descriptor)
        self._left -= len(text)
        encoded = os.fsencode(name)
        self._texts.write(TEXT.pack(len(encoded), len(text)) + encoded + text)

    def _take_database(self, path: str) -> None:
        for _ in range(_ATTEMPTS):
            if self._is_copied(path):
                return
            time.sleep(2 * _TICK / 1e9)
        raise ReaderError("it changes while it is read")

    def _is_copied(self, path: str) -> bool:
        """Whether neither the database nor its log changed meanwhile: one without the other answers wrongly."""
        began = time.time_ns()
        with contextlib.ExitStack() as stack:
            opened = self._open_database(path, stack)
            before = _stamps(opened)
            if "-journal" in opened and os.pread(opened["-journal"], len(_HOT), 0) == _HOT:
                raise ReaderError("a transaction isn't done")
            for ending in ("", "-wal"):
                if ending in opened:
                    self._make_directories(os.path.dirname(path))
                    with _create(self._place + path + ending) as copy:
                        copy.writelines(self._read(opened[ending], _MOST_OF_DATABASE))
                else:
                    with contextlib.suppress(FileNotFoundError):  # of an earlier attempt
                        os.unlink(self._place + path + ending)
            is_old = all(max(mtime, ctime) + _TICK < began for *_, mtime, ctime in before.values())
            return is_old and before == _stamps(opened) == _stamps(self._open_database(path, stack))

    def _open_database(self, path: str, stack: contextlib.ExitStack) -> dict[str, int]:
        """Returns descriptors of a database and of its logs, by how their names end. Raises OSError."""
        opened: dict[str, int] = {}
        for ending in ("", "-wal", "-journal"):
            try:
                opened[ending] = self._files.open(path + ending, FILE)
            except FileNotFoundError:
                if not ending:
                    raise
            else:
                stack.callback(os.close, opened[ending])
        return opened

    def _read(self, descriptor: int, most: int) -> Iterator[bytes]:
        """Yields the contents of an open file. Raises OSError, and ReaderError for more than `most` bytes."""
        size, offset = regular_status(descriptor).st_size, 0
        if size > most:
            raise ReaderError(os.strerror(errno.EFBIG))
        while offset < size and (piece := os.pread(descriptor, min(_PIECE, size - offset), offset)):
            yield piece
            offset += len(piece)
            self._check_clock()

    def _make_directories(self, path: str) -> None:
        if not os.path.isdir(self._place + path):
            self._make_directories(os.path.dirname(path))
            with masking_nothing_of(_ENTERED):
                os.mkdir(self._place + path, _ENTERED)

    def _check_clock(self) -> None:
        if not self._patience.left:
            raise ReaderError("it takes too long")


def _create(path: str) -> BinaryIO:
    """Create or empty a file that the reader may lock."""
    with masking_nothing_of(_LOCKABLE):
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _LOCKABLE), "wb")


@contextlib.contextmanager
def _workplace() -> Iterator[str]:
    """A private directory, and in it `root`, which the reader may enter and not change. Raises OSError."""
    # No variable of the environment moves root's; a database may be larger than memory has room for.
    above = "/var/tmp" if os.geteuid() == 0 else tempfile.gettempdir()  # noqa: S108
    _sweep(above)
    held = None
    while held is None:
        private = tempfile.mkdtemp(prefix=_PREFIX, dir=above)
        with contextlib.suppress(FileNotFoundError):  # somebody swept it before it was held
            held = hold_directory(private)
    try:
        with masking_nothing_of(_ENTERED):
            os.mkdir(f"{private}/root", _ENTERED)
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)
        os.close(held)


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


def read_copies(
    manager: str, paths: Collection[bytes] | None, private: str, patience: Patience
) -> list[tuple[bytes, bytes]]:
    """The pycs that packages own, or the owners of `paths`, by what was copied. Raises ReaderError and OSError."""
    seconds = patience.left
    if not seconds:
        raise ReaderError("it takes too long")
    with contextlib.ExitStack() as stack:
        question = stack.enter_context(tempfile.TemporaryFile(dir=private))
        question.write(b"\0".join(paths or ()))
        question.seek(0)
        lent = lease(lock_directory())
        if lent is not None:
            stack.callback(lent.end)
        account = 0 if lent is None else lent.account.uid
        child = start_own(
            "pyctrigger.run.scope.database_reader",
            (manager, seconds, account, f"{private}/root"),
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        stack.enter_context(child)
        stack.callback(kill, child)
        assert child.stdout is not None
        patience.follow(child.pid)
        return _checked(_read_answer(child.stdout.fileno(), patience), paths)


def _read_answer(stream: int, patience: Patience) -> bytes:
    """All that it says. Raises ReaderError where that is too much, or takes too long."""
    answer = bytearray()
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    while left := patience.left:
        if not poll.poll(left * 1000 + 1):
            continue
        piece = os.read(stream, _PIECE)
        if not piece:
            return bytes(answer)
        answer += piece
        if len(answer) > _MOST_BYTES:
            raise ReaderError("its answer is too long")
    raise ReaderError("it takes too long")


def _checked(answer: bytes, paths: Collection[bytes] | None) -> list[tuple[bytes, bytes]]:
    """What was found. Raises ReaderError for what no honest reader says."""
    if answer.count(b"\0") > 2 * _MOST_PATHS:
        raise ReaderError("its answer is too long")
    *fields, end = answer.split(b"\0")
    if end.startswith(TROUBLE):
        raise ReaderError(printable(end[len(TROUBLE) :]))
    if end != DONE:
        raise ReaderError("its reader ended before it had answered")
    found = list(zip(fields[::2], fields[1::2]))
    if len(fields) % 2 or not all(_is_sound(path, package, paths) for path, package in found):
        raise ReaderError("its reader gave an invalid answer")
    return found


def _is_sound(path: bytes, package: bytes, paths: Collection[bytes] | None) -> bool:
    if not path.startswith(b"/") or len(path) > _LONGEST_PATH:
        return False
    if paths is None:
        return path.endswith(b".pyc") and not package
    return path in paths and len(package) <= _LONGEST_PACKAGE
