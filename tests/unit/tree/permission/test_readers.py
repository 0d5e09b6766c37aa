"""Who may read: modes, lists and ways as sets of accounts, without any file."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.tree.permission import readers as module
from pyctrigger.tree.permission.access_lists import GROUP, GROUP_OBJ, MASK, OTHER, READ, USER, USER_OBJ, AccessEntry
from pyctrigger.tree.permission.readers import (
    ENTER,
    Grants,
    Readers,
    are_alike,
    is_kept_from_visitors,
    mode_for_visitors,
)

if TYPE_CHECKING:
    from collections.abc import Collection

ROOT, ANN, BOB, CAT = 0, 1001, 1002, 1003
STAFF, WHEEL = 50, 51


def status(mode: int, uid: int = ROOT, gid: int = ROOT, kind: int = stat.S_IFREG) -> os.stat_result:
    """The status of a file of this mode and owner."""
    return os.stat_result((kind | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def listed(*entries: tuple[int, ...]) -> bytes:
    """The bytes of a list."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *AccessEntry(*entry)) for entry in entries)


@pytest.fixture(autouse=True)
def no_account_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account of the tests isn't in the tables; Ann is known to be in `staff`."""
    monkeypatch.setattr(os, "geteuid", lambda: 99)
    monkeypatch.setattr(module, "_groups_of", lambda uid: {ANN: (ANN, STAFF), BOB: (BOB,)}.get(uid, ()))


# -- one file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("right", [4, 1])
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o777, (True, True, True)),
        (0o755, (True, True, True)),
        (0o750, (True, True, False)),
        (0o705, (True, False, True)),
        (0o700, (True, False, False)),
        (0o055, (False, True, True)),
        (0o222, (False, False, False)),
    ],
)
def test_a_mode_grants_a_right(mode: int, right: int, expected: tuple[bool, bool, bool]) -> None:
    """To owner, group and others."""
    found = Grants.of(status(mode, ANN, STAFF), None, right)
    assert (ANN, STAFF, *expected, {}, {}) == (*found[:5], dict(found.users), dict(found.groups))
    assert all(expected[1:]) is found.keeps_nobody_out


def test_a_list_grants_by_its_mask() -> None:
    """Owner and others aren't masked; named accounts and groups are."""
    entries = [(USER_OBJ, 6), (USER, 4, BOB), (USER, 0, CAT), (GROUP_OBJ, 4), (GROUP, 4, WHEEL), (OTHER, 4)]
    plain = Grants.of(status(0o644, ANN, STAFF), listed(*entries), READ)
    assert Grants(ANN, STAFF, True, True, True, {BOB: True, CAT: False}, {WHEEL: True}) == plain
    masked = Grants.of(status(0o604, ANN, STAFF), listed(*entries, (MASK, 2)), READ)
    assert Grants(ANN, STAFF, True, False, True, {BOB: False, CAT: False}, {WHEEL: False}) == masked
    assert (False, False) == (plain.keeps_nobody_out, masked.keeps_nobody_out)
    without = Grants.of(status(0o644, ANN, STAFF), listed((MASK, 7)), READ)
    assert Grants(ANN, STAFF, False, False, False, {}, {}) == without


def test_a_list_that_is_not_understood_grants_its_owner_alone() -> None:
    """Its group bits are a mask, and what they mask is unknown."""
    assert Grants(ANN, STAFF, True, False, False) == Grants.of(status(0o644, ANN, STAFF), b"", READ)
    assert Grants(ANN, STAFF, False, False, False) == Grants.of(status(0o244, ANN, STAFF), b"other", READ)


