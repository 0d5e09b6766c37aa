"""Making the directories on a way."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from pyctrigger.tree.directory import make_directories

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("umask", [0, 0o077])
def test_missing_directories_are_made(tmp_path: Path, umask: int) -> None:
    """Open to all, whatever umask the caller has; what is there stays."""
    (tmp_path / "a").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        make_directories(f"{tmp_path}/a/b/c/")
        make_directories(f"{tmp_path}/a/b/c")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/c")]
    assert [0o700, 0o755, 0o755] == modes


def test_inside_a_root_links_stay_inside(tmp_path: Path) -> None:
    """As a chroot would see them."""
    (tmp_path / "root/real").mkdir(parents=True)
    (tmp_path / "root/link").symlink_to("/real")
    make_directories("/link/b/c", str(tmp_path / "root"))
    assert (tmp_path / "root/real/b/c").is_dir()
    with pytest.raises(FileNotFoundError):
        make_directories("/a", str(tmp_path / "absent"))


def test_a_file_on_the_way_is_an_error(tmp_path: Path) -> None:
    """Nothing is made beside it."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_directories(f"{tmp_path}/file/b")
    assert ["file"] == os.listdir(tmp_path)
