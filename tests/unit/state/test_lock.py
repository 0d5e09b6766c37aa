"""The lock file of an installation: one holder, who can be named, and anything that may stand in its place."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import LockTimeoutError
from pyctrigger.state import lock as module
from pyctrigger.state.lock import Holder, InstallationLock, NoLocksError, current_holder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOLDER = """
import sys, time
from pyctrigger.state.lock import InstallationLock
lock = InstallationLock(sys.argv[1], "x")
lock.acquire(10, print)
print("held", flush=True)
sys.stdin.read()
lock.release()
"""


def hold(directory: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(directory)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert "held\n" == child.stdout.readline()
    return child


def end(child: subprocess.Popen[str]) -> None:
    """End its input, and wait for it."""
    child.communicate("")


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """Their directory, which is made when it is needed."""
    return tmp_path / "locks"


def test_a_lock_is_taken_and_given_back(locks: Path) -> None:
    """With a note of its holder meanwhile, in files that are ours alone."""
    said: list[str] = []
    lock = InstallationLock(str(locks), "x")
    assert (False, None, None) == (lock.held, lock.descriptor, current_holder(str(locks), "x"))
    lock.acquire(0, said.append)
    holder = current_holder(str(locks), "x")
    assert holder is not None
    assert (True, os.getpid(), []) == (lock.held, holder.pid, said)
    assert os.path.samestat(os.fstat(lock.descriptor or -1), os.stat(locks / "x.lock"))
    assert {0o600} == {path.stat().st_mode & 0o777 & ~0o044 for path in locks.iterdir()}
    lock.release()
    lock.release()
    assert (False, ["x.lock"], None) == (lock.held, os.listdir(locks), current_holder(str(locks), "x"))


@pytest.mark.parametrize("has_note", [True, False])
def test_a_wait_is_announced_and_ends_with_the_holder(
    locks: Path, monkeypatch: pytest.MonkeyPatch, has_note: bool
) -> None:
    """Once, with who it is if that is known; the caller learns that it waited, whatever the holder did."""
    monkeypatch.setattr(module, "_ANNOUNCE_AFTER", 0.05)
    child, said, began = hold(locks), list[str](), time.monotonic()
    holder = current_holder(str(locks), "x")
    if not has_note:
        (locks / "x.owner").unlink()

    def announce(message: str) -> None:
        said.append(message)
        threading.Timer(0.2, child.kill).start()

    lock = InstallationLock(str(locks), "x")
    assert lock.acquire(9, announce, os.stat(locks / "x.lock").st_atime_ns) is True
    lock.release()
    child.communicate()
    expected = f"waiting for the lock, held by {holder if has_note else 'an unknown process'}"
    assert ([expected], True) == (said, time.monotonic() - began < 5)


def test_a_short_wait_is_not_announced(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs to know."""
    monkeypatch.setattr(module, "_ANNOUNCE_AFTER", 60.0)
    said: list[str] = []
    ender = threading.Timer(0.2, end, [hold(locks)])
    lock = InstallationLock(str(locks), "x")
    ender.start()
    try:
        assert lock.acquire(60, said.append) is True
    finally:
        ender.join()
        lock.release()
    assert [] == said


def test_a_use_shows_in_the_time_of_access_alone(locks: Path) -> None:
    """Older filelocks change the other times."""
    lock = InstallationLock(str(locks), "x")
    for _ in range(2):
        lock.acquire(0, print)
        lock.release()
        status = os.stat(locks / "x.lock")
        os.utime(locks / "x.lock", (1, 1))
    assert (True, 1) == (status.st_atime > 1, status.st_mtime)


def test_an_unknown_holder_is_named_so(locks: Path) -> None:
    """In the error, which comes when the time is over and no later."""
    child = hold(locks)
    (locks / "x.owner").unlink()
    began = time.monotonic()
    with pytest.raises(LockTimeoutError) as raised:
        InstallationLock(str(locks), "x").acquire(0.1, print)
    end(child)
    assert (None, True) == (raised.value.holder, time.monotonic() - began < 1)


#: Arguments of a command, and how it is called in the holder's note.
COMMANDS = [
    (["/usr/bin/pyctrigger", "run", "a", "b", "c"], "pyctrigger run a b"),
    (["pyctrigger"], "pyctrigger"),
    ([""], "python"),
    (["", "-c", "x"], "python -c x"),
    (["p", "\udcff\u00fc"], "p \udcff\u00fc"),
    (["p", "x" * 200], "p " + "x" * 118),
]


