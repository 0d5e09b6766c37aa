"""How this system's package databases are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.packages.databases import Files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Files, links and directories."""
    write_tree(
        tmp_path, {"a.list": "one\n", "b.list": "two\n", "c.txt": "", "pkg-1-1/files": "%FILES%", "pkg-1-1/desc": ""}
    )
    write_tree(tmp_path, {"empty/desc": ""})
    (tmp_path / "link").symlink_to("a.list")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "has", "has_file", "link"),
    [
        ("a.list", True, True, None),
        ("empty", True, False, None),
        ("link", True, True, "a.list"),
        ("dangling", False, False, "nowhere"),
        ("absent", False, False, None),
    ],
)
def test_what_is_there(place: Path, name: str, has: bool, has_file: bool, link: str | None) -> None:
    """A file, a directory, links, and nothing."""
    files, path = Files(), str(place / name)
    assert (has, has_file, link) == (files.has(path), files.has_file(path), files.link(path))
    assert (path, False) == (files.describe(path), files.is_foreign)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (".list", {"a": b"one\n", "b": b"two\n"}),
        ("/files", {"pkg-1-1": b"%FILES%"}),
        ("/absent", {}),
        (".absent", {}),
        (".txt", {"c": b""}),
    ],
)
def test_files_below_a_directory(place: Path, ending: str, expected: dict[str, bytes]) -> None:
    """By the end of their names, or one of a name in each directory."""
    before = len(os.listdir("/proc/self/fd"))
    assert expected == dict(Files().read_below(str(place), ending))
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000, 3_000_000])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    """Small, as large as a piece, and larger."""
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert data == Files().read(str(tmp_path / "file"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """An OSError, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Files().read(str(tmp_path / "absent"))
    with pytest.raises(OSError, match="not a regular file"):
        Files().read(str(tmp_path))
    assert before == len(os.listdir("/proc/self/fd"))
