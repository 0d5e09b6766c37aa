"""Small files of ours: the old bytes or the new ones, and no residue."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state import own_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOCK = {number: errno.errorcode[number] for number in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)}


@pytest.mark.parametrize("durable", [True, False])
def test_data_are_put_under_their_name(tmp_path: Path, *, durable: bool) -> None:
    """In the place of an older one, for its owner alone, and nothing stays beside it."""
    path = tmp_path / "file"
    for data in (b"old\n", b"new: \xff\n"):
        own_files.write_bytes(str(path), data, durable=durable)
        assert (data, 0o600, ["file"]) == (path.read_bytes(), path.stat().st_mode & 0o777, os.listdir(tmp_path))


@pytest.mark.parametrize("value", [None, {}, {"a": [1, "é", None]}, "text", 7])
def test_a_value_comes_back(tmp_path: Path, value: Any) -> None:
    """As JSON."""
    own_files.write_durably(str(tmp_path / "file"), value)
    assert value == own_files.read(str(tmp_path / "file"))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"x"])
def test_what_is_no_value_is_none(tmp_path: Path, data: bytes) -> None:
    """Nor is a name without a file, or a FIFO."""
    (tmp_path / "file").write_bytes(data)
    os.mkfifo(tmp_path / "fifo")
    assert [None] * 4 == [own_files.read(str(tmp_path / name)) for name in ("file", "absent", "fifo", ".")]


def test_bytes_are_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the name before it returns; what may be lost is not waited for."""
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        done.append("directory" if name == str(tmp_path) else "file")
        sync(descriptor)

    def renamed(source: str, target: str) -> None:
        done.append(f"rename in {os.path.dirname(source)}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", renamed)
    own_files.write_bytes(str(tmp_path / "file"), b"x")
    assert ["file", f"rename in {tmp_path}", "directory"] == done
    done.clear()
    own_files.write_bytes(str(tmp_path / "file"), b"x", durable=False)
    assert [f"rename in {tmp_path}"] == done


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_what_fails_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """And nothing beside it."""
    (tmp_path / "file").write_text("old")

    def fail(*arguments: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="broken"):
        own_files.write_bytes(str(tmp_path / "file"), b"new")
    assert (["file"], "old") == (os.listdir(tmp_path), (tmp_path / "file").read_text())


def test_an_error_is_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the temporary file is gone already."""

    def fail(source: str, target: str) -> None:
        os.unlink(source)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match="broken"):
        own_files.write_bytes(str(tmp_path / "file"), b"new")


@pytest.mark.parametrize("happens", ["is refused", "comes too late"])
def test_a_temporary_file_whose_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: str) -> None:
    """Without locks nobody can sweep it; one that was swept before it was locked is made again."""
    lock, swept = fcntl.flock, list[str]()

    def flock(descriptor: int, operation: int) -> None:
        if happens == "is refused":
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        if not swept:
            swept.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            os.unlink(swept[0])
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    own_files.write_bytes(str(tmp_path / "file"), b"text")
    assert (["file"], "text", before) == (
        os.listdir(tmp_path),
        (tmp_path / "file").read_text(),
        len(os.listdir("/proc/self/fd")),
    )


@pytest.mark.parametrize("act", [own_files.hold_directory, own_files.sync_directory])
def test_a_file_is_no_directory(tmp_path: Path, act: Callable[[str], Any]) -> None:
    """It is neither held nor synced as one."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        act(str(tmp_path / "file"))


def test_a_directory_whose_lock_fails_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the error is the caller's."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", flock)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="broken"):
        own_files.hold_directory(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("number", "is_fine"), [*((number, True) for number in LOCK), (errno.EIO, False), (errno.ENOSPC, False)]
)
@pytest.mark.parametrize("call", ["fsync", "flock"])
def test_a_system_without_a_call_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_fine: bool, call: str
) -> None:
    """Some file systems and sandboxes are; a disk that fails is none."""

    def refuse(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    descriptor = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (fcntl, "flock")), refuse)
    act: Callable[[int], Any] = own_files.sync if call == "fsync" else own_files.try_lock
    if is_fine:
        assert act(descriptor) in (None, True)
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            act(descriptor)
    os.close(descriptor)


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    """Not what somebody is at, and nothing of another name."""
    for name in ("a.1-ab.tmp", "b.2-cd.tmp", "c.tmp.keep", "d"):
        (tmp_path / name).touch()
    (tmp_path / "link.tmp").symlink_to("d")
    (tmp_path / "directory.tmp").mkdir()
    held = os.open(tmp_path / "b.2-cd.tmp", os.O_WRONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    before = len(os.listdir("/proc/self/fd"))
    own_files.write_bytes(str(tmp_path / "new"), b"x", durable=False)
    assert ["b.2-cd.tmp", "c.tmp.keep", "d", "directory.tmp", "link.tmp", "new"] == sorted(os.listdir(tmp_path))
    os.close(held)
    own_files.sweep(str(tmp_path))
    assert before - 1 == len(os.listdir("/proc/self/fd"))
    assert not (tmp_path / "b.2-cd.tmp").exists()


def test_residue_is_removed_by_its_name_in_an_open_directory(tmp_path: Path) -> None:
    """Wherever the process is."""
    (tmp_path / "a.tmp").touch()
    directory = os.open(tmp_path, os.O_RDONLY)
    own_files.remove_unlocked("a.tmp", directory)
    os.close(directory)
    assert [] == os.listdir(tmp_path)


def test_a_lock_is_had_once(tmp_path: Path) -> None:
    """Until it is given back."""
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert (True, False) == (own_files.try_lock(first), own_files.try_lock(second))
    os.close(first)
    assert own_files.try_lock(second) is True
    os.close(second)


def test_a_directory_is_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is still the one of its name; a link is none."""
    place = tmp_path / "place"
    place.mkdir()
    first = own_files.hold_directory(str(place))
    assert first is not None
    assert own_files.hold_directory(str(place)) is None
    os.close(first)
    real = own_files.try_lock

    def exchanged(descriptor: int) -> bool:
        place.rename(tmp_path / "old")
        place.mkdir()
        return real(descriptor)

    monkeypatch.setattr(own_files, "try_lock", exchanged)
    before = len(os.listdir("/proc/self/fd"))
    assert own_files.hold_directory(str(place)) is None
    (tmp_path / "link").symlink_to("place")
    for name in ("absent", "link"):
        with pytest.raises(OSError, match=r"No such file|Too many levels|Not a directory"):
            own_files.hold_directory(str(tmp_path / name))
    assert len(os.listdir("/proc/self/fd")) <= before
