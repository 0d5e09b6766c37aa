"""Segments: what is published is found, and any other bytes in their files are nothing, or a number to be checked."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import absent
from pyctrigger.store.segments import Segment, SegmentWriter, Untrusted, is_live, list_segments, open_own, remove
from unit.store.shelves import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = int(time.time()) // 3600


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    """An open directory."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def write(directory: int, keys: list[bytes], *, publish: bool = True, mode: int = 0o600) -> str:
    """A segment with one container for each key. Returns its name."""
    writer = SegmentWriter(directory, mode)
    for number, key in enumerate(keys):
        writer.add(key, b"%d" % number)
    if publish:
        writer.publish()
    writer.close()
    return writer.name


@pytest.mark.parametrize("count", [1, 2, 7, 8, 300, 30_000])
def test_each_key_leads_to_its_container(directory: int, count: int) -> None:
    """And no other key to any; also where the index is too large to be kept in memory."""
    keys = [key_of(number) for number in range(count)]
    segment = Segment(write(directory, keys), directory)
    for number in range(0, count, max(1, count // 500)):
        found = segment.find(keys[number])
        assert found is not None
        assert b"%d" % number == segment.read(*found[1:])
    assert {None} == {segment.find(key_of(-number - 1)) for number in range(500)}
    assert sorted(keys) == [record.key for record in segment.records()]
    assert (count, sum(len(str(number)) for number in range(count))) == (segment.count, segment.size)
    segment.close()


def test_keys_that_begin_alike(directory: int) -> None:
    """Digests don't; whatever they are, what is found is theirs."""
    keys = [b"same" + struct.pack(">I", number).ljust(28, b"s") for number in range(1000)]
    segment = Segment(write(directory, keys), directory)
    for number in (0, 1, 500, 999):
        found = segment.find(keys[number])
        assert found is not None
        assert b"%d" % number == segment.read(*found[1:])
    assert segment.find(b"same".ljust(32, b"t")) is None
    segment.close()


def test_only_what_is_published_is_there(directory: int, tmp_path: Path) -> None:
    """The writer itself sees all of it. A segment of which nothing is published goes."""
    writer = SegmentWriter(directory, 0o600)
    writer.add(key_of(1), b"one")
    assert (b"one", None, True) == (writer.read(key_of(1)), writer.read(key_of(2)), writer.has_unpublished)
    writer.publish()
    writer.add(key_of(2), b"two")
    segment = Segment(writer.name, directory)
    assert (1, None) == (segment.count, segment.find(key_of(2)))
    writer.publish()
    assert 1 == segment.count
    again = Segment(writer.name, directory)
    assert (2, b"two") == (again.count, again.read(*(again.find(key_of(2)) or (0, 0, 0))[1:]))
    assert is_live(writer.name, directory)
    writer.close()
    assert not is_live(writer.name, directory)
    segment.close()
    again.close()
    remove(writer.name, directory)
    write(directory, [key_of(1)], publish=False)
    assert [] == os.listdir(tmp_path)


def test_a_full_disk_leaves_what_was_published(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written in part is written to its end later, or never published."""
    writer = SegmentWriter(directory, 0o600)
    writer.add(key_of(1), b"one")
    writer.publish()
    writer.add(key_of(2), b"two")
    write_all, calls = os.write, list[int]()

    def fails_after_a_byte(descriptor: int, data: memoryview) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_all(descriptor, data[:1])

    monkeypatch.setattr(os, "write", fails_after_a_byte)
    with pytest.raises(OSError, match="No space left"):
        writer.publish()
    assert [3, 2] == calls
    monkeypatch.undo()
    segment = Segment(writer.name, directory)
    assert 1 == segment.count
    segment.close()
    writer.publish()
    segment = Segment(writer.name, directory)
    assert b"two" == segment.read(*(segment.find(key_of(2)) or (0, 0, 0))[1:])
    segment.close()
    writer.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_of_an_index_are_bounded(directory: int, data: st.DataObject) -> None:
    """A flipped, cut or made-up index is none, or leads to something that is checked."""
    name = write(directory, [key_of(number) for number in range(20)])
    path = f"/proc/self/fd/{directory}/{name}.index"
    with open(path, "rb") as file:
        content = bytearray(file.read())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    with open(path, "wb") as file:
        file.write(content)
    with contextlib.suppress(OSError, ValueError):
        segment = Segment(name, directory)
        try:
            for number in range(30):
                found = segment.find(key_of(number))
                if found is not None:
                    segment.mark(found[0])
                    assert 0 <= len(segment.read(*found[1:])) <= 100
            assert 20 == len(list(segment.records()))
        finally:
            segment.close()
    remove(name, directory)


def test_when_something_was_used_is_kept(directory: int, tmp_path: Path) -> None:
    """For each record; what can't be read or lies in the future is the present at most."""
    name = write(directory, [key_of(number) for number in range(5)])
    segment = Segment(name, directory)
    assert [HOUR] * 5 == [min(hour, HOUR) for hour in segment.hours()]
    segment.write_hours(array("I", [1, 2, 3, 4, 2**32 - 1]), 0o600)
    later = int(time.time()) // 3600
    assert [1, 2, 3, 4, later] == list(segment.hours())
    used = tmp_path / f"{name}.used"
    content = used.read_bytes()
    for damage in (b"", content[:-1], content + b"x", b"X" + content[1:], content[:8] + b"\1" + content[9:]):
        used.write_bytes(damage)
        assert [HOUR] * 5 == [min(hour, HOUR) for hour in segment.hours()]
    segment.close()


#: What may be in a file's place, and how it gets there.
PLACES = ["group", "everybody", "account", "link", "fifo", "directory", "absent"]


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_others_could_have_written_is_none(directory: int, tmp_path: Path, place: str) -> None:
    """It is ours or root's, a regular file, and no link to one."""
    path = tmp_path / "0123456789abcdef.index"
    path.write_bytes(b"x")
    path.chmod({"group": 0o664, "everybody": 0o602}.get(place, 0o644))
    if place == "account":
        if os.geteuid():
            absent("root, who alone can give files away")
        os.chown(path, 12345, -1)
    elif place in ("link", "fifo", "directory", "absent"):
        path.rename(tmp_path / "other")
    if place == "link":
        path.symlink_to("other")
    elif place == "fifo":
        os.mkfifo(path)
    elif place == "directory":
        path.mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - each place has another reason
        open_own(path.name, directory)
    assert isinstance(caught.value, Untrusted) is (place in ("group", "everybody", "account"))


def test_only_files_of_segments_count(directory: int, tmp_path: Path) -> None:
    """Whatever else is in the directory stays as it is."""
    names = ["0123456789abcdef.data", "0123456789abcdef.used.tmp", "0123456789abcdef.txt", "0123456789ABCDEF.data"]
    for name in (*names, "lock", "README", "0123456789abcdef.index\n"):
        (tmp_path / name).touch()
    assert [("0123456789abcdef", ".data"), ("0123456789abcdef", ".used.tmp")] == list(list_segments(directory))


@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("umask", [0o077, 0o002, 0])
def test_modes_are_not_the_callers(directory: int, tmp_path: Path, mode: int, umask: int) -> None:
    """Whatever umask a package manager has."""
    before = os.umask(umask)
    try:
        name = write(directory, [key_of(1)], mode=mode)
    finally:
        os.umask(before)
    assert {mode} == {path.stat().st_mode & 0o777 for path in tmp_path.glob(f"{name}*")}
