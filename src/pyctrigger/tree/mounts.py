"""Type of the file system that holds a path, from the mount table: root may not be able to stat the path itself."""

from __future__ import annotations

import os
import re

#: Effective ids aren't enough there: FUSE wants all ids of a process to be the owner's, real ones included (fuse(4)).
KEPT_OUT = "it is on a FUSE mount that only its owner can enter"
HINT_FOR_FUSE = "mount it with allow_root, or run it as that account"
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def lies_on_fuse(path: str) -> bool:
    """Whether a path lies on a FUSE mount. Without allow_root or allow_other only the user who mounted it gets in."""
    kind = b""
    for point, found in sorted(_read_mounts(), key=lambda mount: len(mount[0])):  # of two at one point the later one
        if f"{path}/".startswith(f"{point.rstrip('/')}/"):
            kind = found
    return kind == b"fuse" or kind.startswith(b"fuse.")


def _read_mounts() -> list[tuple[str, bytes]]:
    """Returns the mount point and type of each mount, in order (proc(5), mountinfo)."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            rows = [line.split() for line in file.read(1 << 25).splitlines()]
    except OSError:  # a system without mountinfo
        return []
    return [(_unescape(row[4]), row[row.index(b"-") + 1]) for row in rows if b"-" in row]


def _unescape(point: bytes) -> str:
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), point))
