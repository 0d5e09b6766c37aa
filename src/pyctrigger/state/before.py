"""What was before hooks were installed: what stood in their places, and which directories had to be made for them.

So `hooks uninstall` can leave a system as it was. It is a hint, like all state: without it a hook that is ours to the
letter goes, and nothing else does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LockTimeoutError
from . import files
from .locations import make_own

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 1
#: Seconds. Hooks are put into a system, or taken away, in less than one.
_PATIENCE = 30.0
_POLL = 0.05


class Standing(NamedTuple):
    """What stands in a place: nothing, a file, a link, or something else, which can't be remembered."""

    kind: str
    """absent, file, link or other."""
    content: bytes = b""
    """A link's is its goal."""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0

    def is_like(self, other: Standing) -> bool:
        """Whether both say the same, whoever wrote it and when."""
        return self[:3] == other[:3]


ABSENT = Standing("absent")


class Record(NamedTuple):
    """One hook that we put into a system."""

    put: Standing
    before: Standing


class Past:
    """The records of all systems that this account has put hooks into, below its state directory `base`."""

    def __init__(self, base: str | None) -> None:
        self._base = base
        self._directory = os.path.join(base, "hooks") if base is not None else None

    def hook(self, path: str) -> Record | None:
        """What we put into this place, and what stood there before."""
        stored = self._read("hook", path)
        try:
            return Record(_standing(stored["put"]), _standing(stored["before"]))
        except (KeyError, TypeError, ValueError):
            return None

    def remember_hook(self, path: str, record: Record) -> None:
        """Raises OSError and RefusedError."""
        self._write("hook", path, {"put": _fields(record.put), "before": _fields(record.before)})

    def forget_hook(self, path: str) -> None:
        """There is nothing of ours in this place any more."""
        self._drop("hook", path)

    def made(self, path: str, status: os.stat_result) -> bool:
        """Whether this very directory was made by us."""
        stored = self._read("directory", path)
        try:
            return (stored["device"], stored["inode"]) == (status.st_dev, status.st_ino)
        except (KeyError, TypeError):
            return False

    def remember_directory(self, path: str, status: os.stat_result) -> None:
        """Raises OSError and RefusedError."""
        self._write("directory", path, {"device": status.st_dev, "inode": status.st_ino})

    def forget_directory(self, path: str) -> None:
        """It is gone."""
        self._drop("directory", path)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes a system or its record meanwhile; afterwards, what nobody needs any more is forgotten.

        Without state, or where it can't be written, there is nothing to hold. Raises LockTimeoutError and RefusedError.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # as on a read-only disk, or a file system that has no locks
                if self._directory is not None:
                    self._take(stack)
                    stack.callback(self._tidy)
            yield

    def _take(self, stack: contextlib.ExitStack) -> None:
        """Lock the directory of the records until the stack unwinds; it is made if it is missing.

        The lock is the directory's own: a file would have to stay when all is uninstalled. Whoever waited for a holder
        that removed the directory has the lock of nothing, and starts again.
        """
        deadline = time.monotonic() + _PATIENCE
        missing: dict[str, None] = {}
        descriptor = None
        while descriptor is None:
            missing.update(dict.fromkeys(above for above in self._above() if not os.path.lexists(above)))
            with contextlib.suppress(FileNotFoundError):  # removed while it was made
                make_own(str(self._base))
                descriptor = files.hold_directory(make_own(str(self._directory)))
            if descriptor is None and time.monotonic() > deadline:
                raise LockTimeoutError(
                    _PATIENCE, "another `pyctrigger hooks`", mend="wait for it to end, and run this again"
                )
            if descriptor is None:
                time.sleep(_POLL)
        stack.callback(os.close, descriptor)
        make_own(str(self._base))  # made by two at once, it may have another's mode
        for above in missing:
            self.remember_directory(above, os.lstat(above))

    def _tidy(self) -> None:
        """Forget systems that are gone, unless there is something to put back.

        Without any record left, the directories of the records go as well.
        """
        self._sweep()
        for name, stored in self._all():
            gone = not os.path.lexists(os.path.dirname(stored["path"]))
            if gone and stored.get("before", {}).get("kind", "absent") == "absent":
                self._unlink(name)
        own = [path for path in self._above() if self._read("directory", path)]
        if self._directory is None or len(list(self._all())) > len(own):
            return
        stated = {}
        for path in own:
            with contextlib.suppress(OSError):
                stated[path] = self.made(path, os.lstat(path))
            self.forget_directory(path)
        with contextlib.suppress(OSError):
            os.rmdir(self._directory)
            os.rmdir(str(self._base))
            for path in own:
                if stated.get(path):
                    os.rmdir(path)

    def _above(self) -> Iterator[str]:
        """The directories that the state directory lies in, from the inside out."""
        path = os.path.dirname(self._base) if self._base is not None else "/"
        while path != os.path.dirname(path):
            yield path
            path = os.path.dirname(path)

    def _sweep(self) -> None:
        """What a killed writer left behind (`files.write_durably`)."""
        with contextlib.suppress(OSError):
            if self._directory:
                files.sweep(self._directory)

    # -- files ---------------------------------------------------------------------------------------------------

    def _all(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            names = sorted(os.listdir(self._directory)) if self._directory else []
        except OSError:
            return  # nothing was ever remembered
        for name in names:
            if not name.endswith(".json"):
                continue
            stored = files.read(os.path.join(str(self._directory), name))
            with contextlib.suppress(KeyError, TypeError, ValueError):
                if stored["format"] == _FORMAT:
                    yield name, {**stored, "path": os.fsdecode(bytes.fromhex(stored["path"]))}

    def _name(self, kind: str, path: str) -> str:
        digest = hashlib.sha256(os.fsencode(path)).hexdigest()
        return os.path.join(str(self._directory), f"{kind}-{digest[:32]}.json")

    def _read(self, kind: str, path: str) -> dict[str, Any]:
        stored: Any = files.read(self._name(kind, path)) if self._directory is not None else None
        if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
            return {}
        return stored if stored.get("path") == os.fsencode(path).hex() else {}

    def _write(self, kind: str, path: str, fields: dict[str, Any]) -> None:
        if self._directory is None:
            raise OSError(0, "without state nothing can be remembered")
        files.write_durably(self._name(kind, path), {"format": _FORMAT, "path": os.fsencode(path).hex(), **fields})

    def _drop(self, kind: str, path: str) -> None:
        self._unlink(self._name(kind, path))

    def _unlink(self, name: str) -> None:
        if self._directory is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._directory, name))


def _fields(standing: Standing) -> dict[str, Any]:
    return {**standing._asdict(), "content": standing.content.hex()}


def _standing(fields: dict[str, Any]) -> Standing:
    numbers = {name: int(fields[name]) for name in ("mode", "uid", "gid", "mtime_ns")}
    return Standing(str(fields["kind"]), bytes.fromhex(fields["content"]), **numbers)


def is_alive(pid: int) -> bool:
    """Whether a process has this number; one that can't be asked has."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
