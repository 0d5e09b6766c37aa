"""Leased accounts: each child that might be hijacked by what it reads runs under an unused uid of its own.

Processes of one account can read each other's memory, take over pipes, and stop each other. So an id is drawn at random
from those that neither people, directory services nor containers use, and leased under a lock. It is returned when no
process runs under it any more. The lock file of a killed host remains: the next host ends what that one left running.

Facts: `kill(-1, …)` reaches, in one step that no fork escapes, every process whose real or saved id is the sender's
effective id (kill(2)); on Linux it doesn't fail if there is none. `getpriority(PRIO_USER, …)` does. A process can
signal and trace only those with its own id as real *and* saved id: so the killer has another id in one of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Iterator

from ..forking import fork
from ..namespaces import FREE_IDS, FREE_IDS_BELOW_64K, draw_ids
from .confinement import can_become
from .interpreter import Account

_SUFFIX = ".account"
#: Seconds until killed processes must be gone. One that the kernel can't end by then doesn't run code either.
_PATIENCE = 2.0
#: Lock directories that were already searched for leases of killed hosts.
_swept: set[str] = set()


class Lease:
    """An account that only one child uses."""

    def __init__(self, uid: int, path: str | None, descriptor: int) -> None:
        self.account = Account(uid, uid)
        self._path = path
        self._descriptor = descriptor

    def end(self) -> None:
        """Kill what still runs under the account, and return it. Does nothing the second time.

        Call it after waiting for the child itself.
        """
        if self._descriptor == -1:
            return
        is_empty = _kill_processes(self.account.uid)
        if self._path is not None:
            if is_empty:  # otherwise the file stays, and a later host tries again
                with contextlib.suppress(OSError):
                    os.unlink(self._path)
            os.close(self._descriptor)
        self._descriptor = -1


def lease(place: str | None) -> Lease | None:
    """Lease an account for one child. Returns None if the child has to run as ourselves.

    That is the case if we aren't root, in a user namespace without a spare id, and where ids can't be changed. `place`
    is the directory of the lock files; if it is None or unusable, only chance keeps two hosts from drawing the same id.
    """
    if os.geteuid() != 0:
        return None
    if place is not None:
        place = _make_directory(place)
    if place is not None and place not in _swept:
        _swept.add(place)
        _sweep_leases(place)
    for uid in _draw_ids():
        if not can_become(Account(uid, uid)):
            return None
        found = Lease(uid, None, 0) if place is None else _lock_id(place, uid)
        if found is not None:
            return found
    return None


def _draw_ids() -> Iterator[int]:
    """Yields random ids that no process runs under."""
    for uid in draw_ids():
        if not _has_processes(uid) and (uid >= FREE_IDS[0][0] or uid not in _ids_with_entries()):
            yield uid


def _ids_with_entries() -> frozenset[int]:
    """Returns the ids that have an entry in /etc/passwd."""
    with contextlib.suppress(OSError), open("/etc/passwd", "rb") as file:
        fields = [line.split(b":") for line in file.read(1 << 24).splitlines()]
        return frozenset(int(each[2]) for each in fields if len(each) > 2 and each[2].isdigit())
    return frozenset()


def _has_processes(uid: int) -> bool | None:
    """Whether a process runs under an id; None if the system refuses to tell."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    except OSError:
        return None
    return True


# -- the files ---------------------------------------------------------------------------------------------------------


def _make_directory(place: str) -> str | None:
    """Make the directory if it is missing. Returns None if that fails, or others than root may write there."""
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        os.mkdir(place, 0o700)
    try:
        status = os.lstat(place)
    except OSError:
        return None
    is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022
    return place if is_own else None


def _lock_id(place: str, uid: int) -> Lease | None:
    """Lease an id; None if another process has it. Without locks, or space for a file, the lease isn't recorded."""
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


def _sweep_leases(place: str) -> None:
    """Kill what killed hosts have left running, and remove their leases."""
    try:
        names = [name for name in os.listdir(place) if name.endswith(_SUFFIX)]
    except OSError:
        return
    for name in names:
        digits = name[: -len(_SUFFIX)]
        uid = int(digits) if digits.isdigit() else 0
        if any(first <= uid <= last for first, last in (*FREE_IDS, *FREE_IDS_BELOW_64K)):
            left = _lock_id(place, uid)
            if left is not None:
                left.end()


# -- the end -----------------------------------------------------------------------------------------------------------


def _kill_processes(uid: int) -> bool:
    """Kill all processes that run under an id. Returns whether they are gone."""
    if _has_processes(uid) is False:
        return True
    killer = next(_draw_ids(), None)
    if killer is None or killer == uid:
        return False
    child = fork()  # the child makes only system calls
    if not child:
        try:
            _kill_all(uid, killer)
        finally:
            os._exit(0)
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored: the child ends anyway
        os.waitpid(child, 0)
    return not _has_processes(uid)


def _kill_all(uid: int, killer: int) -> None:
    """Kill all processes under `uid`, as `killer`; to be called in a forked child."""
    host = os.getppid()
    os.setgroups([])
    os.setresgid(killer, killer, killer)
    os.setresuid(killer, uid, killer)
    if os.getresuid() != (killer, uid, killer):
        return
    try:
        os.kill(host, 0)  # 0 for a host that isn't seen from here means ourselves, and succeeds
    except PermissionError:
        pass
    else:
        return  # a capability is left, with which kill(-1) would end the whole machine
    deadline = time.monotonic() + _PATIENCE
    pause = 0.001
    while time.monotonic() < deadline:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        if not _has_processes(uid):
            return
        time.sleep(pause)
        pause = min(0.05, 2 * pause)
