"""What a worker can do without, given up before it starts: the network, and any way to more rights than it has.

Facts: a network namespace and `no_new_privs` belong to the thread that asks for them, and a child inherits both from
the thread that starts it (unshare(2), prctl(2)). So they are given up by a thread of its own, which ends with the
start: the caller keeps everything, also where it is somebody else's program that uses us as a library.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Callable

_Child = TypeVar("_Child")

#: From <sched.h> and <linux/prctl.h>.
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
#: The descriptor of the workers' network namespace, once there is one.
_networks: list[int] = []


def confined(start: Callable[[], _Child]) -> _Child:
    """What `start` returns or raises; the child that it starts has no network, where the system lets us say so."""
    if not sys.platform.startswith("linux"):
        return start()
    children: list[_Child] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _give_up()
            children.append(start())
        except BaseException as error:  # noqa: BLE001 - the caller's to see
            errors.append(error)

    thread = threading.Thread(target=run)
    try:
        thread.start()
    except RuntimeError:  # no more threads for this account: a worker with a network beats none
        return start()
    thread.join()
    if errors:
        raise errors[0]
    return children[0]


def _leave_network(library: ctypes.CDLL) -> None:
    """Into one network namespace for all workers, with nothing in it: making one costs 0.5 ms, entering it nothing."""
    if _networks and library.setns(_networks[0], _CLONE_NEWNET) == 0:
        return
    if library.unshare(_CLONE_NEWNET) == 0 and not _networks:
        _networks.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def _give_up() -> None:
    """For this thread and its children. A container that forbids it, or a kernel without it, is no reason to stop."""
    try:
        import ctypes  # what is written needs it for syncfs(2) anyway

        library = ctypes.CDLL(None)
        zero = ctypes.c_ulong(0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
        if os.geteuid() == 0:
            _leave_network(library)
    except (ImportError, AttributeError, OSError):
        return
