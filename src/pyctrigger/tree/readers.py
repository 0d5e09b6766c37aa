"""Who may read: whether a pyc, or the `__pycache__` that it lies in, keeps out somebody who may read the source.

A root that imports with a umask of 077 leaves such bytecode. Only modes, owners and groups are compared: where another
owner or group makes that one mode can't say the same, fewer read the pyc, and nothing is wrong.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

_READ, _ENTER = 0o444, 0o111


def is_kept_from_readers(source: os.stat_result, pyc: os.stat_result) -> bool:
    """Whether a pyc can't be read by all those who may read its source, though a mode could say so."""
    return _keeps_out(source, pyc, _READ)


def is_kept_from_visitors(directory: os.stat_result, pycache: os.stat_result) -> bool:
    """Whether a `__pycache__` can't be entered by all those who may enter its directory, though a mode could say so."""
    return _keeps_out(directory, pycache, _ENTER)


def mode_for_visitors(directory: os.stat_result, pycache: os.stat_result) -> int:
    """The mode of a `__pycache__` that lets in, and see its names, whom its directory does."""
    granted = directory.st_mode & (_READ | _ENTER)
    if pycache.st_gid != directory.st_gid and not _is_for_all(directory.st_mode, _ENTER):
        granted &= 0o700
    return stat.S_IMODE(pycache.st_mode) | granted


def _keeps_out(one: os.stat_result, other: os.stat_result, right: int) -> bool:
    missing = one.st_mode & ~other.st_mode & right
    if not missing:
        return False
    same_owner = one.st_uid == other.st_uid
    if missing & 0o700:
        return same_owner
    return _is_for_all(one.st_mode, right) or (same_owner and one.st_gid == other.st_gid)


def _is_for_all(mode: int, right: int) -> bool:
    """Whether group and others have a right: then it doesn't matter which group that is."""
    return mode & right & 0o077 == right & 0o077
