"""An attacker that exchanges two names, as fast as the system can, while root works there (renameat2(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Exchanges pairs of names until it is ended; a pair of which one is gone is left out for the moment. The first line
#: says that it has begun, the last how many exchanges there were.
_PROGRAM = """
import ctypes, os, signal, sys
renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
pairs = [tuple(os.fsencode(name) for name in pair.split("|")) for pair in sys.argv[2:]]
ended, done = [], 0
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
print("ready", flush=True)
while not ended:
    for one, other in pairs:
        done += renameat2(-100, one, -100, other, 2) == 0
print(done)
"""


class Exchanges:
    """How many there were, once they have ended."""

    done = 0


def can_exchange() -> bool:
    """Whether the C library and the kernel have the call."""
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "renameat2")


@contextlib.contextmanager
def exchanging(
    pairs: Sequence[tuple[os.PathLike[str], os.PathLike[str]]], uid: int, gid: int, groups: Sequence[int] = ()
) -> Iterator[Exchanges]:
    """An account exchanges the names of each pair, again and again."""
    named = [f"{os.fspath(one)}|{os.fspath(other)}" for one, other in pairs]
    child = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", _PROGRAM, "", *named],
        stdout=subprocess.PIPE,
        user=uid,
        group=gid,
        extra_groups=list(groups),
        cwd="/",
    )
    assert child.stdout
    exchanges = Exchanges()
    try:
        assert child.stdout.readline() == b"ready\n"
        yield exchanges
        child.terminate()
        exchanges.done = int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
