"""An open directory: whose place it is, who else may write there, and what is above it."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

import pytest

from pyctrigger.tree import opened as module
from pyctrigger.tree.identity import ForeignPlaceError, Identity
from pyctrigger.tree.opened import Opened, is_confined, open_below, reason_to_distrust, walk_up, writers_beside_root
from pyctrigger.tree.permission.access_lists import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("as_root")
ANN, BOB = 12345, 12346
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
def test_who_may_write_beside_root(
    monkeypatch: pytest.MonkeyPatch, directory: int, gid: int, mode: int, acl: bytes | None, expected: list[str]
) -> None:
    """Its group, or whom a list names."""
    os.fchown(directory, 0, gid)
    os.fchmod(directory, mode)
    monkeypatch.setattr(module, "access_list", lambda descriptor, status: acl)
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
    assert before == len(os.listdir("/proc/self/fd"))
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
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("taken", [1, 2])
def test_a_way_up_that_isnt_gone_to_its_end_leaves_nothing_open(tmp_path: Path, taken: int) -> None:
    """Who looks for one of them stops there."""
    opened = Opened(os.open(tmp_path, os.O_RDONLY), None)
    before = len(os.listdir("/proc/self/fd"))
    way = walk_up(opened)
    for _ in range(taken):
        next(way)
    way.close()  # type: ignore[attr-defined]
    assert before == len(os.listdir("/proc/self/fd"))
    os.close(opened.descriptor)
