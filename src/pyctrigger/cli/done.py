"""The word `done` in a file: the proof for a caller who can't tell a command that was killed from one that ended.

FreeBSD's pkg takes a child's death by a signal for success (pkg-triggers(5), pkg.exec).
"""

from __future__ import annotations

import os
import stat

from ..errors import LockTimeoutError, RefusedError, UsageError
from ..interpreter.trust import require_own
from ..outcome.report import Report

_WORD = b"done\n"


def prove(path: str, report: Report) -> None:
    """Leave the word in place of what stands in the file, if the work came to its end, or stays in the journal.

    Raises UsageError for a file that can't be written, RefusedError for one that others could have put there.
    """
    # Who waited in vain for the lock has left the work in the journal.
    if not all(isinstance(error, LockTimeoutError) for error in report.errors):
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "wb") as file:
            require_own(os.path.dirname(os.path.abspath(path)), "proof")
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
                raise RefusedError(f"--proof {path} is no file of this account's alone", hint="name one that is")
            file.truncate()
            file.write(_WORD)
    except OSError as error:
        raise UsageError(f"--proof {path}: {error.strerror}", hint="name a file that is there to be written") from error
