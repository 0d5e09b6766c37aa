"""Leased accounts: which ids are leased, how they are recorded, and what runs under one when it is given back."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import signal
import stat
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, with_rights_of
from conftest import absent
from pyctrigger.interpreter import worker_accounts as module
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.worker_accounts import lease
from pyctrigger.namespaces import FREE_IDS, FREE_IDS_BELOW_64K, draw_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("as_root")


@pytest.fixture
def ids() -> list[int]:
    """Some that nothing has, from those that may be leased here."""
    found = list(dict.fromkeys(each for each in draw_ids() if module._has_processes(each) is False))
    if len(found) < 4:
        absent("no free ids in this user namespace")
    return found


@pytest.fixture
def place(tmp_path: Path) -> str:
    """Where leases are recorded; not made yet."""
    return str(tmp_path / "run/pyctrigger")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets these ids be drawn, in this order."""
    return lambda *uids: monkeypatch.setattr(module, "draw_ids", lambda: iter(uids))


@pytest.fixture
def run_as() -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts a process under an id, which ends for the kernel when it ends: somebody waits for it."""
    with contextlib.ExitStack() as stack:
        #: The command runs this first; once it has ended it is waited for so many seconds later.
        def start(uid: int, first: str = "trap '' TERM HUP", delay: float = 0.0) -> subprocess.Popen[bytes]:
            command = ["/bin/sh", "-c", f"{first}; echo; exec sleep 15"]
            options: dict[str, Any] = {"user": uid, "group": uid, "extra_groups": [], "start_new_session": True}
            child = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, cwd="/", **options))
            stack.callback(child.kill)

            def wait() -> None:
                if delay:
                    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
                    time.sleep(delay)
                child.wait()

            threading.Thread(target=wait).start()
            assert child.stdout is not None
            child.stdout.readline()
            return child

        yield start


def names_in(place: str) -> list[str]:
    """What is in a directory; nothing if it isn't there."""
    return sorted(os.listdir(place)) if os.path.isdir(place) else []


def test_only_root_has_accounts_to_lease(place: str) -> None:
    """All others' children run as themselves."""
    with with_rights_of(ANN):
        assert lease(place) is None
    assert [] == names_in(place)


def test_an_id_is_free_to_be_leased() -> None:
    """It has a group of its own, too, and need not be recorded."""
    leased = lease(None)
    assert leased is not None
    uid = leased.account.uid
    assert (Account(uid, uid), True) == (
        leased.account,
        any(first <= uid <= last for first, last in (*FREE_IDS, *FREE_IDS_BELOW_64K)),
    )
    leased.end()
    leased.end()


