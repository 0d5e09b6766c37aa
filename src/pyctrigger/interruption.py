"""Ctrl-C prints one line and no traceback at any moment: while the program starts, works, and exits.

Python's own handler raises an exception wherever the program happens to be, also between two imports, where nothing
catches it. Ours ends the process as long as no work has begun; then it raises, once; and it ignores the signal when all
is done. Only the command installs it, never a library call, and never where SIGINT was ignored at the start (`command
&`).
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found] # `signal` makes enumerations of what this has
import os
import sys

EXIT_CODE = 130
MESSAGE = "pyctrigger: interrupted; run it again to finish"

#: Seconds. Long enough for the interpreter to leave the finalizer.
_REDELIVERY_DELAY = 0.001

_raised = False


def watch(*, ignored: bool = False) -> None:
    """Install the handler. `ignored`: also where SIGINT is ignored, as our launcher has it until we get here."""
    found = signal.getsignal(signal.SIGINT)
    if found is signal.default_int_handler or (ignored and found == signal.SIG_IGN):
        signal.signal(signal.SIGINT, _exit_at_once)


def begin() -> None:
    """Raise KeyboardInterrupt from now on, so that `finally` blocks run: there is work to undo."""
    if signal.getsignal(signal.SIGINT) in (_exit_at_once, _raise_once):
        signal.signal(signal.SIGINT, _raise_once)
        sys.unraisablehook = _raise_later


def has_come() -> bool:
    """Whether KeyboardInterrupt was raised. Any exception after it is the same one, wrapped.

    Up to 3.11 Python turns one that leaves `__set_name__` (each cached property of a class) into a RuntimeError; an
    import or a library may wrap it, too.
    """
    return _raised


def handled() -> None:
    """Clear CPython's note of an unhandled interrupt, so that the process exits with the given code.

    CPython marks an interrupt that left an eval() (each NamedTuple's class is made by one) as unhandled for good, and
    kills itself by SIGINT at exit (bpo-1054041, `unhandled_keyboard_interrupt`). The next eval() clears the mark.
    """
    eval("0")  # noqa: S307 - a constant


def finish() -> None:
    """Ignore the signal: all work is done, and there is nothing left to interrupt.

    One that has come, and was caught by whoever did the work, doesn't change the exit code any more.
    """
    if signal.getsignal(signal.SIGINT) is _raise_once:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.getsignal(signal.SIGALRM) is _raise_once:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    if _raised:
        handled()


def _exit_at_once(*_: object) -> None:
    try:
        os.write(2, MESSAGE.encode() + b"\n")
    finally:
        os._exit(0 if "--hook" in sys.argv else EXIT_CODE)


def _raise_once(*_: object) -> None:
    global _raised  # noqa: PLW0603 - a process is interrupted once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would interrupt the clean-up
    _raised = True
    raise KeyboardInterrupt


def _raise_later(unraisable: sys.UnraisableHookArgs) -> None:
    """Raise the interrupt again a moment later: no exception leaves a finalizer or a callback (an import has one)."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGALRM, _raise_once)
    try:
        signal.setitimer(signal.ITIMER_REAL, _REDELIVERY_DELAY)
    except OSError:  # setitimer is refused: the next Ctrl-C counts
        signal.signal(signal.SIGINT, _raise_once)