OPEN = Grants(ANN, STAFF, True, True, True)
#: Grants, an account, its groups (None: any), and whether it has the right.
LETS: list[tuple[Grants, int, Collection[int] | None, bool]] = [
    (OPEN, BOB, None, True),
    (OPEN, BOB, (BOB,), True),
    (OPEN._replace(to_others=False), BOB, None, False),
    (OPEN._replace(to_others=False), ANN, None, True),  # an owner can give it to himself
    (OPEN._replace(to_owner=False), ANN, None, True),
    (OPEN._replace(to_group=False, to_others=False), ROOT, None, True),
    (OPEN._replace(to_group=False), BOB, None, False),  # he may be in that group
    (OPEN._replace(to_group=False), BOB, (BOB,), True),
    (OPEN._replace(to_group=False), BOB, (BOB, STAFF), False),
    (OPEN._replace(to_others=False), BOB, (BOB, STAFF), True),
    (OPEN._replace(to_others=False), BOB, (BOB,), False),
    (OPEN._replace(users={BOB: False}), BOB, None, False),
    (OPEN._replace(users={BOB: False}), CAT, None, True),
    (OPEN._replace(to_others=False, users={BOB: True}), BOB, None, True),
    (OPEN._replace(groups={WHEEL: False}), BOB, None, False),
    (OPEN._replace(groups={WHEEL: False}), BOB, (WHEEL,), False),
    (OPEN._replace(groups={WHEEL: False}), BOB, (WHEEL, STAFF), True),
    (OPEN._replace(to_others=False, groups={WHEEL: True}), BOB, (WHEEL,), True),
]


@pytest.mark.parametrize(("grants", "uid", "groups", "expected"), LETS)
def test_whether_an_account_has_the_right(
    grants: Grants, uid: int, groups: Collection[int] | None, expected: bool
) -> None:
    """By name, by one of its groups, or as anybody."""
    assert expected is grants.lets_account(uid, groups)


#: Grants, a group, the accounts of which something else is said, and whether all others of its members have the right.
GROUPS: list[tuple[Grants, int, set[int], bool]] = [
    (OPEN, STAFF, set(), True),
    (OPEN, WHEEL, set(), True),
    (OPEN._replace(to_others=False), STAFF, set(), True),
    (OPEN._replace(to_others=False), WHEEL, set(), False),
    (OPEN._replace(to_group=False), STAFF, set(), False),
    (OPEN._replace(to_group=False), WHEEL, set(), False),  # a member may be in that group as well
    (OPEN._replace(users={BOB: False}), STAFF, set(), False),
    (OPEN._replace(users={BOB: False}), STAFF, {BOB}, True),
    (OPEN._replace(users={BOB: True}), STAFF, set(), True),
    (OPEN._replace(users={ANN: False}), STAFF, set(), True),
    (OPEN._replace(users={ROOT: False}), STAFF, set(), True),
    (OPEN._replace(groups={WHEEL: True}, to_others=False), WHEEL, set(), True),
    (OPEN._replace(groups={WHEEL: False}), WHEEL, set(), False),
    (OPEN._replace(groups={WHEEL: False}), STAFF, set(), True),
    (OPEN._replace(groups={WHEEL: False}), 77, set(), False),
    (OPEN._replace(groups={STAFF: True}, to_group=False), STAFF, set(), True),
    (OPEN._replace(groups={STAFF: False}, to_group=False), STAFF, set(), False),
]


@pytest.mark.parametrize(("grants", "gid", "but", "expected"), GROUPS)
def test_whether_a_group_has_the_right(grants: Grants, gid: int, but: set[int], expected: bool) -> None:
    """All of its members, but for accounts of which something else is said."""
    assert expected is grants.lets_group(gid, but)


#: Grants, accounts and groups of which something else is said, and whether everybody else has the right.
OTHERS: list[tuple[Grants, set[int], set[int], bool]] = [
    (OPEN, set(), set(), True),
    (OPEN._replace(to_others=False), set(), {STAFF}, False),
    (OPEN._replace(to_group=False), set(), set(), False),
    (OPEN._replace(to_group=False), set(), {STAFF}, True),
    (OPEN._replace(users={BOB: False}), set(), set(), False),
    (OPEN._replace(users={BOB: False}), {BOB}, set(), True),
    (OPEN._replace(groups={WHEEL: False}), set(), {STAFF}, False),
    (OPEN._replace(groups={WHEEL: False}), set(), {WHEEL}, True),
]


@pytest.mark.parametrize(("grants", "but", "but_groups", "expected"), OTHERS)
def test_whether_others_have_the_right(grants: Grants, but: set[int], but_groups: set[int], expected: bool) -> None:
    """Everybody of whom nothing else is said."""
    assert expected is grants.lets_others(but, but_groups)


