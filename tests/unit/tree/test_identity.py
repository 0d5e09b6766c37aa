"""Acting as the account whose place it is, or leaving the place to a process that may."""

from __future__ import annotations

import errno
import os
import pickle
import pwd
import signal
import stat
from typing import TYPE_CHECKING, Any, Callable

import pytest

from acting import ANN, STAFF, UNMAPPED, let_act, working_as
from pyctrigger.tree import account
from pyctrigger.tree import identity as module
from pyctrigger.tree.identity import (
    Acting,
    ForeignPlaceError,
    Identity,
    IdentityRefusedError,
    acting_as_ourselves,
    acts_as_other,
    begin_acting,
    identity_of,
    is_root,
    make_directory,
    making_for,
    masking_nothing_of,
    places_met,
    read_umask,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_a_process_that_keeps_its_ids_leaves_the_place_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts how often."""
    monkeypatch.setattr(module, "_process", module._Process())
    for count in (1, 2):
        with pytest.raises(ForeignPlaceError) as caught:
            identity_of(ANN)
        error = caught.value
        assert (ANN, count, f"account {ANN} may rename here") == (error.uid, places_met(), error.strerror)
        assert (errno.EACCES, False) == (error.errno, acts_as_other())


def test_a_refusal_is_told_to_another_process() -> None:
    """With its reason."""
    error = pickle.loads(pickle.dumps(IdentityRefusedError(errno.EPERM, "no rights")))
    assert ("no rights", IdentityRefusedError) == (error.strerror, type(error))


@pytest.mark.parametrize(
    ("mode", "umask", "inner"), [(0o777, 0o777, 0), (0o755, 0o022, 0o022), (0o775, 0o027, 0o002), (0, 0o077, 0o077)]
)
def test_the_umask_takes_nothing_of_a_mode(mode: int, umask: int, inner: int) -> None:
    """For a block; and it is what it was afterwards."""
    before = os.umask(umask)
    try:
        with masking_nothing_of(mode):
            found = os.umask(0)
            os.umask(found)
        assert (inner, umask) == (found, os.umask(umask))
    finally:
        os.umask(before)


def test_the_umask_is_read_by_a_stricter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may make a file at that moment."""
    before = read_umask()
    seen: list[int] = []
    real = os.umask

    def umask(mask: int) -> int:
        seen.append(mask)
        return real(mask)

    monkeypatch.setattr(os, "umask", umask)
    assert (before, [0o077, before]) == (read_umask(), seen)


#: Who makes a directory, whether the process may act as others, the group that it is for, and the one that it has.
MADE = [
    ("root", False, 0, 0),
    ("root", False, STAFF, STAFF),  # by another process
    ("root", False, UNMAPPED, 0),
    ("root", True, STAFF, STAFF),
    ("root", True, UNMAPPED, 0),
    ("acting", True, STAFF, STAFF),
    ("acting", True, ANN, ANN),
    ("ann", False, STAFF, ANN),  # who can't give it to others
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("doer", "may_act", "gid", "expected"), MADE)
def test_a_directory_has_its_mode_and_group_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doer: str, may_act: bool, gid: int, expected: int
) -> None:
    """And our ids are what they were; an error is told as it is."""
    real, ours = os._exit, os.getpid()
    monkeypatch.setattr("pyctrigger.namespaces.is_restricted", lambda: True)
    monkeypatch.setattr(os, "_exit", lambda code: real(code) if os.getpid() != ours else pytest.fail("left"))
    if may_act:
        let_act(monkeypatch)
    os.chown(tmp_path, ANN if doer != "root" else 0, 0)
    parent = os.open(tmp_path, os.O_RDONLY)
    ids = os.getresuid(), os.getresgid(), os.getgroups()
    with working_as(doer):
        make_directory(parent, "made", 0o700, gid)
        with pytest.raises(FileExistsError, match="File exists"):
            make_directory(parent, "made", 0o700, gid)
    assert ids == (os.getresuid(), os.getresgid(), os.getgroups())
    status = (tmp_path / "made").stat()
    assert (0o700, expected) == (stat.S_IMODE(status.st_mode), status.st_gid)
    os.close(parent)


