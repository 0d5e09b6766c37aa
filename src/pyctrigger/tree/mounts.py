"""Which kind of file system a path lies on, by the table of mounts: what root may not look at says nothing itself."""

from __future__ import annotations

import os
import re

#: Nobody can act as its owner there: all ids of a process have to be his, the real ones, too (fuse(4), allow_root).
KEPT_OUT = "it lies on a FUSE mount that lets in nobody but its owner"
MEND = "mount it with allow_root, or run it as that account"
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def lies_on_fuse(path: str) -> bool:
    """Whether a path lies on a file system of a user's (FUSE): without allow_root nobody but that user is let in."""
    found, longest = b"", -1
    for point, kind in _mounts():
        if f"{path.rstrip('/')}/".startswith(f"{point.rstrip('/')}/") and len(point) >= longest:
            found, longest = kind, len(point)
    return found == b"fuse" or found.startswith(b"fuse.")


def _mounts() -> list[tuple[str, bytes]]:
    """Each mount's point and type, in their order (proc(5), mountinfo)."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            rows = [line.split() for line in file.read(1 << 25).splitlines()]
    except OSError:  # a system without
        return []
    return [(_plain(row[4]), row[row.index(b"-") + 1]) for row in rows if b"-" in row]


def _plain(point: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), point))
