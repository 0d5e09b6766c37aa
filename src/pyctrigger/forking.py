"""Forks of a process that may have threads: a program that uses the library."""

from __future__ import annotations

import os
import warnings


def fork() -> int:
    """What os.fork() gives, without the warning that Python 3.12 and later have for a program with threads.

    Other threads may hold locks that are never free in the child: it takes none of them, but for those that Python and
    the C library free there. Raises OSError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