@pytest.mark.parametrize(
    ("to", "mode"),
    [
        ((True, True, True), 0o444),
        ((True, True, False), 0o440),
        ((True, False, True), 0o404),
        ((False, False, False), 0),
        ((False, True, False), 0o040),
    ],
)
def test_mode_of_grants(to: tuple[bool, bool, bool], mode: int) -> None:
    """For the right to read."""
    assert mode == Grants(ANN, STAFF, *to).mode


def test_entries_of_grants() -> None:
    """In the order that the kernel wants; the owner may write."""
    grants = Grants(ANN, STAFF, True, False, True, {CAT: True, BOB: False}, {WHEEL: True, 7: False})
    expected = [
        AccessEntry(USER_OBJ, 6),
        AccessEntry(USER, 0, BOB),
        AccessEntry(USER, 4, CAT),
        AccessEntry(GROUP_OBJ, 0),
        AccessEntry(GROUP, 0, 7),
        AccessEntry(GROUP, 4, WHEEL),
        AccessEntry(MASK, 4),
        AccessEntry(OTHER, 4),
    ]
    assert expected == grants.entries
    assert AccessEntry(USER_OBJ, 2) == grants._replace(to_owner=False).entries[0]


CLOSED = Grants(ANN, STAFF, True, False, False)
#: What there is, what is wanted, and whether somebody lacks a right that is wanted for him.
MISSING: list[tuple[Grants, Grants, bool]] = [
    (OPEN, OPEN, False),
    (OPEN, CLOSED, False),
    (CLOSED, OPEN, True),
    (OPEN._replace(to_group=False), OPEN, True),
    (OPEN._replace(to_others=False), OPEN, True),
    (OPEN._replace(to_owner=False), OPEN, True),
    (CLOSED, CLOSED._replace(users={BOB: True}), True),
    (CLOSED._replace(users={BOB: True}), CLOSED._replace(users={BOB: True}), False),
    (OPEN, CLOSED._replace(users={BOB: True}), False),
    (CLOSED, CLOSED._replace(users={BOB: False}), False),
    (OPEN._replace(users={BOB: False}), OPEN, True),
    (CLOSED._replace(users={BOB: False}), CLOSED, False),
    (CLOSED, CLOSED._replace(groups={WHEEL: True}), True),
    (CLOSED._replace(groups={WHEEL: True}), CLOSED._replace(groups={WHEEL: True}), False),
    (OPEN, CLOSED._replace(groups={WHEEL: True}), False),
    (OPEN._replace(groups={WHEEL: False}), OPEN, True),
    (CLOSED, CLOSED._replace(groups={WHEEL: False}), False),
]


@pytest.mark.parametrize(("found", "wanted", "expected"), MISSING)
def test_whether_somebody_misses_a_right(found: Grants, wanted: Grants, expected: bool) -> None:
    """By mode, by name, or by group."""
    assert expected is found.misses(wanted)


# -- a source and its pyc ---------------------------------------------------------------------------------------------


def of(mode: int, uid: int = ROOT, gid: int = ROOT, acl: bytes | None = None, *ways: Grants) -> Readers:
    """The readers of a source."""
    return Readers(status(mode, uid, gid), acl, ways)


BOB_TOO = listed((USER_OBJ, 6), (USER, 4, BOB), (GROUP_OBJ, 0), (MASK, 4), (OTHER, 0))
NOT_BOB = listed((USER_OBJ, 6), (USER, 0, BOB), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 4))
WHEEL_TOO = listed((USER_OBJ, 6), (GROUP_OBJ, 0), (GROUP, 4, WHEEL), (MASK, 4), (OTHER, 0))
STAFF_ONLY = Grants(ROOT, STAFF, True, True, False)

#: Readers, an account, and whether it is one of them.
INCLUDED: list[tuple[Readers, int, bool]] = [
    (of(0o644), BOB, True),
    (of(0o600), BOB, False),
    (of(0o600), ROOT, True),
    (of(0o600), 99, True),  # ourselves: it was read
    (of(0o600, BOB), BOB, True),
    (of(0o640, ROOT, STAFF), ANN, True),  # by what the databases say of her groups
    (of(0o640, ROOT, STAFF), BOB, False),
    (of(0o640, ROOT, STAFF), CAT, False),  # nobody knows her groups
    (of(0o604, ROOT, STAFF), ANN, False),
    (of(0o604, ROOT, STAFF), BOB, True),
    (of(0o640, ROOT, ROOT, BOB_TOO), BOB, True),
    (of(0o644, ROOT, ROOT, NOT_BOB), BOB, False),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), BOB, False),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), ANN, True),
]


