"""Read permission of pycs: exactly those who may read the source, as far as a mode or an access list can express it.

A permission is treated as a set of accounts, by what is certain about them. An account that a mode or list doesn't name
may be in any group, so "others" may read a pyc only if no entry on the way to the source keeps anybody out. Root has
all rights, and a file's owner can grant them to itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from functools import lru_cache

from ...typed import NamedTuple
from ..identity import acts_as_other
from .access_lists import GROUP, GROUP_OBJ, MASK, OTHER, READ, USER, USER_OBJ, WRITE, AccessEntry, parse_list

ENTER = 1
_READ, _ENTER = 0o444, 0o111
_NONE_NAMED: Mapping[int, bool] = {}


class Grants(NamedTuple):
    """Accounts and groups to which a file or directory grants one permission."""

    owner: int
    group: int
    to_owner: bool
    to_group: bool
    to_others: bool
    users: Mapping[int, bool] = _NONE_NAMED
    """Accounts named in the access list, and whether they have the permission."""
    groups: Mapping[int, bool] = _NONE_NAMED

    @classmethod
    def of(cls, status: os.stat_result, acl: bytes | None, right: int) -> Grants:
        """Returns what a mode and an access list, if there is one, grant."""
        mode, owner, group = status.st_mode, status.st_uid, status.st_gid
        if acl is None:
            return cls(owner, group, bool(mode >> 6 & right), bool(mode >> 3 & right), bool(mode & right))
        try:
            entries = parse_list(acl)
        except ValueError:  # a kind of list that we don't know
            return cls(owner, group, bool(mode >> 6 & right), to_group=False, to_others=False)
        mask = next((entry.rights for entry in entries if entry.tag == MASK), READ | WRITE | ENTER) & right
        by_tag = {entry.tag: entry.rights for entry in entries}
        return cls(
            owner,
            group,
            bool(by_tag.get(USER_OBJ, 0) & right),
            bool(by_tag.get(GROUP_OBJ, 0) & mask),
            bool(by_tag.get(OTHER, 0) & right),
            {entry.account: bool(entry.rights & mask) for entry in entries if entry.tag == USER},
            {entry.account: bool(entry.rights & mask) for entry in entries if entry.tag == GROUP},
        )

    @property
    def keeps_nobody_out(self) -> bool:
        """Whether everybody has the permission."""
        return self.to_group and self.to_others and all(self.users.values()) and all(self.groups.values())

    def lets_account(self, uid: int, groups: Collection[int] | None = None) -> bool:
        """Whether an account in these groups has the permission; None: whatever groups it is in."""
        if uid in (0, self.owner):
            return True
        if uid in self.users:
            return self.users[uid]
        entries = (*self.groups.items(), (self.group, self.to_group))
        if groups is None:
            return self.to_others and all(lets for _, lets in entries)
        own = [lets for gid, lets in entries if gid in groups]
        return any(own) if own else self.to_others

    def lets_group(self, gid: int, but: Container[int]) -> bool:
        """Whether all members of a group have the permission, leaving aside the accounts in `but`."""
        if not self._lets_users(but):
            return False
        if gid == self.group or gid in self.groups:
            return (gid == self.group and self.to_group) or self.groups.get(gid, False)
        return self.to_group and self.to_others and all(self.groups.values())

    def lets_others(self, but: Container[int], but_groups: Container[int]) -> bool:
        """Whether everybody has the permission, leaving aside the accounts and groups in `but` and `but_groups`."""
        entries = (*self.groups.items(), (self.group, self.to_group))
        return self.to_others and self._lets_users(but) and all(lets for gid, lets in entries if gid not in but_groups)

    def _lets_users(self, but: Container[int]) -> bool:
        return all(lets for uid, lets in self.users.items() if uid not in but and uid not in (0, self.owner))

    @property
    def mode(self) -> int:
        """Mode bits that grant this, for read permission."""
        return self.to_owner * stat.S_IRUSR | self.to_group * stat.S_IRGRP | self.to_others * stat.S_IROTH

    @property
    def entries(self) -> list[AccessEntry]:
        """Entries of an access list that grant this, for read permission; the owner may write as well."""
        rows = [
            AccessEntry(USER_OBJ, self.to_owner * READ | WRITE),
            *(AccessEntry(USER, lets * READ, uid) for uid, lets in sorted(self.users.items())),
            AccessEntry(GROUP_OBJ, self.to_group * READ),
            *(AccessEntry(GROUP, lets * READ, gid) for gid, lets in sorted(self.groups.items())),
        ]
        return [*rows, AccessEntry(MASK, READ), AccessEntry(OTHER, self.to_others * READ)]

    def misses(self, wanted: Grants) -> bool:
        """Whether `wanted`, of the same owner and group, grants the permission to anybody whom this doesn't."""
        if wanted.mode & ~self.mode:
            return True
        users, groups = {*self.users, *wanted.users}, {*self.groups, *wanted.groups}
        return any(
            wanted.users.get(uid, wanted.keeps_nobody_out) and not self.users.get(uid, self.to_others) for uid in users
        ) or any(
            wanted.groups.get(gid, wanted.keeps_nobody_out) and not self.groups.get(gid, self.to_others)
            for gid in groups
        )


