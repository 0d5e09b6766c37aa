"""With whose rights a worker starts and compiles: those of an account of its own, wherever one can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..interpreter.reach import is_for_everybody

if TYPE_CHECKING:
    from ..interpreter.accounts import Lease
    from ..interpreter.interpreter import Account, Interpreter

#: A worker, and the fork in which it compiles some sources.
_MOST_PROCESSES = 2


class Rights(NamedTuple):
    """What one worker gets."""

    start: Account | None
    """As whom the interpreter starts; None: as we are."""
    serve: int
    """The id that it must have before its first source; -1: the one that it starts with."""
    processes: int
    """How many of them there may be under its id; 0: as many as there may be."""

    @property
    def owner(self) -> int | None:
        """The person's account that it runs as, if it does."""
        return self.start.uid if self.start and self.serve < 0 else None


def rights_for(interpreter: Interpreter, lease: Lease | None) -> Rights:
    """The rights of a worker that has this lease.

    The one exception to starting without rights is an interpreter that only root can reach, and only root may change:
    it loads what it needs, and gives up its rights before its first source. A stranger's that nobody else can reach
    runs as that stranger. Whatever can't be started so isn't started with more.
    """
    if lease is None:
        return Rights(interpreter.account, -1, 0)
    own = Rights(lease.account, lease.account.uid, _MOST_PROCESSES)
    if interpreter.root is not None or is_for_everybody(interpreter):
        return own
    if interpreter.account is not None:
        return Rights(interpreter.account, -1, 0)
    return own._replace(start=None)
