"""Trust: which accounts could change a file that root is about to run or read.

A file is only as trustworthy as all directories and links of its path, and the file itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from ..errors import InterpreterError, RefusedError, hint_for_place
from ..links import follow_links
from .interpreter import Account, Witness, facts_of

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
#: The bits of a mode that tell whether something is a regular file that only its owner may write.
_ROOTS_OWN = 0o170000 | _OTHERS_WRITE


class Holders:
    """Collects the accounts that could change anything that a file depends on.

    Only root needs this; others run what they name with their own rights, and nothing is refused.
    """

    def __init__(self, what: str, name: str) -> None:
        self._what = what
        self._name = name
        self._judges = os.geteuid() == 0
        self._owners: set[int] = set()
        #: The lstat of each path component that was examined.
        self.steps: dict[str, os.stat_result] = {}
        #: Those that are kept for later checks; None for what doesn't exist.
        self.kept: dict[str, os.stat_result | None] = {}

    def follow(self, path: str) -> str:
        """Examine every component of `path`. Returns where it leads.

        Raises InterpreterError if it leads nowhere, RefusedError if a group or everybody could change a component.
        """
        try:
            return follow_links(path, self._keep_step)
        except OSError as error:
            hint = hint_for_place(error, "name one that exists")
            raise InterpreterError(f"{self._what} {path}: {error.strerror}", hint=hint) from error

    def follow_existing(self, path: str, *, keeps: bool = True) -> str | None:
        """Like `follow`, as far as the path exists. Returns None if it doesn't lead anywhere.

        With `keeps` its components are kept, and a missing one that anybody could create is in any case.
        """
        try:
            return follow_links(path, self._keep_step if keeps else self._examine_step)
        except FileNotFoundError as error:
            step = os.fspath(error.filename)
            above = self.steps[os.path.dirname(step)]
            if above.st_mode & stat.S_ISVTX and above.st_mode & _OTHERS_WRITE:
                self.kept[step] = None
            return None
        except OSError:
            return None

    def follow_entries(self, directory: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields entries of a directory that one of these calls has led to, and where they lead; nothing is kept."""
        top, above = directory.rstrip("/"), self.steps[directory]
        in_sticky = bool(above.st_mode & stat.S_ISVTX)
        for name in names:
            path = f"{top}/{name}"
            real: str | None = path
            try:
                status = os.lstat(path)
            except OSError:
                status = None
            if status is None or stat.S_ISLNK(status.st_mode):
                real = self.follow_existing(path, keeps=False)
            elif status.st_uid or status.st_mode & _ROOTS_OWN != stat.S_IFREG:
                self.take(path, status, in_sticky=in_sticky)
            else:
                self.steps[path] = status  # nearly always: a library has thousands of files
            if real is not None:
                yield name, real

    def take(self, path: str, status: os.stat_result, *, in_sticky: bool = False) -> None:
        """Add one component. `in_sticky` means that it is in a sticky directory. Raises RefusedError."""
        self.steps[path] = status
        if not self._judges or (status.st_uid != 0 and _is_outside_namespace(path, status)):
            return
        mode, is_link = status.st_mode, stat.S_ISLNK(status.st_mode)
        if mode & _OTHERS_WRITE and not is_link and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            self.refuse(f"others may write {path}", f"chmod go-w {path}")
        # In a sticky directory only its owner can replace an entry, even a link.
        if status.st_uid not in (0, *self._owners) and (in_sticky or not is_link):
            self._owners.add(status.st_uid)
            self.kept[path] = status  # if root owns it later, the answer changes

    def refuse(self, reason: str, hint: str) -> None:
        """Raise RefusedError if we are root."""
        if self._judges:
            raise RefusedError(f"{self._what} {self._name} is not trusted by root: {reason}", hint=hint)

    @property
    def account(self) -> Account | None:
        """The account to run it as: None for ourselves, or the only holder. Raises RefusedError if there are more.

        One without an entry gets the group of the same number.
        """
        if not self._owners:
            return None
        if len(self._owners) > 1:
            self.refuse(
                f"accounts {sorted(self._owners)} can change it",
                "name an interpreter that one account owns, or run as that account",
            )
        import pwd  # only for a child that drops its rights

        uid = min(self._owners)
        try:
            return Account(uid, pwd.getpwuid(uid).pw_gid)
        except KeyError:
            return Account(uid, uid)

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        """What has to be unchanged before a cached answer may be used."""
        return tuple(Witness(path, facts_of(status)) for path, status in self.kept.items())

    def _examine_step(self, step: str, in_sticky: bool) -> os.stat_result:
        known = self.steps.get(step)
        if known is None:
            known = os.lstat(step)
            self.take(step, known, in_sticky=in_sticky)
        return known

    def _keep_step(self, step: str, in_sticky: bool) -> os.stat_result:
        status = self.kept[step] = self._examine_step(step, in_sticky)
        return status


def account_for(path: str, what: str) -> Account | None:
    """Returns the account to run `path` as: None for ourselves, or its only owner.

    Only root needs this; others run what they name with their own rights. Raises RefusedError if more than one account,
    a group, or everybody could change it, and InterpreterError if the path leads nowhere.
    """
    if os.geteuid() != 0:
        return None
    holders = Holders(what, path)
    holders.follow(path)
    return holders.account


def require_own(path: str, what: str) -> None:
    """Raise RefusedError unless only root could change `path`. Does nothing if we aren't root."""
    account = account_for(path, what)
    if account is not None:
        raise RefusedError(
            f"{what} {path} is not trusted by root: account {account.uid} owns a part of its path",
            hint="give the file, and the directories above it, to root (chown)",
        )


def _is_outside_namespace(step: str, status: os.stat_result) -> bool:
    """Whether only accounts outside of our user namespace can change a component.

    Root in a namespace is an ordinary account outside, which runs what it names as itself.
    """
    from ..namespaces import is_unmapped_group, is_unmapped_owner  # rarely needed

    if not is_unmapped_owner(status.st_uid, lambda flags: os.open(step, flags)):
        return False
    is_open = status.st_mode & stat.S_IWOTH and not stat.S_ISLNK(status.st_mode)
    is_shared = status.st_mode & stat.S_IWGRP and not is_unmapped_group(status.st_gid)
    return not (is_open or is_shared) or bool(status.st_mode & stat.S_ISVTX)
