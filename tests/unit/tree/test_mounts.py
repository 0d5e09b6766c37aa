"""Which kind of file system a path is on, by the table of mounts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from pyctrigger.tree import mounts

if TYPE_CHECKING:
    from pathlib import Path

TABLE = rb"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:44 / /home/a rw shared:2 master:1 - fuse.sshfs server:/a rw,user_id=1000
31 22 0:45 / /home/a/b rw - tmpfs none rw
32 22 0:46 / /mnt/with\040space rw - fuse none rw
33 22 0:47 / /srv/fused rw - fuseblk /dev/sdb rw
34 22 0:48 / /twice rw - fuse.x none rw
35 34 0:49 / /twice rw - ext4 none rw
36 22 0:50 / /thrice rw - ext4 none rw
37 36 0:51 / /thrice rw - fuse.x none rw
38 22 0:52 / /mnt/tail\040 rw - fuse none rw
39 22 0:53 / /mnt/BOX rw - fuse none rw
a line without sense
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", False),
        ("/home", False),
        ("/home/a", True),
        ("/home/a/", True),
        ("/home/a/site", True),
        ("/home/ab", False),
        ("/home/a/b", False),
        ("/home/a/b/c", False),
        ("/mnt/with space/x", True),
        ("/mnt/with", False),
        ("/mnt/tail", False),
        ("/mnt/BO", False),
        ("/srv/fused", False),
        ("/twice/x", False),  # what is mounted last is what one sees
        ("/thrice/x", True),
    ],
)
def test_the_innermost_mount_tells(monkeypatch: pytest.MonkeyPatch, path: str, expected: bool) -> None:
    """FUSE by itself or with a subtype; a block device's lets everybody in."""
    monkeypatch.setattr("builtins.open", lambda *arguments: io.BytesIO(TABLE))
    assert expected is mounts.lies_on_fuse(path)


def test_the_systems_own_table_is_read() -> None:
    """Its first mount point is that of the root."""
    found = mounts._read_mounts()
    assert "/" in [point for point, _ in found]
    assert all(kind for _, kind in found)


def test_no_table_tells_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a system without."""

    def absent(*arguments: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", absent)
    assert [] == mounts._read_mounts()
    assert mounts.lies_on_fuse(str(tmp_path)) is False