class Readers:
    """Readers of a source: those it grants reading, and whom no directory keeps out that isn't above its pyc, too."""

    def __init__(self, status: os.stat_result, acl: bytes | None, ways: Iterable[Grants] = ()) -> None:
        self._status = status
        self._source = Grants.of(status, acl, READ)
        self._all = (self._source, *ways)
        self.have_ways = len(self._all) > 1
        """Whether directories keep anybody out."""
        #: Results of `grants`, by owner, group, and whether by a list.
        self._granted: dict[tuple[int, int, bool], Grants] = {}

    def include(self, uid: int) -> bool:
        """Whether an account may read the source. We may: we have read it."""
        if uid == os.geteuid() or self._surely_include(uid):
            return True
        groups = _groups_of(uid)
        return bool(groups) and all(each.lets_account(uid, groups) for each in self._all)

    def _surely_include(self, uid: int) -> bool:
        return all(each.lets_account(uid) for each in self._all)

    def need_list(self, uid: int, gid: int) -> bool:
        """Whether a list can grant reading to more of them than a mode, for a pyc of this owner and group."""
        by_mode = self.grants(uid, gid, by_list=False)
        return not by_mode.to_others and by_mode.misses(self.grants(uid, gid, by_list=True))

    def group_for(self, uid: int, gid: int) -> int:
        """Returns the group that a pyc of this owner should have, in a directory of the group `gid`."""
        source = self._source
        own = gid if source.keeps_nobody_out and uid != source.owner else source.group
        if not self.have_ways:
            return own
        granted = {each: self.grants(uid, each, by_list=False) for each in (own, *(each.group for each in self._all))}
        return max(granted, key=lambda each: (granted[each].to_others, granted[each].to_group))

    def grants(self, uid: int, gid: int, *, by_list: bool) -> Grants:
        """Returns the most that a pyc of this owner and group may grant."""
        found = self._granted.get((uid, gid, by_list))
        if found is None:
            found = self._granted[uid, gid, by_list] = self._compute_grants(uid, gid, by_list=by_list)
        return found

    def _compute_grants(self, uid: int, gid: int, *, by_list: bool) -> Grants:
        source = self._source
        named = set(self._accounts_to_name()) - {uid} if by_list else set()
        groups = {group for each in self._all for group in (*each.groups, each.group)} - {gid} if by_list else set()
        found = self._allow(uid, gid, named, groups)
        if source.to_owner:
            return found
        users = {each: lets and each != source.owner for each, lets in found.users.items()}
        return found._replace(to_owner=uid != source.owner, users=users)

    def _allow(self, uid: int, gid: int, users: Collection[int], groups: Collection[int]) -> Grants:
        """Returns the most that a pyc may grant that names these accounts and groups besides its owner and group."""
        every, but, but_groups = self._all, {uid, *users}, {gid, *groups}
        return Grants(
            uid,
            gid,
            True,
            all(each.lets_group(gid, but) for each in every),
            all(each.lets_others(but, but_groups) for each in every),
            {account: self._surely_include(account) for account in users},
            {group: all(each.lets_group(group, but) for each in every) for group in groups},
        )

    def are_fewer_than_of(self, status: os.stat_result, acl: bytes | None) -> bool:
        """Whether anybody may read or write this pyc who may not read or write the source."""
        is_its_group = acl is None and status.st_gid == self._status.st_gid
        may_write = stat.S_IWUSR | (self._status.st_mode & stat.S_IWGRP if is_its_group else 0)
        if status.st_mode & 0o222 & ~may_write:
            return True
        pyc = Grants.of(status, acl, READ)
        allowed = self._allow(pyc.owner, pyc.group, pyc.users, pyc.groups)
        return not self.include(pyc.owner) or allowed.misses(pyc)

    def are_more_than_of(self, status: os.stat_result, acl: bytes | None, uid: int, *, takes_lists: bool) -> bool:
        """Whether anybody may read the source who can't read this pyc, but could if we wrote it for this owner."""
        pyc = Grants.of(status, acl, READ)
        by_list = takes_lists and self.need_list(pyc.owner, pyc.group)
        if pyc.misses(self.grants(pyc.owner, pyc.group, by_list=by_list)):
            return True
        gid = self.group_for(uid, pyc.group)
        if by_list or pyc.to_others or gid == pyc.group or not _can_give(gid):
            return False
        wanted = self.grants(uid, gid, by_list=False)
        return wanted.to_others or wanted.to_group

    def _accounts_to_name(self) -> Iterator[int]:
        """Yields the accounts that a list must name: those that are denied somewhere, or granted only by name."""
        for account in {self._source.owner, *(account for each in self._all for account in each.users)} - {0}:
            if self._surely_include(account) or not all(each.users.get(account, True) for each in self._all):
                yield account


