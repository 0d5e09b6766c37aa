"""Who could change what root relies on: the question root asks before it runs or reads something.

A file is as trustworthy as everything on the way to it: each directory and link of its path, and the file itself.
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
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Holders:
    """Finds in whose hands everything is that something depends on: those who could replace or change a part of it.

    Only root asks; everybody else runs what they name with the rights they have, and nothing is refused then.
    """

    def __init__(self, what: str, name: str) -> None:
        self._what = what
        self._name = name
        self._judges = os.geteuid() == 0
        self._owners: set[int] = set()
        #: The lstat of each step that was looked at.
        self.steps: dict[str, os.stat_result] = {}
        #: Whether the steps that are looked at now are kept, to be looked at another time; and those that are.
        self.keeps = True
        self.kept: dict[str, os.stat_result] = {}
        #: Where there was nothing, and anybody could put something.
        self.absent: list[str] = []

    def follow(self, path: str) -> str:
        """Look at every step of the way to `path`, and return where it leads.

        Raises InterpreterError where it leads nowhere, RefusedError where a group or everybody could change a step.
        """
        try:
            return self._follow(path)
        except OSError as error:
            raise InterpreterError(f"{self._what} {path}: {error.strerror}", mend="name one that is there") from error

    def follow_existing(self, path: str) -> str | None:
        """As `follow`, as far as the way exists; None where its end doesn't.

        What anybody could make there is kept as absent.
        """
        try:
            return self._follow(path)
        except FileNotFoundError as error:
            step = os.fspath(error.filename)
            above = self.steps[os.path.dirname(step)]
            if above.st_mode & stat.S_ISVTX and above.st_mode & _OTHERS_WRITE:
                self.absent.append(step)
            return None
        except OSError:
            return None

    def take(self, path: str, status: os.stat_result, *, in_sticky: bool = False) -> None:
        """Count one step; `in_sticky`: its directory keeps others from replacing it. Raises RefusedError."""
        self.steps[path] = status
        if not self._judges or (status.st_uid != 0 and _is_outside(path, status)):
            return
        mode, is_link = status.st_mode, stat.S_ISLNK(status.st_mode)
        if mode & _OTHERS_WRITE and not is_link and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            self.refuse(f"others may write {path}", f"chmod go-w {path}")
        # What stands in a sticky directory belongs to its owner alone, also when that is a link.
        if status.st_uid not in (0, *self._owners) and (in_sticky or not is_link):
            self._owners.add(status.st_uid)
            self.kept[path] = status  # given back to root, it makes another answer

    def refuse(self, reason: str, mend: str) -> None:
        """Raise RefusedError, where it is root that asks."""
        if self._judges:
            raise RefusedError(f"{self._what} {self._name} is not trusted by root: {reason}", mend=mend)

    @property
    def account(self) -> Account | None:
        """Whose rights to run it with: None for our own, or the only other holder's. Raises RefusedError for two."""
        if not self._owners:
            return None
        if len(self._owners) > 1:
            self.refuse(
                f"it is in the hands of accounts {sorted(self._owners)}",
                "name an interpreter that one account owns, or run as that account",
            )
        return account_of(min(self._owners))

    def _follow(self, path: str) -> str:
        """Raises OSError where the way ends."""
        pending = [part for part in path.split("/") if part][::-1]
        current, links = "/", 0
        above = self._see("/", None)
        while pending:
            part = pending.pop()
            if part == ".":
                continue
            if part == "..":
                current = os.path.dirname(current)
                above = self._see(current, None)
                continue
            step = os.path.join(current, part)
            status = self._see(step, above)
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    raise InterpreterError(f"{self._what} {path}: too many links", mend="name what they lead to")
                goal = os.readlink(step)
                if goal.startswith("/"):
                    current, above = "/", self._see("/", None)
                pending += [piece for piece in goal.split("/") if piece][::-1]
            else:
                current, above = step, status
        return current

    def _see(self, step: str, above: os.stat_result | None) -> os.stat_result:
        known = self.steps.get(step)
        if known is None:
            known = os.lstat(step)
            self.take(step, known, in_sticky=above is not None and bool(above.st_mode & stat.S_ISVTX))
        if self.keeps:
            self.kept[step] = known
        return known


def account_for(path: str, what: str) -> Account | None:
    """Whose rights to run `path` with: None for our own, or its only owner's.

    Only root asks; everybody else runs what they name with the rights they have. Raises RefusedError where more than
    one account, a group, or everybody could change it, and InterpreterError where the path leads nowhere.
    """
    if os.geteuid() != 0:
        return None
    holders = Holders(what, path)
    holders.follow(path)
    return holders.account


def require_own(path: str, what: str) -> None:
    """Raise RefusedError unless only root (or, for others than root, only we) could change `path`."""
    account = account_for(path, what)
    if account is not None:
        raise RefusedError(
            f"{what} {path} is not trusted by root: account {account.uid} owns a part of its path",
            mend="give the file, and the directories above it, to root (chown)",
        )


def ancestors(path: str) -> Iterator[str]:
    """The directory itself, and all above it, up to `/`."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


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


def account_of(uid: int) -> Account:
    """An account with its primary group; one without an entry has the group of the same number."""
    import pwd  # only where a child has to drop its rights

    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return Account(uid, uid)
