"""An open directory: whose place it is, who else may write there, and what is above it."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

import pytest

from acting import ANN, AS_ANN, UNMAPPED, let_act, working_as
from conftest import absent
from pyctrigger.tree import opened as module
from pyctrigger.tree.identity import ForeignPlaceError, Identity
from pyctrigger.tree.opened import (
    Opened,
    account_of_owner,
    is_confined,
    open_below,
    read_link,
    reason_to_distrust,
    walk_up,
    writers_beside_root,
)
from pyctrigger.tree.permission.access_lists import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, takes_lists

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("as_root")
BOB = 12346
EVERYBODY = "everybody may write here, without a sticky bit; chmod o-w it"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """An open directory of root's."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def in_ann(owner: int) -> str:
    """The message about a third account's directory in Ann's."""
    return f"it belongs to account {owner}, and is in a directory of account {ANN}; chown -R {ANN} it"


def theirs(owners: str) -> str:
    """The message about Ann's directory with others' sources."""
    return f"it belongs to account {ANN}, and its sources to {owners}; chown it to the owner of its sources or to root"


#: Mode and owner of a directory, the owners of its sources, as whom we act, and why it isn't trusted.
HANDS: list[tuple[int, int, list[int], int | None, str | None]] = [
    (0o755, 0, [ANN], None, None),
    (0o775, 0, [], None, None),  # a group is the administrator's choice
    (0o777, 0, [], None, EVERYBODY),
    (0o757, ANN, [ANN], ANN, EVERYBODY),
    (0o1777, 0, [], None, None),
    (0o755, ANN, [ANN], None, None),
    (0o755, ANN, [ANN, BOB], None, None),
    (0o755, ANN, [BOB], None, theirs(f"account {BOB}")),
    (0o755, ANN, [BOB, 0, BOB], None, theirs(f"accounts 0, {BOB}")),
    (0o755, ANN, [ANN], ANN, None),
    (0o755, ANN, [BOB], ANN, theirs(f"account {BOB}")),
    (0o755, BOB, [BOB], ANN, in_ann(BOB)),
    (0o755, 0, [ANN], ANN, None),
]


@pytest.mark.parametrize(("mode", "owner", "owners", "account", "expected"), HANDS)
def test_whose_directory_is_trusted(
    directory: int, mode: int, owner: int, owners: list[int], account: int | None, expected: str | None
) -> None:
    """Root's, the caller's, and that of the owner of its sources."""
    os.fchown(directory, owner, owner)
    os.fchmod(directory, mode)
    acting = None if account is None else Identity(account, account, ())
    assert expected == reason_to_distrust(directory, lambda: owners, acting)


def test_owners_of_sources_are_asked_for_only_where_they_decide(directory: int) -> None:
    """It costs a look at each of them."""
    os.fchmod(directory, 0o755)
    assert reason_to_distrust(directory, lambda: pytest.fail("asked")) is None


def listed(*entries: tuple[int, int, int]) -> bytes:
    """The bytes of a list."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF
LIST = listed(
    (USER_OBJ, 7, NO_ID),
    (USER, 7, ANN),
    (USER, 5, BOB),
    (GROUP_OBJ, 5, NO_ID),
    (GROUP, 7, 50),
    (MASK, 7, NO_ID),
    (OTHER, 5, NO_ID),
)


@pytest.mark.parametrize(
    ("gid", "mode", "acl", "expected"),
    [
        (50, 0o775, None, ["group 50"]),
        (50, 0o755, None, []),
        (0, 0o775, None, []),
        (51, 0o775, LIST, [f"account {ANN}", "group 50"]),
    ],
)
def test_who_may_write_beside_root(directory: int, gid: int, mode: int, acl: bytes | None, expected: list[str]) -> None:
    """Its group, or whom a list names."""
    os.fchown(directory, 0, gid)
    os.fchmod(directory, mode)
    if acl is not None:
        if not takes_lists(directory):
            absent("no access lists on this file system")
        os.setxattr(directory, "system.posix_acl_access", acl)
    assert expected == writers_beside_root(directory, os.fstat(directory))


# -- going down and up ------------------------------------------------------------------------------------------------

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
#: An entry's kind and owner, whether it is judged whose place it is, and the error that comes of opening it, if any.
BELOW: list[tuple[str, int, bool, set[object] | None]] = [
    ("directory", 0, True, None),
    ("directory", ANN, True, {ForeignPlaceError}),
    ("directory", ANN, False, None),
    ("file", 0, True, {errno.ENOTDIR}),
    ("link", 0, True, {errno.ENOTDIR, errno.ELOOP}),
    ("link", ANN, False, {errno.ENOTDIR, errno.ELOOP}),
    ("absent", 0, True, {errno.ENOENT}),
    ("absent", 0, False, {errno.ENOENT}),
]


@pytest.mark.parametrize(("kind", "uid", "judged", "expected"), BELOW)
@pytest.mark.parametrize("confined", [False, True])
def test_a_directory_in_another_one(
    tmp_path: Path, kind: str, uid: int, judged: bool, confined: bool, expected: set[object] | None
) -> None:
    """Not through a link, and another account's place is reported; nothing stays open."""
    entry = tmp_path / "entry"
    if kind == "directory":
        entry.mkdir()
    elif kind == "file":
        entry.touch()
    elif kind == "link":
        entry.symlink_to("/")
    if kind != "absent":
        os.lchown(entry, uid, uid)
    above = Opened(os.open(tmp_path, os.O_RDONLY), None)
    before = len(os.listdir("/proc/self/fd"))
    if expected is None:
        found = open_below(above, "entry", _DIRECTORY, judged=judged, confined=confined)
        assert (None, entry.stat().st_ino) == (found.identity, os.fstat(found.descriptor).st_ino)
        os.close(found.descriptor)
    else:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - kind and number are compared
            open_below(above, "entry", _DIRECTORY, judged=judged, confined=confined)
        assert expected & {type(caught.value), caught.value.errno}
    assert len(os.listdir("/proc/self/fd")) <= before
    os.close(above.descriptor)


