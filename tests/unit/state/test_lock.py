"""The lock file of an installation: one holder, who can be named, and anything that may stand in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import LockTimeoutError
from pyctrigger.state.lock import Holder, InstallationLock, current_holder

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
    os.close(lock.descriptor)
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


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_is_no_file_is_no_lock(locks: Path, kind: str) -> None:
    """It is an error, and nothing is written through it."""
    locks.mkdir(mode=0o700)
    path = locks / "x.lock"
    if kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(locks.parent / "victim")
    with pytest.raises(OSError, match=r"x\.lock"):
        InstallationLock(str(locks), "x").acquire(0, print)
    assert (False, None) == ((locks.parent / "victim").exists(), current_holder(str(locks), "x"))


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
    assert (None, None) == (current_holder(None, "x"), current_holder(str(locks), "absent"))
    end(child)


def test_a_holder_in_words() -> None:
    """As a person who waits reads it."""
    said = str(Holder(7, "pyctrigger run", 0.0))
    assert said.startswith("process 7 (pyctrigger run) since ")
