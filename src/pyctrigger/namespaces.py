"""User namespaces (user_namespaces(7)): whether the owner that a file shows is a real account.

An owner that isn't mapped shows as the overflow uid, usually 65534. That is no account: no process can act as it, and
no file can be given to it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator

_ALL_IDS = (1 << 32) - 1
_USUAL_OVERFLOW = 65534
#: Ids that containers (below 1879048192) and directory services (SSSD's end at 2000200000) leave free, up to systemd's
#: range for foreign files (https://systemd.io/UIDS-GIDS).
FREE_IDS = ((2_000_200_001, 2_147_352_575),)
#: Ids that systemd's table leaves unused, for a user namespace that maps the usual 65,536.
FREE_IDS_BELOW_64K = ((60_578, 61_183), (65_520, 65_533))
_MAX_DRAWS = 100


def is_restricted() -> bool:
    """Whether we are in a user namespace that maps only some of the machine's accounts."""
    return sum(count for _, count in _mapped_ranges()) < _ALL_IDS


def is_unmapped_owner(uid: int, reopen: Callable[[int], int]) -> bool:
    """Whether the owner that a file shows isn't mapped here. `reopen` opens the file with the given flags."""
    if uid == 0 or uid != _overflow_id("uid") or not is_restricted():
        return False
    if os.geteuid() != 0 or not any(first <= uid < first + count for first, count in _mapped_ranges()):
        return True
    # A real account has the overflow uid, too. O_NOATIME tells them apart: root may use it on mapped owners' files
    # only.
    try:
        os.close(reopen(os.O_RDONLY | os.O_NOATIME | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def is_unmapped_group(gid: int) -> bool:
    """Whether a group may be unmapped in this namespace. Such a group is given nothing."""
    return gid != 0 and gid == _overflow_id("gid") and is_restricted()


def draw_ids() -> Iterator[int]:
    """Yields random ids that should be nobody's, as accounts and as groups."""
    ranges = _mapped_for_both(FREE_IDS) or _mapped_for_both(FREE_IDS_BELOW_64K)
    count = sum(last - first + 1 for first, last in ranges)
    for _ in range(_MAX_DRAWS if count else 0):
        at = int.from_bytes(os.urandom(8), "little") % count
        for first, last in ranges:
            if at <= last - first:
                yield first + at
                break
            at -= last - first + 1


def _mapped_for_both(ranges: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Returns the parts of these ranges of ids (first, last) that are mapped as accounts and as groups."""
    for kind in ("uid", "gid"):
        ranges = tuple(
            (max(first, start), min(last, start + count - 1))
            for first, last in ranges
            for start, count in _mapped_ranges(kind)
            if max(first, start) <= min(last, start + count - 1)
        )
    return ranges


@functools.cache
def _mapped_ranges(kind: str = "uid") -> tuple[tuple[int, int], ...]:
    """Returns the ranges of accounts (or groups) that this namespace maps: first id, and how many."""
    try:
        # As bytes: to import a codec an account would have to read Python's library, and we may be acting as one.
        with open(f"/proc/self/{kind}_map", "rb") as file:
            rows = [[int(number) for number in row.split()] for row in file.read(1 << 16).splitlines()]
        return tuple((first, count) for first, _, count in rows) or ((0, _ALL_IDS),)
    except (OSError, ValueError):  # a system without user namespaces
        return ((0, _ALL_IDS),)


@functools.cache
def _overflow_id(kind: str) -> int:
    try:
        with open(f"/proc/sys/kernel/overflow{kind}", "rb") as file:
            return int(file.read(16))
    except (OSError, ValueError):
        return _USUAL_OVERFLOW
