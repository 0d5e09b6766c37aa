"""What a child runs that reads a stranger's package database: it gives up all rights, then looks, then answers.

`python -I -S -c START PACKAGES MANAGER SECONDS UID GID PLACE`. Standard input is a file with the texts, PLACE a
directory with the copy of a database; after the texts stand the paths whose owners are asked for. The answer is a list
of frames.
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .database import confine, translated
from .files import Files, ManagerError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator

#: Run by the host's interpreter, isolated.
START = "import sys; sys.path.insert(0, sys.argv[1]); from pyctrigger.packages.confined import main; main(sys.argv[2:])"
#: Of a text: the sizes of its name and of itself. Of an answer: its kind, and the sizes of a path and a package.
TEXT = struct.Struct(">IQ")
ANSWER = struct.Struct(">cII")
FOUND, END, TROUBLE = b"f", b"e", b"t"
#: The name under which the paths stand that are asked about.
QUESTION = b""
_MEMORY = 200 << 20
_PIECE = 1 << 16
_LONGEST_TROUBLE = 300
#: From <sched.h> and <linux/prctl.h>.
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38


class CopiedFiles(Files):
    """What the host has copied."""

    def __init__(self, texts: int, place: str, seconds: float) -> None:
        self._texts = texts
        self._place = place
        self._seconds = seconds

    def has(self, path: str) -> bool:
        # Of several places where a database may be, the one that was copied.
        return self.has_file(path) or (os.path.exists(f"{self._place}/database") and path.endswith(".sqlite"))

    def has_file(self, path: str) -> bool:
        return any(name == path for name, _ in self._all())

    def read(self, path: str) -> bytes:
        for name, text in self._all():
            if name == path:
                return text
        raise FileNotFoundError(2, "it isn't there")

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        return ((name, text) for name, text in self._all() if name and not name.startswith("/"))

    @contextlib.contextmanager
    def open_database(self, path: str, tables: Collection[str]) -> Iterator[sqlite3.Connection]:
        import sqlite3

        with translated(path):
            database = sqlite3.connect(f"file:{self._place}/database?mode=rw", uri=True)
            # Else the index of a write-ahead log is a file that would have to be made.
            database.execute("pragma locking_mode = exclusive")
            confine(database, tables, self._seconds)
            limit_descriptors()
            yield database  # it isn't closed: that would write the log into it

    def question(self) -> list[bytes] | None:
        """The paths that are asked about, if there are any."""
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


def main(arguments: list[str]) -> NoReturn:
    """Answer, and end without any more ado: no interpreter's shutdown is worth its risk here."""
    name, seconds, uid, gid, place = arguments
    from . import rpm_database  # noqa: F401 - once the rights are gone, nothing can be imported
    from .every import MANAGERS

    with contextlib.suppress(ImportError):  # what needs it says so
        import sqlite3  # noqa: F401
    try:
        place = give_up_rights(int(uid), int(gid), place, float(seconds))
        files = CopiedFiles(0, place, float(seconds))
        manager = MANAGERS[name](files)
        wanted = files.question()
        if wanted is None:
            answers = ((path, b"") for path in manager.owned_pycs())
        else:
            answers = ((path, os.fsencode(package)) for path, package in manager.owners(wanted).items())
        _write(_frames(answers))
    except BaseException as error:  # noqa: BLE001 - the host's to see, whatever it is
        _tell(error)
    os._exit(0)


def _frames(answers: Iterator[tuple[bytes, bytes]] | Any) -> Iterator[bytes]:
    for path, package in answers:
        yield ANSWER.pack(FOUND, len(path), len(package)) + path + package
    yield ANSWER.pack(END, 0, 0)


def _write(frames: Iterator[bytes]) -> None:
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


def _tell(error: BaseException) -> None:
    if isinstance(error, ManagerError):
        text = str(error).rpartition("can't be read: ")[2]
    elif isinstance(error, MemoryError):
        text = "it takes more memory than it may"
    else:
        text = f"its reader met {type(error).__name__}"
    told = text.encode("utf-8", "replace")[:_LONGEST_TROUBLE]
    with contextlib.suppress(BaseException):
        _write_all(ANSWER.pack(TROUBLE, len(told), 0) + told)


def give_up_rights(uid: int, gid: int, place: str, seconds: float) -> str:
    """Keep nothing but what is open, and a directory with copies; its name from then on. Raises OSError."""
    _leave_network()
    limits = {"CORE": 0, "CPU": int(seconds) + 1, "FSIZE": 0, "AS": _MEMORY, "NPROC": 0}
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue  # a system without it
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    if os.geteuid() == 0:
        os.chroot(place)
        os.chdir("/")
        if uid:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            _require_no_rights()
        return ""
    os.chdir(place)
    return place


def _require_no_rights() -> None:
    """Raise OSError where the kernel was told to keep root's rights (SECBIT_NO_SETUID_FIXUP)."""
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        raise OSError(1, "its rights can't be given up")


def limit_descriptors() -> None:
    """Open nothing any more: a socket takes a descriptor, too."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _leave_network() -> None:
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import ctypes

        library = ctypes.CDLL(None)
        zero = ctypes.c_ulong(0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
        if os.geteuid() == 0:
            library.unshare(_CLONE_NEWNET)
