"""How much the state about a foreign tree may grow."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from pyctrigger.state.quota import Quota, StateFullError, measure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("left", "sizes", "then"),
    [
        (10_000, [5000], 5000),
        (10_000, [0], 5904),  # every file takes a block
        (10_000, [1], 5904),
        (8192, [4096, 4096], 0),
        (10_000, [4097], 5903),
    ],
)
def test_bytes_are_counted_before_they_are_written(left: int, sizes: list[int], then: int) -> None:
    """A block at least."""
    quota = Quota(left)
    for size in sizes:
        quota.spend(size)
    assert then == quota.left


@pytest.mark.parametrize("size", [0, 4096, 1 << 30])
def test_too_much_is_an_error(size: int) -> None:
    """As a full disk's quota says it."""
    with pytest.raises(StateFullError) as caught:
        Quota(4095).spend(size)
    assert (errno.EDQUOT, "its state would exceed the quota") == (caught.value.errno, caught.value.strerror)


@pytest.mark.parametrize(("left", "size", "then"), [(5, 7, 12), (5, -2, 3)])
def test_what_went_is_given_back(left: int, size: int, then: int) -> None:
    """To the byte."""
    quota = Quota(left)
    quota.give_back(size)
    assert then == quota.left


def test_a_directory_takes_what_is_in_it(tmp_path: Path) -> None:
    """Blocks of files, and one at least for each of them and for each directory."""
    assert 4096 == measure(str(tmp_path))
    write_tree(tmp_path, {"a/empty": "", "a/b/small": "x"})
    (tmp_path / "large").write_bytes(os.urandom(100_000))
    os.sync()
    large = max((tmp_path / "large").stat().st_blocks * 512, 4096)
    small = max((tmp_path / "a/b/small").stat().st_blocks * 512, 4096)
    assert 3 * 4096 + 4096 + small + large == measure(str(tmp_path))
    assert 0 == measure(str(tmp_path / "absent"))


def test_what_another_run_removes_meanwhile_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what comes after it is counted."""
    write_tree(tmp_path, {"a": "", "b": "", "c": ""})
    lstat, asked = os.lstat, []

    def vanishing(path: str) -> os.stat_result:
        asked.append(path)
        if len(asked) == 1:
            os.unlink(path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", vanishing)
    assert 3 * 4096 == measure(str(tmp_path))
