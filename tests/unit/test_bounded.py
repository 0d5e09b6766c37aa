"""Reading files of others: regular ones, and not more than was agreed on."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger import bounded
from pyctrigger.bounded import read_regular, regular_status

if TYPE_CHECKING:
    from pathlib import Path

#: The size of a file, the most that is read, and whether it is.
SIZES = [
    (0, 0, True),
    (0, 10, True),
    (1, 0, False),
    (10, 10, True),
    (11, 10, False),
    (65536, 65536, True),
    (65537, 65536, False),
    (200_000, 1 << 20, True),
]


@pytest.mark.parametrize(("size", "largest", "is_read"), SIZES)
@pytest.mark.parametrize("piece", [7, 1 << 16])
def test_a_file_is_read_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, largest: int, is_read: bool, piece: int
) -> None:
    """By its path, or by its name in an open directory."""
    monkeypatch.setattr(bounded, "_PIECE", piece)
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    before = len(os.listdir("/proc/self/fd"))
    directory = os.open(tmp_path, os.O_RDONLY)
    for path, above in [(str(tmp_path / "file"), None), ("file", directory)]:
        if is_read:
            assert data == read_regular(path, largest, above)
        else:
            with pytest.raises(OSError, match="larger than") as caught:
                read_regular(path, largest, above)
            assert errno.EFBIG == caught.value.errno
    os.close(directory)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("grown", [b"", b"more"])
def test_a_file_that_grows_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grown: bytes) -> None:
    """Its status says what it was."""
    (tmp_path / "file").write_bytes(b"first")
    real = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        with open(tmp_path / "file", "ab") as file:
            file.write(grown)
        return found

    monkeypatch.setattr(os, "fstat", growing)
    assert b"first" + grown == read_regular(str(tmp_path / "file"), 100)


def test_a_file_of_the_kernels_shows_no_size() -> None:
    """And is read to its end all the same."""
    assert read_regular("/proc/self/status", 1 << 16).startswith(b"Name:")
    with pytest.raises(OSError, match="larger than"):
        read_regular("/proc/self/status", 10)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    """No directory, no device, and no FIFO, without waiting for one."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(str(path), 100)
    with pytest.raises(FileNotFoundError):
        read_regular(str(tmp_path / "absent"), 100)
    with open("/proc/self/status", "rb") as file:
        assert regular_status(file.fileno()) == os.fstat(file.fileno())
