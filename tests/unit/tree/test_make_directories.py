"""Making the directories on a way."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from acting import ANN, STAFF, let_act
from pyctrigger.tree.directory import make_directories

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("umask", [0, 0o077])
def test_missing_directories_are_made(tmp_path: Path, umask: int) -> None:
    """Open to all, whatever umask the caller has; what is there stays."""
    (tmp_path / "a").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        make_directories(f"{tmp_path}/a/b/X/")
        make_directories(f"{tmp_path}/a/b/X")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("a", "a/b", "a/b/X")]
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


def test_somebody_else_may_have_been_quicker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is as good."""
    mkdir = os.mkdir

    def make_twice(name: str, mode: int, *, dir_fd: int | None = None) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        mkdir(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", make_twice)
    make_directories(f"{tmp_path}/a/b")
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.usefixtures("as_root")
def test_what_another_account_gets_has_its_directorys_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is a member or not."""
    let_act(monkeypatch)
    os.chown(tmp_path, ANN, STAFF)
    make_directories(f"{tmp_path}/a/b")
    for path in ("a", "a/b"):
        status = (tmp_path / path).stat()
        assert (ANN, STAFF) == (status.st_uid, status.st_gid)
