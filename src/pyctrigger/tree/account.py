"""Groups of an account, from the system's databases (nsswitch.conf(5)), or an unused group for one without an entry.

A database may be a network service that hangs. So it is queried in a child process, with a deadline.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from ..forking import fork
from ..namespaces import draw_ids, is_unmapped_group

#: Seconds to wait for the databases, and seconds during which they aren't asked again after a time-out.
PATIENCE = 10.0
_RETRY_AFTER = 60.0
_END = b"."


class AccountUnknownError(Exception):
    """The groups of an account can't be found out; the text says why."""


class _Databases:
    """When the databases may be asked again. A tree may belong to any number of accounts, and we hold the lock."""

    silent_until = 0.0


def look_up_groups(uid: int) -> tuple[int, ...]:
    """Returns an account's groups, its own before the others.

    Raises AccountUnknownError if the databases don't answer, or recently didn't.
    """
    deadline = time.monotonic() + PATIENCE
    answer = _ask_in_child(uid, deadline) if time.monotonic() >= _Databases.silent_until else []
    if not answer:
        raise AccountUnknownError(f"the system's databases don't say which groups account {uid} has")
    return tuple(answer)


def _ask_in_child(uid: int, deadline: float) -> list[int]:
    """Returns the primary group of an account, and then all of its groups; nothing if no answer comes in time."""
    reading, writing = os.pipe()
    try:
        child = fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        reason = f"no process can be started to ask which groups account {uid} has"
        raise AccountUnknownError(f"{reason} ({error.strerror})") from error
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.write(writing, " ".join(map(str, _query_databases(uid))).encode() + _END)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answer = _read_answer(reading, deadline)
    finally:
        os.close(reading)
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)
    if not answer and time.monotonic() >= deadline:
        _Databases.silent_until = deadline + _RETRY_AFTER
    return answer


def _read_answer(reading: int, deadline: float) -> list[int]:
    """Returns the numbers written to a pipe; none if they don't arrive complete before the deadline."""
    data = b""
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    while time.monotonic() < deadline:
        if not poller.poll(max(1, int((deadline - time.monotonic()) * 1000))):
            break
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        data += piece
        if data.endswith(_END):
            return [int(number) for number in data[: -len(_END)].split()]
    return []


def _query_databases(uid: int) -> list[int]:
    """Returns the primary group of an account, and then all of its groups."""
    import pwd

    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return [_private_group()]
    groups = [group for group in os.getgrouplist(entry.pw_name, entry.pw_gid) if not is_unmapped_group(group)]
    return [entry.pw_gid, *groups]


def _private_group() -> int:
    """Returns an unused group id. The account's own number may be any group of the system (999 is docker somewhere)."""
    import grp

    for gid in draw_ids():
        try:
            grp.getgrgid(gid)
        except KeyError:
            return gid
    raise OSError(0, "no group is left")
