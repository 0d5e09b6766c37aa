"""The place of one hook in a system: what stands there, put there whole or not at all, taken away; no link followed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING

from ..errors import PyctriggerError, RightsError, UsageError
from ..state.before import ABSENT, Standing, is_alive
from ..tree.directory import open_way
from ..tree.identity import ForeignPlaceError, MakingFor, masking_nothing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..state.before import Past
    from ..tree.opened import Opened

#: Of a file that can be remembered.
_MOST_BYTES = 1 << 20
#: A directory that is being made; hidden, so that no manager takes it for anything.
_UNFINISHED = re.compile(r"\.pyctrigger-([0-9]+)-[0-9a-f]{8}\.tmp\Z")


class HookPlace:
    """A path inside a system: this one, or a staged root."""

    def __init__(self, root: str | None, path: str, past: Past) -> None:
        self._root = root or "/"
        self._path = path
        self._name = os.path.basename(path)
        self._past = past
        #: As it is seen from here.
        self.seen = self._root.rstrip("/") + path
        #: By which it is remembered, whatever links lead to the root.
        self.key = os.path.realpath(self._root).rstrip("/") + path

    def look(self) -> Standing:
        """What stands there; what can't be opened is something else. Raises ForeignPlaceError."""
        try:
            opened = self._open(os.path.dirname(self._path))
        except ForeignPlaceError:
            raise
        except OSError:
            return ABSENT
        try:
            with opened as directory:
                return self._look(directory)
        finally:
            os.close(opened.descriptor)

    def _look(self, directory: int) -> Standing:
        try:
            status = os.stat(self._name, dir_fd=directory, follow_symlinks=False)
            facts = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
            if stat.S_ISLNK(status.st_mode):
                goal = os.fsencode(os.readlink(self._name, dir_fd=directory))
                return Standing("link", goal, *facts)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
                return Standing("other", b"", *facts)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(self._name, flags, dir_fd=directory), "rb") as file:
                return Standing("file", file.read(_MOST_BYTES), *facts)
        except FileNotFoundError:
            return ABSENT
        except OSError:
            return Standing("other")

    def put(self, standing: Standing, *, as_it_was: bool = False) -> None:
        """Put a file or link there, made under a name that no manager reads; `as_it_was`: with its owner and time.

        Raises PyctriggerError.
        """
        try:
            opened = self._made(os.path.dirname(self._path))
            try:
                with opened as directory:
                    self._put(directory, standing, as_it_was=as_it_was)
            finally:
                os.close(opened.descriptor)
        except OSError as error:
            raise self.unusable(error) from error

    def _put(self, directory: int, standing: Standing, *, as_it_was: bool) -> None:
        temporary = f".{self._name}.{os.getpid()}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)  # of a process that had our number
        try:
            self._write(temporary, standing, directory, as_it_was=as_it_was)
            os.replace(temporary, self._name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
            raise

    def remove(self) -> None:
        """Take away what stands there. Raises PyctriggerError."""
        try:
            opened = self._open(os.path.dirname(self._path))
            try:
                with opened as directory:
                    os.unlink(self._name, dir_fd=directory)
                    os.fsync(directory)
            finally:
                os.close(opened.descriptor)
        except OSError as error:
            raise self.unusable(error) from error

    def tidy(self) -> None:
        """Take away what killed installs have left, and the directories that were made for hooks and are empty now."""
        own = re.compile(rf"\.{re.escape(self._name)}\.([0-9]+)\.tmp\Z")
        path = os.path.dirname(self._path)
        self._sweep(path, own, os.unlink)
        for above in (*_upwards(path), "/"):
            self._sweep(above, _UNFINISHED, os.rmdir)
        for above in _upwards(path):
            if not self._removed_empty(above):
                break

    def unusable(self, error: OSError) -> PyctriggerError:
        """Why nothing can be done with it."""
        message = f"{self.seen}: {error.strerror}"
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            return RightsError(message)
        return UsageError(message, mend="mend what stands there, and run it again")

    def _key(self, directory: str) -> str:
        return self.key[: len(self.key) - len(self._path)] + directory

    def _write(self, name: str, standing: Standing, directory: int, *, as_it_was: bool) -> None:
        making = MakingFor(os.fstat(directory).st_gid)
        if standing.kind == "link":
            with making:
                os.symlink(standing.content, os.fsencode(name), dir_fd=directory)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with making:
                descriptor = os.open(name, flags, 0o600, dir_fd=directory)
            with open(descriptor, "wb") as file:
                file.write(standing.content)
                file.flush()
                if as_it_was and os.geteuid() == 0:
                    os.fchown(descriptor, standing.uid, standing.gid)
                os.fchmod(descriptor, standing.mode)
                os.fsync(descriptor)
        if as_it_was:
            times = (standing.mtime_ns, standing.mtime_ns)
            os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _open(self, path: str) -> Opened:
        return open_way(path, self._root)

    def _made(self, path: str) -> Opened:
        """A directory, made with those above it if need be."""
        try:
            return self._open(path)
        except FileNotFoundError:
            above = self._made(os.path.dirname(path))
        try:
            self._make(above, path)
        finally:
            os.close(above.descriptor)
        return self._open(path)

    def _make(self, opened: Opened, path: str) -> None:
        """Remembered as ours before anybody can see it, so that an install that is killed leaves nothing of unknown
        origin.
        """
        temporary = f".pyctrigger-{os.getpid()}-{os.urandom(4).hex()}.tmp"
        with opened as above, masking_nothing_of(0o755), MakingFor(os.fstat(above).st_gid):
            os.mkdir(temporary, 0o755, dir_fd=above)
        try:
            with opened as above:
                status = os.stat(temporary, dir_fd=above, follow_symlinks=False)
            with contextlib.suppress(OSError):  # without state it stays when the hook goes
                self._past.remember_directory(self._key(path), status)
            with opened as above:
                os.rename(temporary, os.path.basename(path), src_dir_fd=above, dst_dir_fd=above)
        except OSError as error:
            with opened as above:
                os.rmdir(temporary, dir_fd=above)
            # Another install was faster, or a dangling link stands there: opening it tells.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise

    def _removed_empty(self, path: str) -> bool:
        """Whether there is no such directory any more, so that the one above it may be empty, too."""
        try:
            opened = self._open(os.path.dirname(path))
        except FileNotFoundError:
            self._past.forget_directory(self._key(path))
            return True
        except OSError:
            return False
        name = os.path.basename(path)
        try:
            with opened as above:
                status = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not self._past.made(self._key(path), status):
                return False
            with opened as above:
                os.rmdir(name, dir_fd=above)
        except FileNotFoundError:
            pass
        except OSError:
            return False  # somebody else's files are in it
        finally:
            os.close(opened.descriptor)
        self._past.forget_directory(self._key(path))
        return True

    def _sweep(self, path: str, pattern: re.Pattern[str], remove: Callable[..., object]) -> None:
        try:
            opened = self._open(path)
        except OSError:
            return
        try:
            with opened as directory:
                for name in os.listdir(directory):
                    match = pattern.match(name)
                    if match and not is_alive(int(match[1])):
                        with contextlib.suppress(OSError):
                            remove(name, dir_fd=directory)
        finally:
            os.close(opened.descriptor)


def _upwards(path: str) -> Iterator[str]:
    while path not in ("/", ""):
        yield path
        path = os.path.dirname(path)
