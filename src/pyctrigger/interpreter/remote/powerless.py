"""Run by the target: gives up every right for good, and proves it. The host's own children do it with this, too.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported, and nothing done by importing.
What it imports late is imported by `bound`, before the rights go: whoever has none may not be able to read it.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: F401 - in a comment


def bound(processes: int = 2, memory: int = 0, seconds: int = 0) -> bool:
    """Bound this process: how many of its account's there are, its core file, what it writes, what it has open.

    `memory` is its address space in bytes, `seconds` its processor time; 0: as it is, and so for the processes.

    False where a limit can't be had: whoever started us may see to it.
    """
    try:
        import resource
    except ImportError:  # Debian's python3.15-minimal has none
        return False
    good = True
    for name, wanted in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_NPROC", processes),
        ("RLIMIT_AS", memory),
        ("RLIMIT_CPU", seconds),
    ):
        if not wanted and name in ("RLIMIT_NPROC", "RLIMIT_AS", "RLIMIT_CPU"):
            continue
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        try:
            hard = resource.getrlimit(kind)[1]
            allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (allowed, allowed))
        except (ValueError, OSError):
            good = False  # a system that refuses one limit still gets the others
    return good


def become(uid: int, gid: int) -> None:
    """Take an account for good, and prove it. Raises OSError."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    require_powerless(uid, gid)


def require_powerless(uid: int, gid: int) -> None:
    """Raise PermissionError unless this process has nothing but that account, and no way back.

    Securebits (capabilities(7)) can keep all capabilities over a change of ids.
    """
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or not set(os.getgroups()) <= {gid}:
        raise PermissionError("it has another account than it was given")
    for regain, what in ((os.setuid, 0), (os.setgid, 0), (os.setgroups, [0])):  # type: Callable[[Any], None], Any
        try:
            regain(what)
        except OSError:
            continue
        raise PermissionError("it can have rights again that it gave up")