@pytest.mark.parametrize(("root", "expected"), [(None, False), ("/", False), ("/r", True), ("//", True)])
def test_below_a_root_mounts_are_not_entered(root: str | None, expected: bool) -> None:
    """This system's own has them everywhere."""
    assert expected is is_confined(root)


def test_up_to_the_root_of_the_system(tmp_path: Path) -> None:
    """Each directory on the way once, from the inside out."""
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    opened = Opened(os.open(inner, os.O_RDONLY), None)
    found = [(status.st_ino, os.fstat(descriptor).st_ino) for descriptor, status in walk_up(opened)]
    os.close(opened.descriptor)
    ways = [inner, *inner.parents]
    assert [(way.stat().st_ino,) * 2 for way in ways] == found
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("taken", [1, 2])
def test_a_way_up_that_isnt_gone_to_its_end_leaves_nothing_open(tmp_path: Path, taken: int) -> None:
    """Who looks for one of them stops there."""
    opened = Opened(os.open(tmp_path, os.O_RDONLY), None)
    before = len(os.listdir("/proc/self/fd"))
    way = walk_up(opened)
    for _ in range(taken):
        next(way)
    way.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) <= before
    os.close(opened.descriptor)


# -- other accounts' places -------------------------------------------------------------------------------------------


def test_a_block_in_an_open_directory_is_its_owners(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives the descriptor."""
    let_act(monkeypatch)
    for identity, uid in ((None, 0), (AS_ANN, ANN)):
        opened = Opened(directory, identity)
        with opened as descriptor:
            assert (directory, uid, None) == (descriptor, os.geteuid(), opened.exposed)
        assert 0 == os.geteuid()


def test_below_another_accounts_place_all_is_that_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it, and also where it isn't judged."""
    let_act(monkeypatch)
    tmp_path.chmod(0o755)
    for name, uid in (("hers", ANN), ("roots", 0)):
        (tmp_path / name).mkdir(mode=0o755)
        os.chown(tmp_path / name, uid, uid)
    here = os.open(tmp_path, os.O_RDONLY)
    found = [
        open_below(Opened(here, above), name, _DIRECTORY, judged=judged, confined=False)
        for above, name, judged in [
            (None, "hers", True),
            (None, "roots", True),
            (AS_ANN, "roots", True),
            (AS_ANN, "hers", False),
        ]
    ]
    assert [AS_ANN, None, AS_ANN, AS_ANN] == [each.identity for each in found]
    for each in (here, *(each.descriptor for each in found)):
        os.close(each)


@pytest.mark.parametrize("identity", [None, AS_ANN])
@pytest.mark.parametrize("judged", [False, True])
def test_a_mount_is_not_entered_below_a_root(
    monkeypatch: pytest.MonkeyPatch, identity: Identity | None, judged: bool
) -> None:
    """In this system's own it is."""
    let_act(monkeypatch)
    above = Opened(os.open("/", os.O_RDONLY), identity)
    os.close(open_below(above, "proc", _DIRECTORY, judged=judged, confined=False).descriptor)
    with pytest.raises(OSError, match="cross-device"):
        open_below(above, "proc", _DIRECTORY, judged=judged, confined=True)
    os.close(above.descriptor)


#: What root may not open, its owner, and whether that account opens it.
SQUASHED = [("directory", ANN, True), ("directory", 0, False), ("file", ANN, False), ("link", ANN, False)]


@pytest.mark.parametrize(("kind", "uid", "is_opened"), SQUASHED)
def test_where_root_has_no_rights_the_owner_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, uid: int, is_opened: bool
) -> None:
    """As on a network file system, which takes root for nobody."""
    let_act(monkeypatch)
    tmp_path.chmod(0o755)
    entry = tmp_path / "entry"
    (tmp_path / "real").mkdir()
    os.chown(tmp_path / "real", ANN, ANN)
    if kind == "directory":
        entry.mkdir()
    elif kind == "file":
        entry.touch()
    else:
        entry.symlink_to("real")
    os.lchown(entry, uid, uid)
    real = module.open_name

    def open_name(name: str, flags: int, directory: int, confined: bool) -> int:
        if os.geteuid() == 0:
            raise PermissionError(errno.EACCES, "squashed")
        return real(name, flags, directory, confined)

    monkeypatch.setattr(module, "open_name", open_name)
    above = Opened(os.open(tmp_path, os.O_RDONLY), None)
    if is_opened:
        found = open_below(above, "entry", _DIRECTORY, judged=True, confined=False)
        assert (AS_ANN, entry.stat().st_ino) == (found.identity, os.fstat(found.descriptor).st_ino)
        os.close(found.descriptor)
    else:
        with pytest.raises(PermissionError, match="squashed"):
            open_below(above, "entry", _DIRECTORY, judged=True, confined=False)
    os.close(above.descriptor)


