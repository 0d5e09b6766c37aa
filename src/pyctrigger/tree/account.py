"""Who an account is: its group and groups as the system's databases have them, or a group of nobody's.

A database may be a network service that hangs (nsswitch.conf(5)). So it is asked in a child, with a deadline.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import time

from ..forking import fork
from ..namespaces import group_ranges, is_unmapped_group
from .identity import Identity

#: Seconds until a database that doesn't answer is given up, and for how long it isn't asked again.
PATIENCE = 10.0
_REST = 60.0
#: What systemd, containers and directories leave free (https://systemd.io/UIDS-GIDS).
_FIRST, _LAST = 2000200001, 2147352575
_END = b"."
#: As many as a group's number is drawn, before a system has none left.
_TRIES = 100


class AccountUnknownError(Exception):
    """Nobody can say which groups an account has; the text says why."""


class _Databases:
    """When they may be asked: a tree may be of any number of accounts, and the lock is held meanwhile."""

    silent_until = 0.0


def look_up(uid: int) -> Identity:
    """The identity of an account. Raises AccountUnknownError where the databases don't answer, or haven't lately."""
    deadline = time.monotonic() + PATIENCE
    answer = _asked(uid, deadline) if time.monotonic() >= _Databases.silent_until else []
    if not answer:
        raise AccountUnknownError(f"the system doesn't say which groups account {uid} has, whose place it is")
    gid, *groups = answer
    return Identity(uid, gid, tuple(groups))


def _asked(uid: int, deadline: float) -> list[int]:
    """What a child says of an account: its group, and then all of its groups; nothing if it says nothing in time."""
    reading, writing = os.pipe()
    try:
        child = fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        reason = f"no process can be had that asks which groups account {uid} has, whose place it is"
        raise AccountUnknownError(f"{reason} ({error.strerror})") from error
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.write(writing, " ".join(map(str, _ask(uid))).encode() + _END)
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answer = _answer(reading, deadline)
    finally:
        os.close(reading)
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(child, 0)
    if not answer and time.monotonic() >= deadline:
        _Databases.silent_until = deadline + _REST
    return answer


def _answer(reading: int, deadline: float) -> list[int]:
    """The numbers that come through a pipe; none if they don't come whole, and in time."""
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


def _ask(uid: int) -> list[int]:
    """Its group, and then all of its groups."""
    import pwd

    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return [_private_group()]
    groups = [group for group in os.getgrouplist(entry.pw_name, entry.pw_gid) if not is_unmapped_group(group)]
    return [entry.pw_gid, *groups]


def _private_group() -> int:
    """A group that is nobody's: one of the account's own number may be any group of the system."""
    import grp

    there = group_ranges()
    free = [(max(first, _FIRST), min(last, _LAST)) for first, last in there]
    ranges = [each for each in free if each[0] <= each[1]] or [(max(1, first), last) for first, last in there]
    for _ in range(_TRIES):
        first, last = random.choice(ranges)  # noqa: S311 - no secret
        gid = random.randint(first, last)  # noqa: S311
        try:
            grp.getgrgid(gid)
        except KeyError:
            if not is_unmapped_group(gid):
                return gid
    raise OSError(0, "no group is left")
