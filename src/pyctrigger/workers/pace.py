"""When to look at the workers again.

Each look takes CPU time from a worker, and more than its own, since host and worker evict each other's data from the
caches. A host that reads every answer as it comes uses 1.6 times the processor time of one that reads some thirty at
once. So it sleeps while every worker has enough to do, which the pipes tell: how long a source takes can't be known,
and sources of one size differ by a factor of ten.
"""

from __future__ import annotations

import fcntl
import sys
import time
from collections.abc import Collection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .worker import Worker

#: Seconds. Progress must not seem to stall, nor a lost worker stay unnoticed for long.
_LONGEST = 0.05
#: Seconds between two questions to the pipes: at 2 ms they take 2 % more of all processor time.
_SLICE = 0.005
#: Bytes of requests, some 5 ms of work. Who waits for less gets the answer at once.
_LEAST = 32 << 10


def rest_while_busy(workers: Collection[Worker]) -> None:
    """Sleep until a worker has read three quarters of its requests, or has filled half of its pipe with answers."""
    end = time.monotonic() + _LONGEST
    while workers and all(map(_has_enough, workers)) and time.monotonic() < end:
        time.sleep(_SLICE)


def _has_enough(worker: Worker) -> bool:
    if not worker.is_ready or worker.outstanding < _LEAST:
        return False
    try:
        return 4 * _bytes_in(worker.input) > worker.outstanding and _bytes_in(worker.output) < worker.room
    except OSError:  # some sandboxes refuse ioctl(2)
        return False


def _bytes_in(pipe: int) -> int:
    """Returns how many bytes of a pipe nobody has read yet (FIONREAD). Raises OSError."""
    import termios  # few hooks have so much to compile

    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