#: The accounts that a namespace maps (first, how many), whether the file shows that its owner isn't, and who it is.
OWNERS = [(((0, 1000),), False, 0), (((0, 65536),), False, UNMAPPED), (((0, 65536),), True, 0)]


@pytest.mark.parametrize(("mapped", "is_refused", "expected"), OWNERS)
def test_an_owner_that_isnt_mapped_is_no_account(
    directory: int, monkeypatch: pytest.MonkeyPatch, mapped: object, is_refused: bool, expected: int
) -> None:
    """Such a place is ours; the directory itself is asked where a real account could have that id."""
    let_act(monkeypatch)
    os.fchown(directory, UNMAPPED, UNMAPPED)
    monkeypatch.setattr("pyctrigger.namespaces._mapped_ranges", lambda kind="uid": mapped)
    status, real = os.fstat(directory), os.open

    def opened(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if is_refused and (path, bool(flags & os.O_NOATIME), dir_fd) == (".", True, directory):
            raise PermissionError
        return real(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    assert expected == account_of_owner(directory, status)
    if expected == 0:
        assert module._identity_in(directory, status) is None
        os.fchmod(directory, 0o755)
        assert reason_to_distrust(directory, lambda: [ANN]) is None


def test_root_is_trusted_by_others(directory: int) -> None:
    """Its directory may be changed by whoever may."""
    os.fchmod(directory, 0o755)
    with working_as("ann"):
        assert reason_to_distrust(directory, lambda: [BOB]) is None


def test_the_way_up_from_another_accounts_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through directories that it may enter and not read, and as ourselves where it may do neither."""
    let_act(monkeypatch)
    inner = tmp_path / "closed/passage/hers"
    inner.mkdir(parents=True)
    os.chown(inner, ANN, ANN)
    for path, mode in [("closed/passage", 0o711), ("closed", 0o700)]:
        (tmp_path / path).chmod(mode)
    opened = Opened(os.open(inner, os.O_RDONLY), AS_ANN)
    assert [way.stat().st_ino for way in (inner, *inner.parents)] == [status.st_ino for _, status in walk_up(opened)]
    os.close(opened.descriptor)


@pytest.mark.parametrize(("name", "expected"), [("link", "goal"), ("file", None), ("absent", None)])
def test_what_a_link_contains(tmp_path: Path, directory: int, name: str, expected: str | None) -> None:
    """Nothing for what isn't one."""
    (tmp_path / "link").symlink_to("goal")
    (tmp_path / "file").touch()
    assert expected == read_link(name, directory)
    with pytest.raises(OSError, match="File name too long"):
        read_link("x" * 300, directory)
