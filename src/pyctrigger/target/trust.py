"""Who could change what an interpreter does: the question root asks before it runs one.

An executable is as trustworthy as everything on the way to it: each directory and link of its path, the file itself,
and the `pyvenv.cfg` that decides which standard library it loads (PEP 405).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from ..errors import InterpreterError, RefusedError
from .interpreter import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

#: As many links as the kernel follows in one path (path_resolution(7)).
_MOST_LINKS = 40


def account_for(path: str, what: str) -> Account | None:
    """Whose rights to run `path` with: None for our own, or its only owner's.

    Only root asks; everybody else runs what they name with the rights they have. Raises RefusedError where more than
    one account, a group, or everybody could change it, and InterpreterError where the path leads nowhere.
    """
    if os.geteuid() != 0:
        return None
    owners: set[int] = set()
    for step, status, sticky_parent in _way_to(path, what):
        if status.st_uid != 0 and _is_outside(step, status):
            continue
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode):
            sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
            if not sticky:
                raise RefusedError(
                    f"{what} {path} is not trusted by root: others may write {step}",
                    mend=f"chmod go-w {step}",
                )
        # What stands in a sticky directory belongs to its owner alone, also when that is a link.
        if status.st_uid != 0 and (sticky_parent or not stat.S_ISLNK(status.st_mode)):
            owners.add(status.st_uid)
    if not owners:
        return None
    if len(owners) > 1:
        raise RefusedError(
            f"{what} {path} is not trusted by root: it is in the hands of accounts {sorted(owners)}",
            mend="name an interpreter that one account owns, or run as that account",
        )
    return account_of(owners.pop())


def account_for_interpreter(executable: str) -> Account | None:
    """Whose rights to run an interpreter with; a `pyvenv.cfg` that decides what it loads counts. Raises like above."""
    accounts = {account_for(executable, "interpreter")}
    beside = os.path.dirname(executable)
    for configuration in (os.path.join(beside, "pyvenv.cfg"), os.path.join(os.path.dirname(beside), "pyvenv.cfg")):
        if os.path.isfile(configuration):
            accounts.add(account_for(configuration, "interpreter"))
    accounts.discard(None)
    if len(accounts) > 1:
        raise RefusedError(
            f"interpreter {executable} is not trusted by root: its pyvenv.cfg belongs to another account",
            mend="name an interpreter that one account owns, or run as that account",
        )
    return accounts.pop() if accounts else None


def require_own(path: str, what: str) -> None:
    """Raise RefusedError unless only root (or, for others than root, only we) could change `path`."""
    account = account_for(path, what)
    if account is not None:
        raise RefusedError(
            f"{what} {path} is not trusted by root: account {account.uid} owns a part of its path",
            mend="give the file, and the directories above it, to root (chown)",
        )


def _is_outside(step: str, status: os.stat_result) -> bool:
    """Whether a step is in the hands of those outside of our user namespace alone.

    Root in there is an ordinary account out here, which runs what it names as itself.
    """
    from ..namespaces import is_unmapped_group, is_unmapped_owner  # hardly anybody needs it

    if not is_unmapped_owner(status.st_uid, lambda flags: os.open(step, flags)):
        return False
    is_open = status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode)
    is_shared = status.st_mode & stat.S_IWGRP and not is_unmapped_group(status.st_gid)
    return not (is_open or is_shared) or bool(status.st_mode & stat.S_ISVTX)


def _way_to(path: str, what: str) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Every directory, link and file on the way to `path`, with its lstat and whether its directory is sticky."""
    pending = [part for part in path.split("/") if part][::-1]
    current, sticky, links = "/", False, 0
    try:
        yield "/", os.lstat("/"), False
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                current = os.path.dirname(current)
                continue
            step = os.path.join(current, part)
            status = os.lstat(step)
            yield step, status, sticky
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise InterpreterError(f"{what} {path}: too many links", mend="name what they lead to")
                goal = os.readlink(step)
                current = "/" if goal.startswith("/") else current
                pending += [piece for piece in goal.split("/") if piece][::-1]
            else:
                current = step
            sticky = bool(os.lstat(current).st_mode & stat.S_ISVTX)
    except OSError as error:
        raise InterpreterError(f"{what} {path}: {error.strerror}", mend="name one that is there") from error


def account_of(uid: int) -> Account:
    """An account with its primary group; one without an entry has the group of the same number."""
    import pwd  # only where a child has to drop its rights

    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return Account(uid, uid)