@pytest.mark.parametrize(("readers", "uid", "expected"), INCLUDED)
def test_whether_an_account_may_read_a_source(readers: Readers, uid: int, expected: bool) -> None:
    """By its own rights, and by the directories on the way to it."""
    assert expected is readers.include(uid)


#: A source, the owner and group of its pyc, and the mode that this pyc may have.
MODES: list[tuple[Readers, int, int, int]] = [
    (of(0o644), ROOT, ROOT, 0o444),
    (of(0o644), BOB, STAFF, 0o444),
    (of(0o600), ROOT, ROOT, 0o400),
    (of(0o640, ROOT, STAFF), ROOT, STAFF, 0o440),
    (of(0o640, ROOT, STAFF), ROOT, ROOT, 0o400),
    (of(0o604, ROOT, STAFF), ROOT, STAFF, 0o404),
    (of(0o604, ROOT, STAFF), ROOT, ROOT, 0o400),  # those of staff would be among the others
    (of(0o244, ANN, STAFF), ANN, STAFF, 0o044),
    (of(0o244, ANN, STAFF), ROOT, STAFF, 0o444),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), ROOT, ROOT, 0o400),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), ROOT, STAFF, 0o440),
    (of(0o640, ROOT, WHEEL, None, STAFF_ONLY), ROOT, WHEEL, 0o400),
    (of(0o644, ROOT, ROOT, NOT_BOB), ROOT, ROOT, 0o400),
    (of(0o644, ROOT, ROOT, NOT_BOB), BOB, ROOT, 0o444),
    (of(0o640, ROOT, ROOT, BOB_TOO), ROOT, ROOT, 0o400),
]


@pytest.mark.parametrize(("readers", "uid", "gid", "mode"), MODES)
def test_the_most_that_a_mode_may_grant(readers: Readers, uid: int, gid: int, mode: int) -> None:
    """Fewer where one mode can't say it."""
    assert mode == readers.grants(uid, gid, by_list=False).mode
    assert readers.grants(uid, gid, by_list=False) is readers.grants(uid, gid, by_list=False)


#: A source, whether its pyc needs a list, and the accounts and groups that it names.
LISTED: list[tuple[Readers, bool, dict[int, bool], dict[int, bool]]] = [
    (of(0o644), False, {}, {}),
    (of(0o600), False, {}, {}),
    (of(0o600, BOB, BOB), True, {BOB: True}, {BOB: False}),  # its owner, who isn't the pyc's
    (of(0o640, ROOT, STAFF), True, {}, {STAFF: True}),
    (of(0o640, ROOT, ROOT, BOB_TOO), True, {BOB: True}, {}),
    (of(0o644, ROOT, ROOT, NOT_BOB), True, {BOB: False}, {}),
    (of(0o640, ROOT, ROOT, WHEEL_TOO), True, {}, {WHEEL: True}),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), True, {}, {STAFF: True}),
]


@pytest.mark.parametrize(("readers", "need", "users", "groups"), LISTED)
def test_the_most_that_a_list_may_grant(
    readers: Readers, need: bool, users: dict[int, bool], groups: dict[int, bool]
) -> None:
    """Where it lets in more than a mode, for a pyc of root's."""
    assert need is readers.need_list(ROOT, ROOT)
    if need:
        found = readers.grants(ROOT, ROOT, by_list=True)
        assert (users, groups) == (found.users, found.groups)


#: A source, the owner of its pyc, the group of its directory, and the group that the pyc should have.
GROUP_OF: list[tuple[Readers, int, int, int]] = [
    (of(0o644, ROOT, STAFF), ROOT, WHEEL, STAFF),
    (of(0o644, ANN, STAFF), ROOT, WHEEL, WHEEL),  # everybody may read it: the directory's
    (of(0o640, ANN, STAFF), ROOT, WHEEL, STAFF),
    (of(0o600, ROOT, STAFF), ROOT, WHEEL, STAFF),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), ROOT, ROOT, STAFF),
    (of(0o600, ROOT, ROOT, None, STAFF_ONLY), ROOT, WHEEL, ROOT),
]


