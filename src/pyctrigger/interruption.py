"""Ctrl-C at any moment is one line: while the program starts, while it works, and when it is done.

Python's own handler raises an exception wherever it happens to be, also between two imports, where nobody catches it.
The one of ours ends the process as long as nothing has begun; then it raises, once; and when all is done it is deaf.
Only the command does that, never a library call, and never where SIGINT was ignored when it started (`command &`).
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # `signal` makes enumerations of what this has
import os
import sys

EXIT_CODE = 130
MESSAGE = "pyctrigger: interrupted; run it again to finish"

#: Seconds, in which the finalizer is left.
_A_MOMENT = 0.001

_raised = False


def watch(*, ignored: bool = False) -> None:
    """Begin to heed it; `ignored`: also if it is ignored, since our launcher does that until we are here."""
    found = signal.getsignal(signal.SIGINT)
    if found is signal.default_int_handler or (ignored and found == signal.SIG_IGN):
        signal.signal(signal.SIGINT, _end)


def begin() -> None:
    """There is something to undo from now on: raise KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) in (_end, _raise_once):
        signal.signal(signal.SIGINT, _raise_once)
        sys.unraisablehook = _raise_again


def has_come() -> bool:
    """Whether KeyboardInterrupt was raised: whatever exception arrives after it is what others made of it.

    Python makes a RuntimeError of one that leaves `__set_name__` (up to 3.11: each cached property of a class), an
    import or a library's code may wrap it, too.
    """
    return _raised


def handled() -> None:
    """The exception has been caught: Python may end with the code that it is told.

    CPython notes an interrupt that left an eval() (each NamedTuple's class is made by one) as unhandled for good, and
    at the end kills itself by SIGINT (bpo-1054041, `unhandled_keyboard_interrupt`). The next eval() takes that back.
    """
    eval("0")  # noqa: S307 - as said


def finish() -> None:
    """All is done: there is nothing left to interrupt."""
    if signal.getsignal(signal.SIGINT) is _raise_once:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGALRM) is _raise_once:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _end(*_: object) -> None:
    try:
        os.write(2, MESSAGE.encode() + b"\n")
    finally:
        os._exit(0 if "--hook" in sys.argv else EXIT_CODE)


def _raise_once(*_: object) -> None:
    global _raised  # noqa: PLW0603 - a process is interrupted once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the undoing
    _raised = True
    raise KeyboardInterrupt


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """No exception leaves a finalizer or a callback (an import has one); so raise it again, a moment later."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, _raise_once)
    try:
        signal.setitimer(signal.ITIMER_REAL, _A_MOMENT)
    except OSError:  # a system that refuses it: the next one is heard
        signal.signal(signal.SIGINT, _raise_once)
