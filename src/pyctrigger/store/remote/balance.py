"""What a run has waited for a store, and what that has saved: shared by all processes of the run.

The run waits while any of them does: moments in which several wait count once. Time for compiling that is saved is
divided by their number, as they would have compiled side by side. So what is left over is what the run takes longer,
and it ends asking once that is the configured time.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from .trouble import REASONS, Told, Trouble

#: Seconds waited, until when that was counted, seconds saved, the trouble, and its number.
_HEAD = struct.Struct("<dddII")
#: How often something was found, not there, and, by reason, not believed.
_COUNTS = struct.Struct(f"<{2 + len(REASONS)}Q")


class Counted:
    """What was asked for and came of it, in one process or all."""

    def __init__(self) -> None:
        self.hits = self.absent = 0
        self.flaws: Counter[str] = Counter()


class Balance:
    """Of all processes that are forked from the one that makes it. Raises OSError where there is no memory for it."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        #: Locks of fcntl(2) belong to a process, and end with it.
        self._file = _unnamed_file()
        try:
            os.ftruncate(self._file, _HEAD.size + _COUNTS.size)
            self._shared = mmap.mmap(self._file, _HEAD.size + _COUNTS.size)
        except BaseException:
            os.close(self._file)
            raise
        #: How many processes compile side by side.
        self.lanes = 1

    def fileno(self) -> int:
        """The descriptor that a forked process has to keep."""
        return self._file

    def close(self) -> None:
        """Forget it."""
        self._shared.close()
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def waited(self, since: float) -> float:
        """Count that this process has waited since then, by the monotonic clock, until now. Returns what is left."""
        with self._locked():
            waited, until, saved, trouble, number = _HEAD.unpack_from(self._shared)
            now = time.monotonic()
            waited += max(0.0, now - max(since, until))
            _HEAD.pack_into(self._shared, 0, waited, max(now, until), saved, trouble, number)
        left: float = self._timeout + saved - waited
        return left

    def saved(self, seconds: float) -> None:
        """Count what compiling would have taken."""
        with self._locked():
            waited, until, saved, trouble, number = _HEAD.unpack_from(self._shared)
            _HEAD.pack_into(self._shared, 0, waited, until, saved + seconds / self.lanes, trouble, number)

    def give_up(self, told: Told) -> None:
        """Have no process ask any more. The first trouble is the one that is told."""
        with self._locked():
            waited, until, saved, trouble, _ = _HEAD.unpack_from(self._shared)
            if not trouble:
                _HEAD.pack_into(self._shared, 0, waited, until, saved, told.trouble, told.number & 0xFFFFFFFF)

    @property
    def trouble(self) -> Told | None:
        """Why nothing is asked any more, if so."""
        *_, trouble, number = _HEAD.unpack_from(self._shared)
        return Told(Trouble(trouble), number) if trouble else None

    def add(self, counted: Counted) -> None:
        """Add what one process has counted."""
        with self._locked():
            hits, absent, *flaws = _COUNTS.unpack_from(self._shared, _HEAD.size)
            flaws = [number + counted.flaws[reason] for number, reason in zip(flaws, REASONS)]
            _COUNTS.pack_into(self._shared, _HEAD.size, hits + counted.hits, absent + counted.absent, *flaws)

    def counted(self) -> Counted:
        """Returns what all have counted."""
        found = Counted()
        found.hits, found.absent, *flaws = _COUNTS.unpack_from(self._shared, _HEAD.size)
        found.flaws = Counter({reason: number for reason, number in zip(REASONS, flaws) if number})
        return found


def _unnamed_file() -> int:
    """Returns the descriptor of a file that nobody else can open. Raises OSError."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pyctrigger")
    with tempfile.TemporaryFile(prefix="pyctrigger-") as file:
        return os.dup(file.fileno())
