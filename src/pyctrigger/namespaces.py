"""User namespaces (user_namespaces(7)): which of the owners that files show are accounts at all.

An owner that isn't mapped shows as the overflow uid, usually 65534. That is no account: nobody can be told to act as
it, and nothing can be given to it.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ALL = (1 << 32) - 1
_OVERFLOW = 65534


def is_restricted() -> bool:
    """Whether we are in a user namespace that doesn't know all accounts of the machine."""
    return sum(count for _, count in _map()) < _ALL


def is_mapped(uid: int) -> bool:
    """Whether an account of this number can exist here."""
    return any(first <= uid < first + count for first, count in _map())


def is_unmapped_owner(uid: int, reopen: Callable[[int], int]) -> bool:
    """Whether the owner that a file shows is no account of this namespace; `reopen` opens it with more flags."""
    if uid == 0 or uid != _overflow("uid") or not is_restricted():
        return False
    if not is_mapped(uid) or os.geteuid() != 0:
        return True
    # The account of that number exists here as well. Only over a file of its own has root the owner's rights.
    try:
        os.close(reopen(os.O_RDONLY | os.O_NOATIME | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def is_unmapped_group(gid: int) -> bool:
    """Whether a group may be none of this namespace's: nothing is given to one that may."""
    return gid != 0 and gid == _overflow("gid") and is_restricted()


def mapped_for_both(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """The parts of ranges of ids (first, last) that are both accounts and groups of this namespace."""
    for kind in ("uid", "gid"):
        ranges = tuple(
            (max(first, start), min(last, start + count - 1))
            for first, last in ranges
            for start, count in _map(kind)
            if max(first, start) <= min(last, start + count - 1)
        )
    return list(ranges)


@functools.cache
def _map(kind: str = "uid") -> tuple[tuple[int, int], ...]:
    """The ranges of this namespace's accounts, or groups: first, and how many."""
    try:
        with open(f"/proc/self/{kind}_map", encoding="ascii") as file:
            rows = [[int(number) for number in row.split()] for row in file.read(1 << 16).splitlines()]
        return tuple((first, count) for first, _, count in rows) or ((0, _ALL),)
    except (OSError, ValueError):  # a system without
        return ((0, _ALL),)


@functools.cache
def _overflow(kind: str) -> int:
    try:
        with open(f"/proc/sys/kernel/overflow{kind}", encoding="ascii") as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return _OVERFLOW


def group_ranges() -> list[tuple[int, int]]:
    """The groups that can exist here: the first and the last of each range."""
    return [(first, first + count - 1) for first, count in _map("gid")]
