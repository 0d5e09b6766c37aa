"""Resets what this process inherited: ignored and blocked signals, and low soft limits.

All three survive execve(2), and aren't meant for us: with SIGCHLD ignored, a child's exit status is lost; with SIGPROF
or SIGIO blocked, a worker notices neither its time limit nor our end; and `ulimit -S` limits everything that is started
from the same shell. Signals that a terminal sends may stay ignored: that is what `nohup` and `&` are for.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` makes enumerations of what this has, and an idle hook needs none
import contextlib

_KEPT = tuple(
    getattr(_signal, name)
    # Python itself ignores the last two, and raises OSError instead.
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGPIPE", "SIGXFSZ")
    if hasattr(_signal, name)
)
#: What is enough, if more is allowed. 3.14 refuses a source by the room that is left on its stack.
_ENOUGH = {"RLIMIT_NOFILE": 1024, "RLIMIT_STACK": 8 << 20}
_LIMITS = (*_ENOUGH, "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_NPROC")


def reset_inherited() -> None:
    """Reset signals and limits. Only for the main thread of a process that is entirely ours."""
    for number in range(1, _signal.NSIG):
        # Python knows since its start what the caller ignored: this needs no system call.
        if number not in _KEPT and _signal.getsignal(number) == _signal.SIG_IGN:
            with contextlib.suppress(OSError, ValueError):
                _signal.signal(number, _signal.SIG_DFL)
    with contextlib.suppress(OSError):
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _raise_soft_limits()


def _raise_soft_limits() -> None:
    try:
        import resource
    except ImportError:
        return
    for name in _LIMITS:
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        with contextlib.suppress(OSError, ValueError):  # a limit that can't be read or set stays as it is
            soft, hard = resource.getrlimit(kind)
            if soft in (hard, resource.RLIM_INFINITY):
                continue
            enough = _ENOUGH.get(name)
            wanted = hard if enough is None else enough if hard == resource.RLIM_INFINITY else min(enough, hard)
            if wanted == resource.RLIM_INFINITY or wanted > soft:
                resource.setrlimit(kind, (wanted, hard))
