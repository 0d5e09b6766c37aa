"""Birth times: what tells a directory from a later one with its inode."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from pyctrigger.state.birth import birth_of

if TYPE_CHECKING:
    from pathlib import Path


def birth_at(path: Path) -> int:
    """That of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return birth_of(descriptor, os.fstat(descriptor))
    finally:
        os.close(descriptor)


def test_a_birth_stays_whatever_happens(tmp_path: Path) -> None:
    """Unlike the times that writing changes or anybody may set."""
    before = time.time_ns() - 1_000_000_000
    directory = tmp_path / "directory"
    directory.mkdir()
    birth = birth_at(directory)
    assert before < birth <= time.time_ns()
    (directory / "file").touch()
    os.utime(directory, (1, 1))
    os.chmod(directory, 0o700)
    assert birth == birth_at(directory)


def test_what_is_made_anew_is_born_anew(tmp_path: Path) -> None:
    """Under the same name, and often with the same inode."""
    births = set()
    for _ in range(3):
        (tmp_path / "directory").mkdir()
        births.add(birth_at(tmp_path / "directory"))
        (tmp_path / "directory").rmdir()
        time.sleep(0.02)
    assert 3 == len(births)


def test_what_cannot_be_asked_has_no_birth(tmp_path: Path) -> None:
    """A kernel or file system without it, as a descriptor that is closed."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    status = os.fstat(descriptor)
    os.close(descriptor)
    assert 0 == birth_of(descriptor, status)
