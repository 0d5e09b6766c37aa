"""What happens to the files of directories, as the kernel tells it (inotify(7)): nothing is too short to be noticed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: IN_OPEN, IN_DELETE, IN_MOVED_FROM.
OPENED, DELETED, MOVED_AWAY = 0x20, 0x200, 0x40
_IS_DIRECTORY, _OVERFLOW = 0x40000000, 0x4000


@contextlib.contextmanager
def events_in(directories: list[Path], kinds: int) -> Iterator[Callable[[], list[Path]]]:
    """What gives the files to which something of these kinds has happened in these directories."""
    library = ctypes.CDLL(None)
    descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0
    watched = {library.inotify_add_watch(descriptor, os.fsencode(path), kinds): path for path in directories}
    assert -1 not in watched

    def read() -> list[Path]:
        found, events = [], b""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(descriptor, 1 << 20):
                events += piece
        while events:
            watch, mask, _, size = struct.unpack_from("iIII", events)
            name, events = events[16 : 16 + size].rstrip(b"\0"), events[16 + size :]
            assert not mask & _OVERFLOW
            if not mask & _IS_DIRECTORY:
                found.append(watched[watch] / os.fsdecode(name))
        return found

    try:
        yield read
    finally:
        os.close(descriptor)
