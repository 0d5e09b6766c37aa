"""Birth times: what tells a directory from a later one with its inode."""

from __future__ import annotations

import os
import struct
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state import birth as module
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


#: What another system's status has, and the birth.
STATUSES: list[tuple[dict[str, Any], int]] = [
    ({"st_birthtime_ns": 7, "st_birthtime": 1.5}, 7),
    ({"st_birthtime": 1.5}, 1_500_000_000),
    ({}, 0),
]


@pytest.mark.parametrize(("fields", "expected"), STATUSES)
def test_on_other_systems_the_status_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], expected: int
) -> None:
    """To the nanosecond where Python has that."""
    monkeypatch.setattr(sys, "platform", "freebsd14")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert expected == birth_of(descriptor, SimpleNamespace(**fields))  # type: ignore[arg-type]
    os.close(descriptor)


@pytest.mark.parametrize(("mask", "expected"), [(0xFFF, 3_000_000_004), (0x7FF, 0)])
def test_the_kernel_says_whether_it_knows(monkeypatch: pytest.MonkeyPatch, mask: int, expected: int) -> None:
    """By a bit of its answer (statx(2)); what the field holds without it counts nothing."""

    def statx(name: str, *arguments: Any) -> int:
        *asked, answer = arguments
        assert ("statx", [5, b"", 0x1000, 0x800], 256) == (name, asked, len(answer))
        struct.pack_into("=I76xqI", answer, 0, mask, 3, 4)
        return 0

    monkeypatch.setattr(module, "call", statx)
    assert expected == birth_of(5, SimpleNamespace())  # type: ignore[arg-type]
