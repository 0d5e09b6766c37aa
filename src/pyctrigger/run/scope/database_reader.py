"""Runs in a child process: reads the copied package database of a foreign root, after dropping all privileges.

A copied database has the same path below the directory `place` as below the root; the texts are all in one file, since
a manager may have thousands of them. Standard input lists the paths whose owners are wanted; if it is empty, the pycs
that packages own are. The answer consists of fields that NUL separates: each path and its package, which is left out
for pycs, and last how it ended.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import struct
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NoReturn

from ...errors import ManagerError
from ...interpreter.remote.powerless import become, bound
from ...packages import rpm_header  # noqa: F401 - once the rights are gone, nothing can be imported
from ...packages.databases import Files, confine, connect, translated
from ...packages.every import MANAGERS

if TYPE_CHECKING:
    import sqlite3

#: The file with all texts, and what precedes each: the sizes of its name and of its contents.
TEXTS = "texts"
TEXT = struct.Struct(">IQ")
#: What the last field of an answer is, or begins with.
DONE, TROUBLE = b"done", b"trouble: "
_MEMORY = 200 << 20
_LONGEST_TROUBLE = 300
#: The reader itself: nothing that it does needs another.
_MOST_PROCESSES = 1


class CopiedFiles(Files):
    """Files that the host has copied to below a directory."""

    def __init__(self, base: str, seconds: float) -> None:
        self._base = base
        self._seconds = seconds

    def has(self, path: str) -> bool:
        return os.path.exists(self._base + path)

    def read(self, path: str) -> bytes:
        for name, text in self._texts():
            if name == path:
                return text
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        return ((name, text) for name, text in self._texts() if not name.startswith("/"))

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        with open(f"{self._base}/{TEXTS}", "rb") as texts:
            while sizes := texts.read(TEXT.size):
                name, text = map(texts.read, TEXT.unpack(sizes))
                yield os.fsdecode(name), text

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        with translated(path):
            database = connect(self._base + path, "mode=rw")
            # Otherwise SQLite would create a file for the index of the write-ahead log.
            database.execute("pragma locking_mode = exclusive")
            confine(database, tables, self._seconds)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # no more files, nor sockets
            yield database  # not closed: that would write the log into the database


def serve(manager_name: str, seconds: float, account: int, place: str) -> NoReturn:
    """Write the answer to standard output and exit at once, without the risk of an interpreter's shutdown."""
    with contextlib.suppress(ImportError):  # reported when it is needed
        import sqlite3  # noqa: F401
    with open(0, "rb") as question, open(1, "wb") as answer:
        try:
            wanted = question.read(_MEMORY)
            paths = wanted.split(b"\0") if wanted else None
            manager = MANAGERS[manager_name](CopiedFiles(give_up_rights(account, place, seconds), seconds))
            for path, package in manager.find_owned(paths):
                name = b"" if paths is None else os.fsencode(package)
                answer.write(b"%b\0%b\0" % (path, name))
            answer.write(DONE)
        except BaseException as error:  # noqa: BLE001 - reported to the host, whatever it is
            answer.write(TROUBLE + _describe(error).encode("utf-8", "replace")[:_LONGEST_TROUBLE])
        answer.flush()
        os._exit(0)


def _describe(error: BaseException) -> str:
    if isinstance(error, ManagerError):
        return str(error).rpartition("can't be read: ")[2]
    if isinstance(error, MemoryError):
        return "reading it exceeds the memory limit"
    return f"its reader failed with {type(error).__name__}"


def give_up_rights(account: int, place: str, seconds: float) -> str:
    """Drop all privileges; only open files and the directory `place` remain. Returns its new path.

    Raises OSError and ManagerError. The parent has taken away the network and most system calls.
    """
    if not bound(_MOST_PROCESSES, _MEMORY, int(seconds) + 1):
        raise ManagerError("its reader can't be limited")
    if os.geteuid() != 0:
        os.chdir(place)
        return place
    os.chroot(place)
    os.chdir("/")
    if account:
        become(account, account)
    return ""
