"""A directory of a manager's hooks: a file comes into it whole or not at all, and goes if it is ours to the letter.

Names are used in the open directory only, and no link in it is followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from ...errors import RightsError, UsageError
from ...packages.hook import HookFile
from ...state.locations import lock_directory, state_directory
from ...state.own_files import read, remove_unlocked, sync, try_lock
from ...tree.directory import make_directories, open_way
from ...tree.identity import ForeignPlaceError, making_for

#: Seconds that a call waits for another one.
_PATIENCE = 30.0
#: Bytes of a file that is looked at.
_MOST_BYTES = 1 << 20


class Occupant(NamedTuple):
    """What is found under a hook's name."""

    kind: str
    """absent, file, link, or other (which includes what can't be read)."""
    content: bytes = b""
    mode: int = 0

    def state_of(self, file: HookFile) -> str:
        """Returns the state of the hook: absent, installed (with the same text and mode) or different."""
        if self.kind == "absent":
            return "absent"
        return "installed" if self == Occupant("file", file.text.encode(), file.mode) else "different"


@contextlib.contextmanager
def hold_lock(state_dir: str | None) -> Iterator[None]:
    """Hold the lock for changing hooks. On a read-only disk, and wherever there can be none, go without.

    Raises LockTimeoutError and RefusedError.
    """
    from ...state.lock import InstallationLock

    lock = None
    with contextlib.suppress(OSError):
        directory = lock_directory(state_dir)
        if directory is not None:
            lock = InstallationLock(directory, "hooks")
            lock.acquire(_PATIENCE, lambda line: None)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


_Read = TypeVar("_Read")


class HookDirectory:
    """One directory, inside this system or a staged root."""

    def __init__(self, root: str | None, path: str) -> None:
        self._root = root or "/"
        self._path = path

    def look(self, name: str) -> Occupant:
        """Returns what is found under a name. Raises ForeignPlaceError."""
        return self._read_or(lambda directory: _look_at(directory, name), Occupant("absent"))

    def names(self, most: int) -> list[str]:
        """Returns at most this many of the names in it, sorted. Raises ForeignPlaceError."""

        def names_in(directory: int) -> list[str]:
            with os.scandir(directory) as entries:
                return sorted(entry.name for entry in islice(entries, most))

        return self._read_or(names_in, [])

    def _read_or(self, read: Callable[[int], _Read], default: _Read) -> _Read:
        try:
            with self._entered() as directory:
                return read(directory)
        except ForeignPlaceError:
            raise
        except OSError:
            return default

    def sweep(self, files: Sequence[HookFile]) -> None:
        """Remove the hidden files that killed processes left beside these."""
        names = "|".join(re.escape(_name(file)) for file in files)
        with contextlib.suppress(OSError), self._entered() as directory:
            for name in os.listdir(directory):
                if re.fullmatch(rf"\.(?:{names})\.[0-9a-f]+\.tmp", name):
                    remove_unlocked(name, directory)

    def put(self, files: Sequence[HookFile]) -> None:
        """Put files in their places, replacing what is there. If one can't be written, none is installed.

        Raises PyctriggerError.
        """
        with self._explained(files[0]):
            make_directories(self._path, self._root)
        with self._explained(files[0]), self._entered() as directory, contextlib.ExitStack() as stack:
            for file in files:
                with self._explained(file):
                    if _look_at(directory, _name(file)).kind == "other":
                        raise FileExistsError(errno.EEXIST, "something that isn't a file is in its place")
            hidden = []
            # What fails for want of space or rights fails here, before the first file has its name.
            for file in files:
                with self._explained(file):
                    hidden.append(stack.enter_context(_hidden_file(directory, file)))
            for temporary, file in zip(hidden, files):
                with self._explained(file):
                    os.replace(temporary, _name(file), src_dir_fd=directory, dst_dir_fd=directory)
            sync(directory)

    def remove(self, files: Sequence[HookFile]) -> None:
        """Remove the files whose text and mode are unchanged. Raises PyctriggerError."""
        with self._explained(files[0]), self._entered() as directory:
            for file in files:
                with self._explained(file):
                    if _look_at(directory, _name(file)).state_of(file) == "installed":
                        os.unlink(_name(file), dir_fd=directory)
            sync(directory)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[int]:
        """Open the directory, and act as the account that controls it. Raises OSError."""
        opened = open_way(self._path, self._root)
        try:
            with opened as directory:
                yield directory
        finally:
            os.close(opened.descriptor)

    @contextlib.contextmanager
    def _explained(self, file: HookFile) -> Iterator[None]:
        """Turn an OSError into a PyctriggerError that names the file."""
        try:
            yield
        except ForeignPlaceError:
            raise
        except OSError as error:
            message = f"{seen_outside(self._root, file.path)}: {error.strerror}"
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                raise RightsError(message) from error
            raise UsageError(message, hint="fix that, and run it again") from error


def seen_outside(root: str | None, path: str) -> str:
    """Returns the path that a file in a root has here."""
    return path if root is None else f"{root.rstrip('/')}{path}"


def describe_former(root: str | None, path: str, state_dir: str | None) -> str | None:
    """Returns what to say of a file that release 0.1.0 replaced with a hook: it is kept in the state, not put back."""
    base = state_dir or state_directory()
    if base is None:
        return None
    place = os.path.realpath(root or "/").rstrip("/") + path
    record = os.path.join(base, "hooks", f"hook-{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json")
    stored = read(record)
    before = stored.get("before") if isinstance(stored, dict) else None
    if not isinstance(before, dict) or before.get("kind") not in ("file", "link"):
        return None
    return f"{place}: the file that release 0.1.0 replaced by a hook is kept in {record}, in hexadecimal"


def _name(file: HookFile) -> str:
    return os.path.basename(file.path)


def _look_at(directory: int, name: str) -> Occupant:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return Occupant("link")
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return Occupant("other")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(name, flags, dir_fd=directory), "rb") as file:
            return Occupant("file", file.read(_MOST_BYTES), stat.S_IMODE(status.st_mode))
    except FileNotFoundError:
        return Occupant("absent")
    except OSError:
        return Occupant("other")


@contextlib.contextmanager
def _hidden_file(directory: int, file: HookFile) -> Iterator[str]:
    """Write a file under a hidden name, which no manager reads; that name is valid inside the block. Raises OSError.

    The file is open and locked there, which distinguishes it from what a killed process left.
    """
    temporary = f".{_name(file)}.{os.urandom(4).hex()}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with making_for(os.fstat(directory).st_gid):
        descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            try_lock(descriptor)
            stream.write(file.text.encode())
            stream.flush()
            os.fchmod(descriptor, file.mode)
            sync(descriptor)
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
