"""`--proof`: the word `done` in a file, for a caller that can't tell a killed command from one that ended.

FreeBSD's pkg takes a child's death by a signal for success (pkg-triggers(5), pkg.exec).
"""

from __future__ import annotations

import os
import stat

from ..errors import LockTimeoutError, PyctriggerError, RefusedError, UsageError
from ..interpreter.trust import require_own
from ..outcome.report import Report

_WORD = b"done\n"


def prove(path: str, report: Report) -> None:
    """Replace the file's contents by the word if the work is done, or is in the journal. Errors go into the report."""
    # A run that waited for the lock in vain has left its work in the journal.
    if not all(isinstance(error, LockTimeoutError) for error in report.errors):
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "wb") as file:
            require_own(os.path.dirname(os.path.abspath(path)), "proof")
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
                raise RefusedError(
                    f"--proof {path} isn't a regular file that only this account can change", hint="name one that is"
                )
            file.truncate()
            file.write(_WORD)
    except OSError as error:
        report.errors.append(UsageError(f"--proof {path}: {error.strerror}", hint="name a file that can be written"))
    except PyctriggerError as error:
        report.errors.append(error)
