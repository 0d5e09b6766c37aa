"""Runs in a child process: reads the package database of a foreign root, after dropping all privileges.

Standard input is a file with the texts to read, followed by the paths whose owners are wanted; `place` is a directory
with the copy of a database. The answer is a list of frames.
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ....interpreter.remote.powerless import become, bound
from ....packages import rpm_database  # noqa: F401 - once the rights are gone, nothing can be imported
from ....packages.database import confine, connect, translated
from ....packages.every import MANAGERS
from ....packages.files import Files, ManagerError

if TYPE_CHECKING:
    import sqlite3

#: Header of a text: sizes of its name and contents. Header of an answer: its kind, and sizes of a path and a package.
TEXT = struct.Struct(">IQ")
ANSWER = struct.Struct(">cII")
FOUND, END, TROUBLE = b"f", b"e", b"t"
#: The name of the text that lists the paths whose owners are wanted.
QUESTION = b""
_MEMORY = 200 << 20
_PIECE = 1 << 16
_LONGEST_TROUBLE = 300
#: The reader itself: nothing that it does needs another.
_MOST_PROCESSES = 1


class CopiedFiles(Files):
    """Files that the host has copied."""

    def __init__(self, texts: int, place: str, seconds: float) -> None:
        self._texts = texts
        self._place = place
        self._seconds = seconds

    def has(self, path: str) -> bool:
        # A manager may have its database in one of several places: the copied one counts.
        return self.has_file(path) or (os.path.exists(f"{self._place}/database") and path.endswith(".sqlite"))

    def has_file(self, path: str) -> bool:
        return any(name == path for name, _ in self._all())

    def read(self, path: str) -> bytes:
        for name, text in self._all():
            if name == path:
                return text
        raise FileNotFoundError(2, "it doesn't exist")

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        return ((name, text) for name, text in self._all() if name and not name.startswith("/"))

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        with translated(path):
            database = connect(f"{self._place}/database", "mode=rw")
            # Otherwise SQLite would create a file for the index of the write-ahead log.
            database.execute("pragma locking_mode = exclusive")
            confine(database, tables, self._seconds)
            limit_descriptors()
            yield database  # not closed: that would write the log into the database

    def question(self) -> list[bytes] | None:
        """Returns the paths whose owners are wanted, or None."""
        for name, text in self._all():
            if name == "":
                return text.split(b"\0")
        return None

    def _all(self) -> Iterator[tuple[str, bytes]]:
        offset = 0
        while len(frame := os.pread(self._texts, TEXT.size, offset)) == TEXT.size:
            name_size, size = TEXT.unpack(frame)
            offset += TEXT.size
            name = os.fsdecode(os.pread(self._texts, name_size, offset))
            yield name, os.pread(self._texts, size, offset + name_size)
            offset += name_size + size


def serve(manager_name: str, seconds: float, account: int, place: str) -> NoReturn:
    """Write the answer to standard output and exit at once, without the risk of an interpreter's shutdown."""
    with contextlib.suppress(ImportError):  # reported when it is needed
        import sqlite3  # noqa: F401
    try:
        place = give_up_rights(account, place, seconds)
        files = CopiedFiles(0, place, seconds)
        manager = MANAGERS[manager_name](files)
        wanted = files.question()
        if wanted is None:
            answers = ((path, b"") for path in manager.owned_pycs())
        else:
            answers = ((path, os.fsencode(package)) for path, package in manager.owners(wanted).items())
        _write_frames(_frames(answers))
    except BaseException as error:  # noqa: BLE001 - reported to the host, whatever it is
        _write_trouble(error)
    os._exit(0)


def _frames(answers: Iterator[tuple[bytes, bytes]] | Any) -> Iterator[bytes]:
    for path, package in answers:
        yield ANSWER.pack(FOUND, len(path), len(package)) + path + package
    yield ANSWER.pack(END, 0, 0)


def _write_frames(frames: Iterator[bytes]) -> None:
    held = bytearray()
    for frame in frames:
        held += frame
        if len(held) > _PIECE:
            _write_all(held)
            held = bytearray()
    _write_all(held)


def _write_all(data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _write_trouble(error: BaseException) -> None:
    if isinstance(error, ManagerError):
        text = str(error).rpartition("can't be read: ")[2]
    elif isinstance(error, MemoryError):
        text = "reading it exceeds the memory limit"
    else:
        text = f"its reader failed with {type(error).__name__}"
    message = text.encode("utf-8", "replace")[:_LONGEST_TROUBLE]
    with contextlib.suppress(BaseException):
        _write_all(ANSWER.pack(TROUBLE, len(message), 0) + message)


def give_up_rights(account: int, place: str, seconds: float) -> str:
    """Drop all privileges; only open files and the directory `place` remain. Returns its new path. Raises OSError.

    The parent has taken away the network and most system calls.
    """
    if not bound(_MOST_PROCESSES, _MEMORY, int(seconds) + 1):
        raise OSError(1, "its limits can't be set")
    if os.geteuid() != 0:
        os.chdir(place)
        return place
    os.chroot(place)
    os.chdir("/")
    if account:
        become(account, account)
    return ""


def limit_descriptors() -> None:
    """Let this process open no more files, nor sockets."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