def test_a_lease_is_a_locked_file(place: str, ids: list[int], drawn: Callable[..., None]) -> None:
    """Only root reads it; it goes with the lease."""
    drawn(ids[0])
    before, mask = len(os.listdir("/proc/self/fd")), os.umask(0)
    leased = lease(place)
    os.umask(mask)
    assert leased is not None
    file = f"{place}/{ids[0]}.account"
    assert (Account(ids[0], ids[0]), [os.path.basename(file)]) == (leased.account, names_in(place))
    modes = [stat.S_IMODE(os.lstat(path).st_mode) for path in (os.path.dirname(place), place, file)]
    assert [0o755, 0o700, 0o600] == modes
    with open(file, "rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    leased.end()
    assert ([], before) == (names_in(place), len(os.listdir("/proc/self/fd")))
    other_id = os.open(os.devnull, os.O_RDONLY)  # the number that its descriptor had
    leased.end()
    os.close(other_id)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_an_id_is_leased_once(place: str, ids: list[int], drawn: Callable[..., None]) -> None:
    """Whoever has the lock has the id; with none left there is no lease."""
    drawn(ids[0], ids[1])
    first = lease(place)
    before = len(os.listdir("/proc/self/fd"))
    drawn(ids[0])
    assert (None, before) == (lease(place), len(os.listdir("/proc/self/fd")))
    drawn(ids[0], ids[1])
    second = lease(place)
    assert first is not None
    assert second is not None
    assert [ids[0], ids[1]] == [first.account.uid, second.account.uid]
    first.end()
    second.end()


@pytest.mark.parametrize("made", ["run", "run/pyctrigger"])
def test_directories_that_are_there_are_used(
    tmp_path: Path, place: str, ids: list[int], drawn: Callable[..., None], made: str
) -> None:
    """Everybody may look into them."""
    (tmp_path / made).mkdir(0o755, parents=True)
    (tmp_path / made).chmod(0o755)
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    assert [f"{ids[0]}.account"] == names_in(place)
    os.unlink(f"{place}/{ids[0]}.account")  # as who cleans up below /run
    leased.end()


def test_without_locks_nothing_is_recorded(
    place: str, ids: list[int], drawn: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("fcntl.flock", refuse)
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    assert (ids[0], [], before) == (leased.account.uid, names_in(place), len(os.listdir("/proc/self/fd")))
    leased.end()


def shared(place: str) -> None:
    """A directory that a group may write."""
    os.makedirs(place)
    os.chmod(place, 0o770)


def everybodys(place: str) -> None:
    """A directory that everybody may write."""
    os.makedirs(place)
    os.chmod(place, 0o1777)


def anns(place: str) -> None:
    """A directory of another account's."""
    os.makedirs(place)
    os.chown(place, ANN, 0)


def linked(place: str) -> None:
    """A link to a directory of root's."""
    os.makedirs(f"{place}.real", 0o700)
    os.symlink(f"{place}.real", place)


def filed(place: str) -> None:
    """A file."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb"):
        pass


def nowhere(place: str) -> None:
    """A directory that can't be made."""
    filed(os.path.dirname(place))


@pytest.mark.parametrize("prepare", [shared, everybodys, anns, linked, filed, nowhere])
def test_where_others_could_lock_nothing_is_recorded(
    place: str, ids: list[int], drawn: Callable[..., None], prepare: Callable[[str], None]
) -> None:
    """Chance keeps two hosts apart then."""
    prepare(place)
    drawn(ids[0])
    first, second = lease(place), lease(place)
    assert first is not None
    assert second is not None
    assert (ids[0], ids[0], []) == (first.account.uid, second.account.uid, names_in(place))
    first.end()
    second.end()


def test_what_cant_be_recorded_is_leased_all_the_same(place: str, ids: list[int], drawn: Callable[..., None]) -> None:
    """What is in the way stays."""
    os.makedirs(place, 0o700)
    os.symlink("nowhere", f"{place}/{ids[0]}.account")
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    leased.end()
    assert (ids[0], [f"{ids[0]}.account"]) == (leased.account.uid, names_in(place))


def test_an_id_with_a_process_isnt_drawn(ids: list[int], drawn: Callable[..., None], run_as: Any) -> None:
    """Somebody has it, whoever that is."""
    run_as(ids[0])
    drawn(ids[0], ids[1])
    leased = lease(None)
    assert leased is not None
    assert ids[1] == leased.account.uid


@pytest.mark.parametrize(
    "text",
    [
        "{id}",
        "x:y\nx:y:{id}",
        "x:y:{id}:0::/:/bin/sh",
        "\xff:x:{id}:0::/:/bin/sh\nx:y:none:0::/:",
        "x:y:\xb2:0\nx:y:{id}",
    ],
    ids=["alone", "short", "whole", "no ASCII", "no ASCII digit"],
)
def test_a_small_id_with_an_entry_isnt_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[int], drawn: Callable[..., None], text: str
) -> None:
    """It is somebody's, even if nothing runs under it now."""
    small = next(uid for uid in range(60_600, 61_000) if module._has_processes(uid) is False)
    passwd = tmp_path / "passwd"
    passwd.write_bytes(text.format(id=small).encode("latin-1"))

    def open_other(path: str, mode: str) -> Any:
        assert "/etc/passwd" == path
        return open(passwd, mode)

    monkeypatch.setattr(module, "open", open_other, raising=False)
    drawn(small, ids[0])
    leased = lease(None)
    assert leased is not None
    assert (small if text == "{id}" else ids[0]) == leased.account.uid
    passwd.unlink()
    drawn(small, ids[0])
    leased = lease(None)
    assert leased is not None
    assert small == leased.account.uid


def test_a_large_id_needs_no_look_at_entries(monkeypatch: pytest.MonkeyPatch, drawn: Callable[..., None]) -> None:
    """No convention gives it to anybody."""
    monkeypatch.setattr(module, "can_become", lambda _: True)
    monkeypatch.setattr(module, "_ids_with_entries", lambda: pytest.fail("it was looked at"))
    first = FREE_IDS[0][0]
    drawn(first)
    leased = lease(None)
    assert leased is not None
    assert first == leased.account.uid


def test_entries_are_those_of_the_system() -> None:
    """Of its own file, which root's is in."""
    local = {each.pw_uid for each in pwd.getpwall()}
    assert 0 in module._ids_with_entries()
    assert module._ids_with_entries() <= local


def test_without_the_right_to_change_ids_there_is_no_lease(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container that forbids it, a worker is the caller."""
    asked: list[Account] = []
    monkeypatch.setattr(module, "can_become", asked.append)
    assert (None, []) == (lease(place), names_in(place))
    (account,) = asked
    assert account.uid == account.gid


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_what_runs_under_a_lease_ends_with_it(
    place: str, ids: list[int], drawn: Callable[..., None], run_as: Any, handler: signal.Handlers
) -> None:
    """All of it, whatever it ignores, and nothing else; also where nobody waits for children."""
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    other, child = run_as(ids[1]), run_as(ids[0])
    drawn(ids[2])
    before = signal.signal(signal.SIGCHLD, handler)
    leased.end()
    signal.signal(signal.SIGCHLD, before)
    child.wait(5)
    assert (False, True, []) == (module._has_processes(ids[0]), module._has_processes(ids[1]), names_in(place))
    assert other.poll() is None


@pytest.mark.parametrize("error", [None, ProcessLookupError, PermissionError])
def test_what_takes_a_moment_to_end_is_waited_for(
    place: str,
    ids: list[int],
    drawn: Callable[..., None],
    run_as: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: type[OSError] | None,
) -> None:
    """And killed once more, where a system says that there was nothing to kill, or nothing that it may."""
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    child, real, failed = run_as(ids[0], delay=0.1), os.kill, list[int]()

    def kill(pid: int, number: int) -> None:
        if pid == -1 and error is not None and not failed:
            failed.append(number)
            raise error
        real(pid, number)

    drawn(ids[2])
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", kill)
        leased.end()
    assert [] == names_in(place)
    assert child.wait(5) is not None


@pytest.mark.parametrize("host", ["itself", "theirs"])
def test_who_might_kill_everything_kills_nothing(
    place: str, ids: list[int], drawn: Callable[..., None], run_as: Any, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Whoever may signal its host has a capability left; a host that isn't seen from there proves nothing."""
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    child = run_as(ids[0], ":")
    drawn(ids[1])
    with monkeypatch.context() as patched:
        patched.setattr(os, "getppid", lambda: child.pid if host == "theirs" else 0)
        leased.end()
    assert [f"{ids[0]}.account"] == names_in(place)
    time.sleep(0.02)
    assert child.poll() is None


@pytest.mark.parametrize("draws", [(), (0,)])
def test_without_another_id_nothing_is_killed(
    place: str, ids: list[int], drawn: Callable[..., None], run_as: Any, draws: tuple[int, ...]
) -> None:
    """The killer needs one; its own leased one would kill itself. The lease stays recorded, for a later host."""
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    child = run_as(ids[0])
    drawn(*(ids[each] for each in draws))
    leased.end()
    assert (None, [f"{ids[0]}.account"]) == (child.poll(), names_in(place))


def test_what_cant_be_killed_in_time_is_left_to_a_later_host(
    place: str, ids: list[int], drawn: Callable[..., None], run_as: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which finds its lease, unless the first one still holds it."""
    drawn(ids[0])
    leased = lease(place)
    assert leased is not None
    child = run_as(ids[0])
    monkeypatch.setattr(module, "_swept", set())
    drawn(ids[1], ids[2])
    second = lease(place)  # looks for what killed hosts left: this one is held
    assert second is not None
    second.end()
    assert (None, [f"{ids[0]}.account"]) == (child.poll(), names_in(place))
    with monkeypatch.context() as patched:
        patched.setattr(module, "_PATIENCE", 0)
        drawn(ids[1], ids[2])
        leased.end()
    assert (None, [f"{ids[0]}.account"]) == (child.poll(), names_in(place))

    for name in ("other", f"{ids[1]}.other", "x.account", ".account", "5.account"):
        with open(f"{place}/{name}", "wb"):
            pass
    drawn(ids[2], ids[3])
    third = lease(place)  # this host has looked there already
    assert third is not None
    third.end()
    assert child.poll() is None
    monkeypatch.setattr(module, "_swept", set())
    drawn(ids[2], ids[3])
    fourth = lease(place)
    assert fourth is not None
    fourth.end()
    child.wait(5)
    assert module._has_processes(ids[0]) is False
    assert sorted([".account", "5.account", f"{ids[1]}.other", "other", "x.account"]) == names_in(place)
