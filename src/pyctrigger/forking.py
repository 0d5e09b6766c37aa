"""os.fork() in a process that may have threads, such as a program that uses the library."""

from __future__ import annotations

import os
import warnings


def fork() -> int:
    """Call os.fork() without the warning that Python 3.12 and later give in a process with threads.

    Locks that other threads hold are never released in the child, so it must take none, except those that Python and
    the C library reset after a fork. Raises OSError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