def are_alike(source: os.stat_result, pyc: os.stat_result) -> bool:
    """Whether modes and owners alone show that two files in one directory, without lists, have the same readers."""
    if pyc.st_mode & 0o022 or (source.st_mode ^ pyc.st_mode) & _READ:
        return False
    return pyc.st_mode & _READ == _READ or (source.st_uid, source.st_gid) == (pyc.st_uid, pyc.st_gid)


def _can_give(gid: int) -> bool:
    """Whether we can give a file that we own to a group."""
    return os.geteuid() == 0 or acts_as_other() or gid == os.getegid() or gid in os.getgroups()


@lru_cache(maxsize=64)
def _groups_of(uid: int) -> tuple[int, ...]:
    """Returns the groups of an account, or none if they are unknown."""
    from ..account import AccountUnknownError, look_up_groups  # only where modes don't decide

    try:
        return look_up_groups(uid)
    except (AccountUnknownError, OSError):
        return ()


def is_kept_from_visitors(directory: os.stat_result, pycache: os.stat_result) -> bool:
    """Whether a `__pycache__` keeps out some who may enter its parent, although a mode could let them in."""
    missing = directory.st_mode & ~pycache.st_mode & _ENTER
    if not missing:
        return False
    same_owner = directory.st_uid == pycache.st_uid
    if missing & 0o700:
        return same_owner
    return _lets_all_enter(directory.st_mode) or (same_owner and directory.st_gid == pycache.st_gid)


def mode_for_visitors(directory: os.stat_result, pycache: os.stat_result) -> int:
    """Returns the mode of a `__pycache__` that may be entered and listed by those who may do so with its parent."""
    granted = directory.st_mode & (_READ | _ENTER)
    if pycache.st_gid != directory.st_gid and not _lets_all_enter(directory.st_mode):
        granted &= 0o700
    return stat.S_IMODE(pycache.st_mode) | granted


def _lets_all_enter(mode: int) -> bool:
    """Whether group and others may enter, so that it doesn't matter which group it is."""
    return mode & _ENTER & 0o077 == _ENTER & 0o077