@pytest.mark.parametrize(("readers", "uid", "above", "expected"), GROUP_OF)
def test_group_of_a_pyc(readers: Readers, uid: int, above: int, expected: int) -> None:
    """The one that lets in the most."""
    assert expected == readers.group_for(uid, above)


#: A source, its pyc (mode, owner, group, list), whether somebody may do more with the pyc, and whether somebody less.
PAIRS: list[tuple[Readers, tuple[Any, ...], bool, bool]] = [
    (of(0o644), (0o644,), False, False),
    (of(0o644), (0o640,), False, True),
    (of(0o644), (0o604,), False, True),
    (of(0o644), (0o444,), False, False),
    (of(0o644), (0o666,), True, False),
    (of(0o644), (0o646,), True, False),
    (of(0o644), (0o664,), True, False),
    (of(0o664, ROOT, STAFF), (0o664, ROOT, STAFF), False, False),  # the source's own group may write it
    (of(0o664, ROOT, STAFF), (0o664, ROOT, WHEEL), True, False),
    (of(0o644, ROOT, STAFF), (0o664, ROOT, STAFF), True, False),
    (of(0o664, ROOT, STAFF), (0o664, ROOT, STAFF, BOB_TOO), True, True),
    (of(0o600), (0o600,), False, False),
    (of(0o600), (0o640,), True, False),
    (of(0o600), (0o604,), True, False),
    (of(0o600, ANN), (0o600, BOB), True, True),
    (of(0o600, ANN), (0o600, ANN), False, False),
    (of(0o640, ROOT, STAFF), (0o640, ROOT, STAFF), False, False),
    (of(0o640, ROOT, STAFF), (0o640, ROOT, WHEEL), True, True),  # staff could be let in by a list
    (of(0o640, ROOT, STAFF), (0o600, ROOT, STAFF), False, True),
    (of(0o640, ROOT, STAFF), (0o600, ANN, STAFF), False, True),
    (of(0o640, ROOT, ROOT, BOB_TOO), (0o640, ROOT, ROOT, BOB_TOO), False, False),
    (of(0o600), (0o640, ROOT, ROOT, BOB_TOO), True, False),
    (of(0o600), (0o640, ROOT, ROOT, WHEEL_TOO), True, False),
    (of(0o640, ROOT, WHEEL), (0o640, ROOT, ROOT, WHEEL_TOO), False, False),
    (of(0o644), (0o644, ROOT, ROOT, NOT_BOB), False, True),
    (of(0o644, ROOT, ROOT, NOT_BOB), (0o644,), True, False),
    (of(0o644, ROOT, ROOT, NOT_BOB), (0o644, ROOT, ROOT, NOT_BOB), False, False),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), (0o644,), True, False),
    (of(0o644, ROOT, ROOT, None, STAFF_ONLY), (0o640, ROOT, STAFF), False, False),
]


@pytest.mark.parametrize(("readers", "pyc", "more", "fewer"), PAIRS)
def test_a_pyc_beside_its_source(readers: Readers, pyc: tuple[Any, ...], more: bool, fewer: bool) -> None:
    """Whether it shows too much, and whether it keeps out who could be let in."""
    defaults: tuple[Any, ...] = (0, ROOT, ROOT, None)
    mode, uid, gid, acl = pyc + defaults[len(pyc) :]
    found = status(mode, uid, gid)
    assert more is readers.are_fewer_than_of(found, acl)
    assert fewer is readers.are_more_than_of(found, acl, ROOT, takes_lists=True)


@pytest.mark.parametrize(
    ("readers", "group", "takes_lists", "can_give", "expected"),
    [
        (of(0o640, ROOT, STAFF), ROOT, False, True, True),  # with the source's group it would be better
        (of(0o640, ROOT, STAFF), ROOT, False, False, False),
        (of(0o640, ROOT, STAFF), ROOT, True, False, True),
        (of(0o640, ROOT, STAFF), STAFF, False, True, False),
        (of(0o600, ROOT, STAFF), ROOT, False, True, False),
        (of(0o644, ROOT, STAFF), ROOT, False, True, False),
    ],
)
def test_what_could_be_better_is_only_told_if_we_could(
    monkeypatch: pytest.MonkeyPatch, readers: Readers, group: int, takes_lists: bool, can_give: bool, expected: bool
) -> None:
    """By a list, or by another group."""
    monkeypatch.setattr(module, "_can_give", lambda gid: can_give)
    mode = readers.grants(ROOT, group, by_list=False).mode
    found = status(mode | 0o200, ROOT, group)
    assert expected is readers.are_more_than_of(found, None, ROOT, takes_lists=takes_lists)


