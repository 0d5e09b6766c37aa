"""Custody of directories: whoever may write into one can replace our pycs, and decides what is imported."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from ..identity import Identity
from ..opened import account_of_owner
from .access_lists import WRITE, access_list
from .readers import Grants


def reason_to_distrust(
    directory: int, owners: Callable[[], Iterable[int]], account: Identity | None = None
) -> str | None:
    """Returns why an open directory shouldn't be changed, with a hint, or None if it may be.

    Root and the caller are trusted, and so are the owners of the sources; `owners` is called only if neither root nor
    the caller owns the directory. A group is the administrator's choice, and so is an owner outside of our user
    namespace. Below the first directory of another `account`, as which we act there, a third one is never trusted: it
    could replace what is written in one step by a file of that account's in the next. Raises OSError.
    """
    status = os.fstat(directory)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return "everybody may write here, without a sticky bit; chmod o-w it"
    owner = account_of_owner(directory, status)
    if owner in (0, os.geteuid()):
        return None
    if account is not None and owner != account.uid:
        return (
            f"it belongs to account {owner}, and lies in a directory of account {account.uid}; "
            f"chown -R {account.uid} it"
        )
    trusted = sorted(set(owners()))
    if status.st_uid in trusted:
        return None
    return (
        f"it belongs to account {status.st_uid}, and its sources to {_list_accounts(trusted)}; "
        "chown it to the owner of its sources or to root"
    )


def writers_beside_root(directory: int, status: os.stat_result) -> list[str]:
    """Returns who else may write into a directory of root's: its group, or those that an access list names."""
    grants = Grants.of(status, access_list(directory, status), WRITE)
    groups = {status.st_gid: grants.to_group, **grants.groups}
    return [
        f"{kind} {number}"
        for kind, lets in (("account", grants.users), ("group", groups))
        for number, may in lets.items()
        if may and number
    ]


def _list_accounts(uids: list[int]) -> str:
    return ("account " if len(uids) == 1 else "accounts ") + ", ".join(map(str, uids))
