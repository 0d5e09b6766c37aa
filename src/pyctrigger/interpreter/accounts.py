"""Accounts of nobody's: each child that could be taken over has one, alone, for as long as it runs.

Whoever shares an account with a process can read its memory, take its pipes, stop it, and outlive it. So an id is
drawn at random from those that neither people, directories nor containers have, and leased under a lock. It is given
back when nothing runs under it any more. The file of a host that was killed stays: whoever comes next ends what that
host left behind.

Facts: `kill(-1, …)` reaches, in one step that no fork escapes, every process whose real or saved id is the sender's
effective id (kill(2)); on Linux it never says that there was nobody. `getpriority(PRIO_USER, …)` does. A process can
signal and trace only what has its own id as real *and* saved one: so whoever ends them has another id there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from typing import TYPE_CHECKING

from ..forking import fork
from ..namespaces import mapped_for_both
from .confinement import can_become
from .interpreter import Account

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What containers (below 1879048192) and directories (SSSD's end at 2000200000) leave free, up to systemd's range for
#: foreign files.
_FREE = ((2_000_200_001, 2_147_352_575),)
#: What systemd's table of ids leaves unused, for a user namespace that maps the usual 65,536.
_FREE_BELOW_64K = ((60_578, 61_183), (65_520, 65_533))
_SUFFIX = ".account"
_MOST_DRAWS = 100
#: Seconds until what was killed has to be gone. What the kernel can't end by then runs no more code of its own either.
_PATIENCE = 2.0
#: Where what a killed host has left was looked for already.
_swept: set[str] = set()


class Lease:
    """An account that one child has, and nobody else."""

    def __init__(self, uid: int, path: str | None, descriptor: int) -> None:
        self.account = Account(uid, uid)
        self._path = path
        self._descriptor = descriptor

    def end(self) -> None:
        """End what still runs under it, and give it back; at once where it was given back already.

        To be called when the child itself has been waited for.
        """
        if self._descriptor == -1:
            return
        is_empty = _empty(self.account.uid)
        if self._path is not None:
            if is_empty:  # else the file stays, and somebody tries again
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
            os.close(self._descriptor)
        self._descriptor = -1


def lease(place: str | None) -> Lease | None:
    """An account for one child; None where the child has to be as we are.

    That is so for everybody but root, in a namespace without an id to spare, and where ids can't be changed. `place` is
    the directory of the locks; without one, or where it can't be had, only chance keeps two hosts apart.
    """
    if os.geteuid() != 0:
        return None
    if place is not None:
        place = _usable(place)
    if place is not None and place not in _swept:
        _swept.add(place)
        _sweep(place)
    for uid in _draws():
        if not can_become(Account(uid, uid)):
            return None
        found = Lease(uid, None, 0) if place is None else _locked(place, uid)
        if found is not None:
            return found
    return None


def _draws() -> Iterable[int]:
    """Ids at random that nothing runs under; none where there are none."""
    ranges = mapped_for_both(_FREE) or mapped_for_both(_FREE_BELOW_64K)
    taken = _named() if ranges and ranges[0][0] < _FREE[0][0] else frozenset()
    count = sum(last - first + 1 for first, last in ranges)
    for _ in range(_MOST_DRAWS if count else 0):
        at = int.from_bytes(os.urandom(8), "little") % count
        for first, last in ranges:
            if at <= last - first:
                if first + at not in taken and is_unused(first + at):
                    yield first + at
                break
            at -= last - first + 1


def _named() -> frozenset[int]:
    """The ids that this system has given a name."""
    try:
        with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
            fields = [line.split(":") for line in file.read(1 << 24).splitlines()]
    except OSError:
        return frozenset()
    return frozenset(int(each[2]) for each in fields if len(each) > 2 and each[2].isdigit())


def is_unused(uid: int) -> bool:
    """Whether nothing runs under an id; also where the system refuses to say."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except OSError:
        return True
    return False


# -- the files ---------------------------------------------------------------------------------------------------------


def _usable(place: str) -> str | None:
    """The directory, made if it isn't there; None if it can't be had, or isn't root's alone."""
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        os.mkdir(place, 0o700)
    try:
        status = os.lstat(place)
    except OSError:
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022
    return place if is_own else None


def _locked(place: str, uid: int) -> Lease | None:
    """The lease of an id; None if somebody else has it. Without locks, or room for a file, none is written down."""
    import fcntl

    path = os.path.join(place, f"{uid}{_SUFFIX}")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return Lease(uid, None, 0)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return Lease(uid, path, descriptor)
    except BlockingIOError:
        pass
    except OSError:
        os.unlink(path)
        os.close(descriptor)
        return Lease(uid, None, 0)
    os.close(descriptor)
    return None


def _sweep(place: str) -> None:
    """End what killed hosts have left running, and forget their leases."""
    try:
        names = [name for name in os.listdir(place) if name.endswith(_SUFFIX)]
    except OSError:
        return
    for name in names:
        digits = name[: -len(_SUFFIX)]
        if not digits.isdigit() or not _is_ours(int(digits)):
            continue
        left = _locked(place, int(digits))
        if left is not None:
            left.end()


def _is_ours(uid: int) -> bool:
    return any(first <= uid <= last for first, last in (*_FREE, *_FREE_BELOW_64K))


# -- the end -----------------------------------------------------------------------------------------------------------


def _empty(uid: int) -> bool:
    """End everything that runs under an id; whether it is gone."""
    is_silent = _is_silent()
    if not is_silent and is_unused(uid):
        return True
    killer = next(iter(_draws()), None)
    if killer is None or killer == uid:
        return False
    child = fork()  # it makes nothing but system calls
    if not child:
        status = 1
        try:
            status = 0 if _kill_all(uid, killer) else 1
        finally:
            os._exit(status)
    with contextlib.suppress(ChildProcessError):  # where nobody may wait for a child, it ends all the same
        os.waitpid(child, 0)
    return is_silent or is_unused(uid)


def _is_silent() -> bool:
    """Whether this system refuses to say who runs under an id."""
    try:
        os.getpriority(os.PRIO_USER, os.getuid())
    except OSError:
        return True
    return False


def _kill_all(uid: int, killer: int) -> bool:
    """In a process of its own: kill everything under `uid`, as `killer`; whether it is gone."""
    host = os.getppid()
    os.setgroups([])
    os.setresgid(killer, killer, killer)
    os.setresuid(killer, uid, killer)
    if os.getresuid() != (killer, uid, killer) or host <= 0:
        return False
    try:
        os.kill(host, 0)
    except PermissionError:
        pass
    else:
        return False  # with a capability left it would end the whole machine
    deadline = time.monotonic() + _PATIENCE
    pause = 0.001
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        if is_unused(uid):
            return True
        time.sleep(pause)
        pause = min(0.05, 2 * pause)
    return False
