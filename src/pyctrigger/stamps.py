"""What a status says of a file: which one it is, and which state of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from operator import attrgetter

#: Which file it is, whatever it's called: device and inode.
inode_of: Callable[[os.stat_result], tuple[int, int]] = attrgetter("st_dev", "st_ino")
#: Which state of a file it is: device, inode, size, mtime and ctime in nanoseconds. A changed file with the same stamp
#: would need a forged ctime.
stamp_of: Callable[[os.stat_result], tuple[int, ...]] = attrgetter(
    "st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"
)