@pytest.mark.parametrize(
    ("gid", "euid", "acts", "expected"),
    [(7, 99, False, False), (7, 0, False, True), (7, 99, True, True), (5, 99, False, True), (6, 99, False, True)],
)
def test_who_can_give_a_file_to_a_group(
    monkeypatch: pytest.MonkeyPatch, gid: int, euid: int, acts: bool, expected: bool
) -> None:
    """Root, who acts as an account, and a member."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(os, "getegid", lambda: 5)
    monkeypatch.setattr(os, "getgroups", lambda: [6])
    monkeypatch.setattr(module, "acts_as_other", lambda: acts)
    assert expected is module._can_give(gid)


#: Source and pyc without lists, and whether a glance tells that they have the same readers.
ALIKE = [
    ((0o644,), (0o644,), True),
    ((0o755,), (0o444,), True),
    ((0o644, ANN, STAFF), (0o644, BOB, WHEEL), True),
    ((0o640, ANN, STAFF), (0o640, ANN, STAFF), True),
    ((0o640, ANN, STAFF), (0o640, ANN, WHEEL), False),
    ((0o600, ANN, STAFF), (0o600, BOB, STAFF), False),
    ((0o644,), (0o640,), False),
    ((0o644,), (0o664,), False),
    ((0o644,), (0o646,), False),
]


@pytest.mark.parametrize(("source", "pyc", "expected"), ALIKE)
def test_a_glance_at_two_modes(source: tuple[int, ...], pyc: tuple[int, ...], expected: bool) -> None:
    """The usual case needs no more."""
    assert expected is are_alike(status(*source), status(*pyc))


# -- directories ------------------------------------------------------------------------------------------------------


def directory(mode: int, uid: int = ROOT, gid: int = ROOT) -> os.stat_result:
    """The status of a directory."""
    return status(mode, uid, gid, stat.S_IFDIR)


#: A directory, its `__pycache__`, and whether that keeps out who could be let in.
VISITORS = [
    (directory(0o755), directory(0o755), False),
    (directory(0o755), directory(0o700), True),
    (directory(0o755), directory(0o711), False),
    (directory(0o755), directory(0o750), True),
    (directory(0o755, ANN), directory(0o700, BOB), True),
    (directory(0o700), directory(0o700), False),
    (directory(0o750, ROOT, STAFF), directory(0o700, ROOT, STAFF), True),
    (directory(0o750, ROOT, STAFF), directory(0o700, ROOT, WHEEL), False),
    (directory(0o750, ANN, STAFF), directory(0o700, BOB, STAFF), False),
    (directory(0o705, ROOT, STAFF), directory(0o700, ROOT, STAFF), True),
    (directory(0o755), directory(0o055), True),
    (directory(0o755, ANN), directory(0o055, BOB), False),
    (directory(0o055), directory(0o755), False),
]


@pytest.mark.parametrize(("above", "pycache", "expected"), VISITORS)
def test_whether_a_pycache_keeps_visitors_out(above: os.stat_result, pycache: os.stat_result, expected: bool) -> None:
    """Though a mode could say so."""
    assert expected is is_kept_from_visitors(above, pycache)


@pytest.mark.parametrize(
    ("above", "pycache", "mode"),
    [
        (directory(0o755), directory(0o700), 0o755),
        (directory(0o777), directory(0o700), 0o755),
        (directory(0o2755), directory(0o2700), 0o2755),
        (directory(0o750, ROOT, STAFF), directory(0o700, ROOT, STAFF), 0o750),
        (directory(0o750, ROOT, STAFF), directory(0o300, ROOT, WHEEL), 0o700),
        (directory(0o711, ROOT, STAFF), directory(0o700, ROOT, WHEEL), 0o711),
    ],
)
def test_mode_that_lets_visitors_in(above: os.stat_result, pycache: os.stat_result, mode: int) -> None:
    """Those whom the directory admits; nobody gains the right to write."""
    assert mode == mode_for_visitors(above, pycache)
    assert ENTER == 1
