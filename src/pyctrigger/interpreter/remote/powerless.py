"""Run by the target: drops all privileges for good, and proves it; ends with its host. Our own children use it, too.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported, no side effects of the import.
`bound` does late imports before privileges are dropped: an unprivileged account may not be able to read the module.
"""

import _signal as signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: F401 - in a comment


def bound(processes: int = 0, memory: int = 0, seconds: int = 0, pid: int = 0) -> bool:
    """Set resource limits of this process: processes of its account, core file, file size, and open files.

    `memory` is its address space in bytes, `seconds` its CPU time; 0 leaves a limit unchanged. With a `pid` they are
    those of another process, if the system has prlimit(2): a worker can't set its own if its target has no module
    `resource`, as Debian's python3.15-minimal. Returns False if a limit can't be set.
    """
    try:
        import resource
    except ImportError:
        return False
    is_complete = True
    limits = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 64}
    given = (("RLIMIT_NPROC", processes), ("RLIMIT_AS", memory), ("RLIMIT_CPU", seconds))
    limits.update(each for each in given if each[1])
    for name, wanted in limits.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        try:
            hard = (resource.prlimit(pid, kind) if pid else resource.getrlimit(kind))[1]
            allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            if pid:
                resource.prlimit(pid, kind, (allowed, allowed))
            else:
                resource.setrlimit(kind, (allowed, allowed))
        except (AttributeError, ValueError, OSError):
            is_complete = False  # go on with the other limits
    return is_complete


def become(uid: int, gid: int) -> None:
    """Change to an account for good, and prove it. Raises OSError."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    require_powerless(uid, gid)


def require_powerless(uid: int, gid: int) -> None:
    """Raise PermissionError unless this process has only that account's ids, and can't get others back.

    With securebits (capabilities(7)) a process can keep all capabilities when its ids change.
    """
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3 or not set(os.getgroups()) <= {gid}:
        raise PermissionError("it has the wrong ids")
    for regain, what in ((os.setuid, 0), (os.setgid, 0), (os.setgroups, [0])):  # type: Callable[[Any], None], Any
        try:
            regain(what)
        except OSError:
            continue
        raise PermissionError("it can regain privileges that it dropped")


def die_with_host(lifeline: int) -> None:
    """Let the kernel kill us when the host's end of the pipe `lifeline` closes, even in the middle of compile().

    SIGIO's default action ends a process on Linux (fcntl(2), F_SETOWN); FreeBSD ignores SIGIO, but has procctl(2).
    Changing ids undoes neither. Raises OSError.
    """
    import fcntl
    import select

    try:
        if sys.platform.startswith("freebsd"):
            import ctypes

            PROC_PDEATHSIG_CTL, P_PID = 11, 0
            wanted = ctypes.c_int(signal.SIGKILL)
            procctl = ctypes.CDLL(None, use_errno=True).procctl
            procctl.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p]
            procctl(P_PID, 0, PROC_PDEATHSIG_CTL, ctypes.byref(wanted))
        else:
            signal.signal(signal.SIGIO, signal.SIG_DFL)
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    finally:
        # The host may have died before the signal was set up.
        try:
            is_over = bool(select.select([lifeline], [], [], 0)[0])  # poll(2) fails with RLIMIT_NOFILE 0
        except ValueError:  # the descriptor is too high for select(2)
            poller = select.poll()
            poller.register(lifeline, 0)
            is_over = bool(poller.poll(0))
        if is_over:
            os._exit(0)
