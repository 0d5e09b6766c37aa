"""What has to be true of the tree, the state and the system whenever nothing is at work."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from processes import children_of

from .site import PYCACHE

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from .site import Site

#: For each interpreter: manifest with its helpers, journal, and what each release may add. What grows passes it.
_MOST_STATE_FILES, _MOST_LOCK_FILES = 12, 4
#: Seconds in which a worker notices that its host is gone.
_GRACE = 20.0


def tree_faults(site: Site) -> Iterator[str]:
    """Sources and other programs' files are untouched; nothing of ours is left but pycs."""
    unseen = dict(site.files)
    strangers = dict(site.strangers)
    for directory, directories, names in site.walk():
        # Beside other things an empty `__pycache__` is none of an importer's business.
        if directory and not names and directories in ([], [PYCACHE]) and not _has_files(site, directory):
            yield f"{directory!r} has no file"
        for name in names:
            path = os.path.join(directory, name)
            if name.startswith(b".pyctrigger-") or b".soak-new" in name:
                yield f"residue {path!r}"
            if path in strangers:
                if _bytes(site.path(path)) != strangers.pop(path):
                    yield f"another program's {path!r} was changed"
            elif os.path.basename(directory) != PYCACHE and not os.path.islink(site.path(path)):
                file = unseen.pop(path, None)
                status = os.stat(site.path(path))
                if file is None:
                    yield f"{path!r} is there and shouldn't be"
                elif (_bytes(site.path(path)), status.st_mtime_ns) != (file.data, file.mtime):
                    yield f"{path!r} was changed"
    yield from (f"{path!r} is gone" for path in unseen)
    yield from (f"another program's {path!r} is gone" for path in strangers)


def state_faults(state: Path, flavours: int, damaged: Container[str]) -> Iterator[str]:
    """Nothing is pending, and nothing grows: what a killed writer left may stay for a while."""
    entries = [path for path in state.glob("*/journal/*.json") if path.name not in damaged]
    yield from (f"still pending: {path}: {path.read_text(errors='replace')[:1000]}" for path in entries)
    files = [path for path in state.rglob("*") if path.is_file() and path.name not in damaged]
    if len(files) > _MOST_STATE_FILES * flavours:
        yield f"{len(files)} files of state: {', '.join(path.name for path in files[:40])}"


def lock_faults(locks: Path, flavours: int) -> Iterator[str]:
    """Nothing grows."""
    names = sorted(os.listdir(locks)) if locks.is_dir() else []
    if len(names) > _MOST_LOCK_FILES * flavours:
        yield f"{len(names)} files of locks: {', '.join(names)}"


def process_faults(ours: Container[int]) -> Iterator[str]:
    """No process is left over; those that lost their parent are this process's children (see `adopt_orphans`)."""
    deadline = time.monotonic() + _GRACE
    while True:
        left = [pid for pid in children_of(os.getpid()) if pid not in ours and not _reaped(pid)]
        if not left:
            return
        if time.monotonic() > deadline:
            yield from (f"process {pid} is left over: {_bytes(b'/proc/%d/cmdline' % pid)!r}" for pid in left)
            return
        time.sleep(0.05)


def outside_of(directory: Path) -> list[tuple[object, ...]]:
    """What a directory that is none of a hook's business looks like."""
    found: list[tuple[object, ...]] = []
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((str(path), status.st_mode, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, data))
    return found


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # it was gone already
        return True


def _has_files(site: Site, directory: bytes) -> bool:
    """Whether there are others' files in a directory's `__pycache__`; if it is one itself, whether it may be empty."""
    if os.path.basename(directory) == PYCACHE:
        return len(os.listdir(site.path(os.path.dirname(directory)))) > 1
    pycache = site.path(os.path.join(directory, PYCACHE))
    return os.path.isdir(pycache) and bool(os.listdir(pycache))


def _bytes(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