@pytest.mark.usefixtures("as_root")
def test_a_process_that_dies_before_it_made_a_directory_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end says nothing of a directory."""
    parent = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "mkdir", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OSError, match="Input/output error"):
        make_directory(parent, "made", 0o700, STAFF)
    os.close(parent)


def test_we_are_ourselves() -> None:
    """Blocks for nobody, and for a group, change nothing."""
    ids = os.getresuid(), os.getresgid(), os.getgroups()
    with Acting(None), acting_as_ourselves(), making_for(50):
        assert (ids, False) == ((os.getresuid(), os.getresgid(), os.getgroups()), acts_as_other())
    assert is_root() is (os.geteuid() == 0)


#: What a process does that may act, and what it shows: user, group, groups, and whether it acts.
ACTS = {
    "as an account": (
        "with Acting(ann): show()\nshow()",
        [(12345, 12346, [12346, 12347], True), (0, 0, [5], False)],
    ),
    "within one": (
        "with Acting(ann):\n    with Acting(bob): show()\n    show()\nshow()",
        [(12345, 12346, [12346, 12347], True), (12345, 12346, [12346, 12347], True), (0, 0, [5], False)],
    ),
    "as ourselves for a moment": (
        "with Acting(ann):\n    with acting_as_ourselves(): show()\n    show()",
        [(0, 0, [5], False), (12345, 12346, [12346, 12347], True)],
    ),
    "for another group": (
        "with Acting(ann):\n    with making_for(50): show()\n    show()",
        [(12345, 50, [12346, 12347], True), (12345, 12346, [12346, 12347], True)],
    ),
    "for its own group": ("with Acting(ann), making_for(12346): show()", [(12345, 12346, [12346, 12347], True)]),
    "for nobody": ("with Acting(None): show()", [(0, 0, [5], False)]),
    "after an error": ("try:\n    with Acting(ann): 1 / 0\nexcept ZeroDivisionError: show()", [(0, 0, [5], False)]),
}


@pytest.fixture
def groups(as_root: None) -> Iterator[None]:
    """A process of root's in one group; all is put back."""
    before = os.getgroups()
    os.setgroups([5])
    yield
    os.setresuid(0, 0, 0)
    os.setresgid(0, 0, 0)
    os.setgroups(before)


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("case", ACTS)
def test_a_process_that_acts_has_an_accounts_ids_for_a_block(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is root again afterwards; the real and saved ids stay root's."""
    let_act(monkeypatch)
    shown: list[object] = []

    def show() -> None:
        shown.append((os.geteuid(), os.getegid(), sorted(os.getgroups()), acts_as_other()))
        assert (0, 0, 0, 0) == (*os.getresuid()[::2], *os.getresgid()[::2])

    code, expected = ACTS[case]
    ann, bob = Identity(12345, 12346, (12346, 12347)), Identity(2, 2, ())
    exec(code, {**vars(module), "ann": ann, "bob": bob, "show": show})
    assert expected == shown


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(("uids", "gids"), [((0, 0, 0), (5, 5, 5)), ((7, 7, 0), (0, 0, 0)), ((0, 7, 7), (0, 0, 0))])
def test_whoever_begins_to_act_is_root_in_all_ids(
    monkeypatch: pytest.MonkeyPatch, uids: tuple[int, int, int], gids: tuple[int, int, int]
) -> None:
    """Whatever ids it was started with."""
    monkeypatch.setattr(module, "_process", module._Process())
    os.setresgid(*gids)
    os.setresuid(*uids)
    begin_acting()
    assert ((0, 0, 0), (0, 0, 0), True) == (os.getresuid(), os.getresgid(), is_root())


@pytest.mark.usefixtures("groups")
def test_identity_of_an_account_is_proven_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the groups that the databases say."""
    let_act(monkeypatch)
    asked: list[int] = []
    real = account.look_up_groups

    def look_up(uid: int) -> tuple[int, ...]:
        asked.append(uid)
        return real(uid)

    monkeypatch.setattr(account, "look_up_groups", look_up)
    entry = pwd.getpwuid(1)
    expected = Identity(1, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))
    assert [expected, expected, [1]] == [identity_of(1), identity_of(1), asked]
    assert (ANN + 1, ()) == identity_of(ANN + 1)[::2]
    assert ((0, 0, 0), (0, 0, 0), [5]) == (os.getresuid(), os.getresgid(), os.getgroups())


CANT_ACT = (
    "root can't act as account 1, which owns it (Operation not permitted); "
    "run it as that account, or give root CAP_SETUID and CAP_SETGID"
)
CANT_DROP = "root can't drop its rights to act as account 1, which owns it; run it as that account"


def refuse(error: Exception) -> Callable[..., Any]:
    """A call that fails."""

    def call(*_: object) -> None:
        raise error

    return call


NOT_PERMITTED = PermissionError(errno.EPERM, "Operation not permitted")
#: What doesn't do what it should, and why nothing is done in the account's places then.
REFUSALS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "databases": (
        "pyctrigger.tree.account.look_up_groups",
        refuse(account.AccountUnknownError("no answer")),
        "no answer",
    ),
    "a lack of rights": (
        "os.setegid",
        lambda gid: gid and refuse(PermissionError(1, "Operation not permitted"))(),
        CANT_ACT,
    ),
    "capabilities that stay": ("pyctrigger.clibrary.read_capabilities", lambda: 1, CANT_DROP),
    "capabilities that can't be read": ("pyctrigger.clibrary.read_capabilities", refuse(OSError()), CANT_DROP),
    "a Python without ctypes": ("pyctrigger.clibrary.read_capabilities", refuse(ImportError()), CANT_DROP),
    "groups that stay": ("os.getgroups", lambda: [99], CANT_DROP),
    "a group that stays": ("os.getegid", lambda: 0, CANT_DROP),
}


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("case", REFUSALS)
def test_an_identity_that_isnt_proven_is_refused(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """With the reason, each time, and we are ourselves again."""
    name, call, reason = REFUSALS[case]
    let_act(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(name, call)
        for _ in range(2):
            with pytest.raises(IdentityRefusedError) as caught:
                identity_of(1)
            assert (errno.EPERM, reason) == (caught.value.errno, caught.value.strerror)
    assert (0, 0, False) == (os.geteuid(), os.getegid(), acts_as_other())
