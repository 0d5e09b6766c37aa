"""The account that a child starts and works under: a leased one of its own, wherever possible."""

from __future__ import annotations

import functools
import os
import stat

from ..links import follow_links
from ..typed import NamedTuple
from .elf import read_needs
from .interpreter import Account, Interpreter
from .worker_accounts import Lease

_READ_AND_SEARCH = stat.S_IROTH | stat.S_IXOTH


class Rights(NamedTuple):
    """The rights of one child."""

    account: Account | None = None
    """The account that the interpreter starts under; None for ours."""
    leased: int = -1
    """The leased uid that it has from its first source on, at the latest; -1 if it keeps what it starts with."""
    root: str | None = None
    """Directory to chroot into before it starts."""
    is_foreign: bool = False
    """Whether the interpreter isn't root's, so that it could attack a process that has its account."""

    @property
    def owner(self) -> int | None:
        """The uid of the user's account that it runs under, or None for a leased account or ours."""
        return self.account.uid if self.account and self.leased < 0 else None

    @property
    def suffix(self) -> str:
        """What a message adds to the executable: the account, if it is a user's."""
        return "" if self.owner is None else f" as account {self.owner}"

    @property
    def hint(self) -> str | None:
        """What to do if that account can't execute the interpreter; None if it runs as ourselves."""
        return self.account and hint_to_open_for("everybody" if self.owner is None else "that account")


def hint_to_open_for(who: str) -> str:
    """Returns the hint for an interpreter that an account can't execute, or whose standard library it can't read."""
    return f"let {who} read and execute it and its standard library, or name another interpreter with --python PATH"


def rights_for(interpreter: Interpreter, lease: Lease | None) -> Rights:
    """Returns the rights of a worker that has this lease.

    There is one exception to starting unprivileged: an interpreter that only root can reach, and only root may change,
    loads what it needs as root and drops its privileges before its first source. Another account's interpreter that
    nobody else can reach runs under that account. If starting it that way fails, it isn't tried with more rights.
    """
    own = Rights(interpreter.account, -1, interpreter.root, interpreter.account is not None)
    if lease is None:
        return own
    if interpreter.root is not None or is_for_everybody(interpreter):
        return own._replace(account=lease.account, leased=lease.account.uid)
    return own if own.account is not None else own._replace(leased=lease.account.uid)


def is_for_everybody(interpreter: Interpreter) -> bool:
    """Whether modes let everybody execute it, load the libraries in its RPATH, and list its standard library.

    Modes decide, since a trial run may fail for other reasons.
    """
    scheme = interpreter.schemes.get(interpreter.default_scheme, {})
    paths = [interpreter.executable, *(scheme[key] for key in ("stdlib", "platstdlib") if key in scheme)]
    if not all(_is_open((interpreter.root or "") + path) for path in paths):
        return False
    return interpreter.root is not None or all(map(_is_open, _named_libraries(interpreter.executable)))


@functools.lru_cache(maxsize=16)
def _named_libraries(executable: str) -> tuple[str, ...]:
    """Returns the libraries in a program's RPATH, as libpython may be; everybody can read the system's."""
    needs = read_needs(os.path.realpath(executable))
    if needs is None:
        return ()
    paths = (os.path.join(place, name) for name in needs.libraries for place in needs.runpath or needs.rpath)
    return tuple(filter(os.path.exists, paths))


@functools.lru_cache(maxsize=256)  # needed for each worker, and a path takes ten system calls
def _is_open(path: str) -> bool:
    modes: list[int] = []

    def examine(step: str, _: bool) -> os.stat_result:
        status = os.lstat(step)
        modes.append(status.st_mode)
        return status

    try:
        follow_links(path, examine)
    except OSError:
        return False
    # A link itself is open to everybody.
    return all(mode & stat.S_IXOTH for mode in modes) and modes[-1] & _READ_AND_SEARCH == _READ_AND_SEARCH
