"""The account that a worker starts and compiles under: a leased one of its own, wherever possible."""

from __future__ import annotations

from typing import NamedTuple

from ..interpreter.interpreter import Account, Interpreter
from ..interpreter.reach import is_for_everybody
from ..interpreter.worker_accounts import Lease

#: A worker, and the child in which it compiles some sources.
_MAX_PROCESSES = 2


class Rights(NamedTuple):
    """Account and process limit of one worker."""

    start: Account | None
    """The account that the interpreter starts under; None for ours."""
    serve: int
    """The uid that it must change to before its first source; -1 to keep the one that it starts with."""
    processes: int
    """The most processes under its uid; 0 for no limit."""

    @property
    def owner(self) -> int | None:
        """The uid of the user's account that it runs under, or None for a leased account or ours."""
        return self.start.uid if self.start and self.serve < 0 else None


def rights_for(interpreter: Interpreter, lease: Lease | None) -> Rights:
    """Returns the rights of a worker that has this lease.

    There is one exception to starting unprivileged: an interpreter that only root can reach, and only root may change,
    loads what it needs as root and drops its privileges before its first source. Another account's interpreter that
    nobody else can reach runs under that account. If starting it that way fails, it isn't tried with more rights.
    """
    if lease is None:
        return Rights(interpreter.account, -1, 0)
    own = Rights(lease.account, lease.account.uid, _MAX_PROCESSES)
    if interpreter.root is not None or is_for_everybody(interpreter):
        return own
    if interpreter.account is not None:
        return Rights(interpreter.account, -1, 0)
    return own._replace(start=None)
