"""What the owner of a root may put in the place of a file that root looks for, and what a run over it costs."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from command import PATIENCE
from warm_program import Call, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from command import Argument, Command

#: What all that is hostile may cost a run.
MOST_SECONDS = 5.0
#: Seconds that an ordinary run takes on an idle machine, with some to spare.
_ORDINARY = 2.0
MOST_MEMORY = 200 << 20
#: Seconds.
_HANGS = PATIENCE / 3
_SPARSE = 100 << 30
_ENDLESS = (
    "create view {name} as with recursive endless(path, name, key, hnum, blob, id, package_id, directory) as"
    " (select 'x', 'x', 'x', 1, x'2e707963', 1, 1, x'78' union all"
    " select path, name, key, hnum + 1, blob, id, package_id, directory from endless) select * from endless"
)


class Outside:
    """What belongs to the host beside the root, and what has to stay as it is."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "directory").mkdir(parents=True)
        self.file.write_text("the host's\n")
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            database.execute("create table pycs (theirs)")
            database.execute("pragma user_version = 99")
        self._before = self._everything()

    @property
    def file(self) -> Path:
        """A file of the host's."""
        return self.top / "file"

    @property
    def database(self) -> Path:
        """Another program's database."""
        return self.top / "theirs.sqlite"

    @property
    def is_as_it_was(self) -> bool:
        """Whether nothing was changed, made or removed."""
        return self._everything() == self._before

    def _everything(self) -> list[tuple[Any, ...]]:
        found = []
        for path in sorted(self.top.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            found.append((path, status.st_mode, status.st_uid, status.st_ino, status.st_mtime_ns, content))
        return found


def _device(place: Path, outside: Outside) -> None:
    place.symlink_to("/dev/zero")


def _socket(place: Path, outside: Outside) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
        directory = os.open(place.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{directory}/{place.name}")  # a name has room for 107 bytes
        finally:
            os.close(directory)


def _sparse(place: Path, outside: Outside) -> None:
    place.touch()
    os.truncate(place, _SPARSE)


def _directory(place: Path, outside: Outside) -> None:
    (place / "inner").mkdir(parents=True)


def _endless(place: Path, outside: Outside) -> None:
    with contextlib.closing(sqlite3.connect(place)) as database, database:
        for name in ("files", "Packages", "Basenames", "pycs", "uncompilable", "settled", "sites"):
            database.execute(_ENDLESS.format(name=name))
        database.execute("pragma user_version = 5")


def _huge_numbers(place: Path, outside: Outside) -> None:
    """A header of rpm's with four billion entries, in a table of the right name."""
    with contextlib.closing(sqlite3.connect(place)) as database, database:
        database.execute("create table Packages (hnum integer primary key, blob blob)")
        database.execute("create table Basenames (key, hnum, idx)")
        database.execute("insert into Packages values (1, x'ffffffffffffffff2e707963')")
        database.execute("create table files (path text, package_id)")
        database.execute("insert into files values ('/' || hex(zeroblob(2000000)) || '.pyc', 1)")


#: By what it is called: how it is put into a place.
KINDS: dict[str, Callable[[Path, Outside], object]] = {
    "dangling link": lambda place, outside: place.symlink_to(outside.top / "made"),
    "link to a file": lambda place, outside: place.symlink_to(outside.file),
    "link to a database": lambda place, outside: place.symlink_to(outside.database),
    "link to a directory": lambda place, outside: place.symlink_to(outside.top / "directory"),
    "link to a device": _device,
    "fifo": lambda place, outside: os.mkfifo(place),
    "socket": _socket,
    "directory": _directory,
    "sparse": _sparse,
    "endless view": _endless,
    "huge numbers": _huge_numbers,
    "random bytes": lambda place, outside: place.write_bytes(os.urandom(1 << 20)),
    "deep json": lambda place, outside: place.write_text("[" * 1_000_000),
}


def plant(kind: str, place: Path, outside: Outside) -> None:
    """Put what `kind` says into a place."""
    place.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](place, outside)


class Cost(NamedTuple):
    """A run, and what it has cost."""

    code: int
    document: dict[str, Any]
    err: str
    seconds: float
    memory: int
    """Bytes of the host or a child of its, whichever had more."""

    @property
    def compiled(self) -> int:
        """Sources, in all flavours."""
        return sum(run["counts"]["compiled"] for run in self.document["runs"])


def is_in_time(cost: Cost, control: Callable[[], Cost]) -> bool:
    """Whether a run took no longer than it may; `control` is one without anything hostile, where a machine is busy."""
    return cost.seconds < MOST_SECONDS + _ORDINARY or cost.seconds < MOST_SECONDS + 3 * control().seconds


def run_measured(pyctrigger: Command, verb: str, *arguments: Argument) -> Cost:
    """Run it, and measure what it takes, whichever process hangs."""
    line = pyctrigger.command_line(verb, ["--json", *arguments])
    began = time.monotonic()
    try:
        ended = pyctrigger.fork(line, Call([], b"", os.environ, os.getcwd()), _HANGS) or _watched(line)
    except subprocess.TimeoutExpired:
        return Cost(-9, {"runs": []}, "it hung", time.monotonic() - began, 0)
    seconds = time.monotonic() - began
    document = json.loads(ended.stdout) if ended.stdout else {"runs": []}
    return Cost(ended.returncode, document, ended.stderr.decode(), seconds, ended.memory)


#: A small parent: a child's peak begins with that of the process that it was forked from.
_WATCH = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
os.write(int(sys.argv[1]), b"%d" % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def _watched(line: list[bytes]) -> Ended:
    """The same command, started anew. Raises `TimeoutExpired`."""
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCH, str(writer), *line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=(writer,),
    )
    os.close(writer)
    try:
        out, err = child.communicate(timeout=_HANGS)
        return Ended(child.returncode, out, err, int(os.read(reader, 32) or b"0") << 10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        raise
    finally:
        os.close(reader)


@contextlib.contextmanager
def swapping(account: int, pairs: Sequence[tuple[Path, Path]]) -> Iterator[None]:
    """Meanwhile a process of an account swaps the names of each pair as fast as it can (renameat2(2))."""
    library = ctypes.CDLL(None)
    names = [(os.fsencode(first), os.fsencode(second)) for first, second in pairs]
    child = os.fork()
    if child == 0:
        try:
            if account != os.geteuid():
                os.setgroups([])
                os.setgid(account)
                os.setuid(account)
            while True:
                for first, second in names:
                    library.renameat2(-100, first, -100, second, 2)  # AT_FDCWD, RENAME_EXCHANGE
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
