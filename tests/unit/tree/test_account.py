"""Who an account is, as the system's databases have it."""

from __future__ import annotations

import os
import pwd
import signal
import time
from typing import TYPE_CHECKING

import pytest

from processes import children_of, wait_until
from pyctrigger.tree import account as module
from pyctrigger.tree.account import AccountUnknownError, look_up_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODYS = 1_999_999_999


@pytest.fixture(autouse=True)
def answering() -> Iterator[None]:
    """No database was silent before."""
    module._Databases.silent_until = 0.0
    yield
    module._Databases.silent_until = 0.0


def test_an_account_with_an_entry() -> None:
    """Has its group, and all of its groups."""
    entry = pwd.getpwuid(os.getuid())
    found = look_up_groups(entry.pw_uid)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    assert (entry.pw_gid, sorted(groups)) == (found[0], sorted(found[1:]))


def test_groups_that_arent_mapped_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be anybody's."""
    entry = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(os, "getgrouplist", lambda *asked: {(entry.pw_name, entry.pw_gid): [7, 8, 9]}[asked])
    monkeypatch.setattr(module, "is_unmapped_group", lambda gid: gid == 8)
    assert [entry.pw_gid, 7, 9] == module._query_databases(entry.pw_uid)


def test_an_account_without_an_entry() -> None:
    """Has an unused group, a new one each time, and no other."""
    (first,), (second,) = look_up_groups(NOBODYS), look_up_groups(NOBODYS)
    assert first not in (0, NOBODYS, second)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"5 5 6.", [5, 5, 6]),
        (b"7.", [7]),
        (b".", []),
        (b"", []),
        (b"5 5", []),  # it isn't whole
    ],
)
def test_an_answer_has_to_be_whole(said: bytes, expected: list[int]) -> None:
    """A child may die in the middle."""
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    assert expected == module._read_answer(reading, time.monotonic() + 10)
    os.close(reading)


def test_an_answer_may_come_in_pieces() -> None:
    """Until its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, b"12 1")
        time.sleep(0.05)
        os.write(writing, b"3.")
        os._exit(0)
    os.close(writing)
    assert [12, 13] == module._read_answer(reading, time.monotonic() + 10)
    os.close(reading)
    os.waitpid(child, 0)


def test_a_database_that_hangs_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then not for a while; nothing is left of the one that was asked."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    monkeypatch.setattr(module, "_query_databases", lambda uid: time.sleep(60))
    before = (len(os.listdir("/proc/self/fd")), children_of(os.getpid()))
    message = f"the system's databases don't say which groups account {NOBODYS} has"
    with pytest.raises(AccountUnknownError, match=message):
        look_up_groups(NOBODYS)
    monkeypatch.setattr(module, "_query_databases", lambda uid: [1])
    with pytest.raises(AccountUnknownError, match=message):
        look_up_groups(NOBODYS)
    monkeypatch.setattr(module, "PATIENCE", 60.0)
    module._Databases.silent_until = 0.0
    assert (1,) == look_up_groups(NOBODYS)
    assert before == (len(os.listdir("/proc/self/fd")), children_of(os.getpid()))


def test_a_child_that_dies_isnt_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one may be asked at once."""
    monkeypatch.setattr(module, "_query_databases", lambda uid: os._exit(3))
    with pytest.raises(AccountUnknownError):
        look_up_groups(NOBODYS)
    monkeypatch.setattr(module, "_query_databases", lambda uid: [8, 8, 9])
    assert (8, 8, 9) == look_up_groups(NOBODYS)


def test_a_caller_who_ignores_its_children_gets_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have reaped the child before it is stopped."""
    read_answer, others = module._read_answer, children_of(os.getpid())

    def read_until_the_child_is_gone(reading: int, deadline: float) -> list[int]:
        answer = read_answer(reading, deadline)
        wait_until(lambda: others == children_of(os.getpid()))
        return answer

    monkeypatch.setattr(module, "_read_answer", read_until_the_child_is_gone)
    monkeypatch.setattr(module, "_query_databases", lambda uid: [8, 9])
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert (8, 9) == look_up_groups(NOBODYS)
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_no_process_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said with the reason, and no pipe stays open."""

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(module, "fork", refuse)
    before = len(os.listdir("/proc/self/fd"))
    message = rf"no process can be started to ask which groups account {NOBODYS} has \(Resource temporarily"
    with pytest.raises(AccountUnknownError, match=message):
        look_up_groups(NOBODYS)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_system_may_have_no_group_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a hundred tries."""
    tried: list[int] = []
    monkeypatch.setattr("grp.getgrgid", tried.append)
    with pytest.raises(OSError, match=r"^\[Errno 0\] no group is left$"):
        module._private_group()
    assert (100, True) == (len(tried), min(tried) > 0)
