"""Sizes of files, each counted once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyctrigger.run.plan.disk_usage import FileSizes

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    """One with a single name, whenever it is asked for."""
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"12345")
    os.link(tmp_path / "b", tmp_path / "c")
    (tmp_path / "d").write_bytes(b"1234567")
    os.link(tmp_path / "d", tmp_path / "e")
    os.link(tmp_path / "d", tmp_path / "f")
    sizes = FileSizes()
    assert [3, 5, 0, 3, 7, 0, 0] == [sizes.of(os.stat(tmp_path / name)) for name in "abcadef"]