@pytest.mark.parametrize(("arguments", "expected"), COMMANDS)
def test_a_holder_is_named_by_its_command(
    locks: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    """Its name and the first arguments; with its pid and the time."""
    monkeypatch.setattr(sys, "argv", arguments)
    lock = InstallationLock(str(locks), "x")
    lock.acquire(0, print)
    pid, command, since = current_holder(str(locks), "x") or pytest.fail("nobody holds it")
    lock.release()
    assert (os.getpid(), expected, pytest.approx(time.time(), abs=5)) == (pid, command, since)


def test_a_note_that_can_not_be_written_is_done_without(locks: Path) -> None:
    """As on a full disk; nor does its removal matter."""
    lock = InstallationLock(str(locks), "x")
    (locks / "x.owner.tmp").mkdir()
    lock.acquire(0, print)
    assert (True, Holder(0, "unknown", 0.0)) == (lock.held, current_holder(str(locks), "x"))
    lock.release()
    assert False is lock.held


def test_every_thread_has_the_lock(locks: Path) -> None:
    """Not only the one that took it."""
    lock = InstallationLock(str(locks), "x")
    lock.acquire(0, print)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(lock.held))
    thread.start()
    thread.join()
    lock.release()
    assert [True] == found


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EINVAL])
def test_calls_that_a_sandbox_refuses(locks: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Modes and times are done without, locks aren't; others still get the calls themselves."""

    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchmod", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    before = os.umask(0)
    try:
        lock = InstallationLock(str(locks), "x")
        lock.acquire(0, print)
    finally:
        os.umask(before)
    assert (True, 0o600, refuse) == (lock.held, os.fstat(lock.descriptor or -1).st_mode & 0o777, os.fchmod)
    lock.release()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(NoLocksError) as raised:
        InstallationLock(str(locks), "x").acquire(0, print)
    assert (number, os.strerror(number)) == (raised.value.errno, raised.value.strerror)


#: As HOLDER, with a child that lives on until the input ends.
FORKING = """
import os, sys
from pyctrigger.state.lock import InstallationLock
lock = InstallationLock(sys.argv[1], "x")
lock.acquire(10, print)
if not os.fork():
    print(lock.held, flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_forked_does_not_hold_it_on(locks: Path) -> None:
    """Its parent was killed, and it lives: as one that asks a slow database which groups an account has."""
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(locks)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        said = child.stdout.readline()
        before = current_holder(str(locks), "x")
        child.kill()
        child.wait()
        after = current_holder(str(locks), "x")
    assert ("False\n", child.pid, None) == (said, before and before.pid, after)


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_one_that_is_held_names_its_holder(locks: Path, timeout: float) -> None:
    """In the error, after the time that was given and no more."""
    child = hold(locks)
    lock, began, said = InstallationLock(str(locks), "x"), time.monotonic(), list[str]()
    with pytest.raises(LockTimeoutError, match=rf"within {timeout} s, held by process {child.pid} \(-c") as raised:
        lock.acquire(timeout, said.append)
    assert (True, 75) == (timeout <= time.monotonic() - began < timeout + 5, raised.value.exit_code)
    assert len(said) == (1 if timeout else 0)
    InstallationLock(str(locks), "y").acquire(0, said.append)
    end(child)
    lock.acquire(0, said.append)
    lock.release()


def test_a_duplicate_of_the_descriptor_holds_it_as_well(locks: Path) -> None:
    """So a process that was forked keeps others out until it has ended."""
    lock = InstallationLock(str(locks), "x")
    lock.acquire(0, print)
    assert lock.descriptor is not None
    duplicate = os.dup(lock.descriptor)
    lock._close()  # as the end of its process does
    assert current_holder(str(locks), "x") is not None
    os.close(duplicate)
    assert current_holder(str(locks), "x") is None


def nothing(locks: Path) -> None:
    """Nobody comes."""


def comes(locks: Path) -> None:
    """Somebody comes and goes."""
    end(hold(locks))


def is_killed(locks: Path) -> None:
    """Somebody comes and is killed."""
    child = hold(locks)
    child.kill()
    child.communicate()


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize(("meanwhile", "expected"), [(nothing, False), (comes, True), (is_killed, True)])
def test_whoever_held_it_meanwhile_is_noticed(
    locks: Path, existed: bool, meanwhile: Callable[[Path], None], expected: bool
) -> None:
    """Whatever was read before may be old."""
    if existed:
        comes(locks)
    seen = os.stat(locks / "x.lock").st_atime_ns if existed else None
    meanwhile(locks)
    lock = InstallationLock(str(locks), "x")
    assert expected is lock.acquire(0, print, seen)
    lock.release()


@pytest.mark.parametrize("kind", ["directory", "link", "link to a file"])
def test_what_is_no_file_is_no_lock(locks: Path, kind: str) -> None:
    """It is an error, and nothing is written through it."""
    locks.mkdir(mode=0o700)
    path = locks / "x.lock"
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(locks.parent / "victim")
    if kind == "link to a file":
        (locks.parent / "victim").touch(0o644)
    with pytest.raises(OSError, match=r"x\.lock"):
        InstallationLock(str(locks), "x").acquire(0, print)
    victim = locks.parent / "victim"
    assert (kind == "link to a file", None) == (victim.exists(), current_holder(str(locks), "x"))
    assert not victim.exists() or victim.stat().st_mode & 0o777 == 0o644


#: What stands in a holder's note, and the holder.
NOTES: list[tuple[bytes | None, Holder]] = [
    (json.dumps({"pid": 7, "command": "c", "since": 1.5}).encode(), Holder(7, "c", 1.5)),
    (json.dumps({"pid": "7", "command": 7, "since": 1, "more": 1}).encode(), Holder(7, "7", 1.0)),
    *((data, Holder(0, "unknown", 0.0)) for data in (None, b"", b"{", b"7", b"[]", b'{"pid": 7}', b"\xff" * 9)),
]


@pytest.mark.parametrize(("note", "expected"), NOTES)
def test_a_holder_is_known_from_its_note(locks: Path, note: bytes | None, expected: Holder) -> None:
    """Without waiting for him; without a readable note nobody is named."""
    child = hold(locks)
    if note is None:
        (locks / "x.owner").unlink()
    else:
        (locks / "x.owner").write_bytes(note)
    assert expected == current_holder(str(locks), "x")
    (locks / "link.lock").symlink_to("x.lock")
    assert [None] * 3 == [
        current_holder(None, "x"),
        current_holder(str(locks), "absent"),
        current_holder(str(locks), "link"),
    ]
    end(child)


def test_a_holder_in_words() -> None:
    """As a person who waits reads it."""
    since = time.mktime((2024, 5, 6, 13, 4, 5, 0, 0, -1))
    assert "process 7 (pyctrigger run) since 13:04:05" == str(Holder(7, "pyctrigger run", since))
