"""Trees with enough sources for lanes, and what makes each of their files another case."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Bytes of sources from which on lanes are used, with some to spare.
ENOUGH = 600 << 10


def padded(text: str, size: int) -> str:
    """A source with a comment of this many bytes: it is as large as one that costs much, and costs nothing."""
    return f"# {'-' * size}\n{text}"


def bulk(count: int = 40, size: int = ENOUGH) -> dict[str, str]:
    """So many sources in eight directories, of so many bytes together."""
    return {f"bulk{number % 8}/m{number:03}.py": padded(f"x = {number}\n", size // count) for number in range(count)}


def age(top: Path, seconds: int = 1_600_000_000) -> None:
    """Give all sources the same time, so that a tree can be made again with the same bytecode."""
    for directory, _, names in os.walk(top):
        for name in names:
            if name.endswith(".py"):
                os.utime(os.path.join(directory, name), (seconds, seconds), follow_symlinks=False)


def make_again(top: Path, make: Callable[[Path], object]) -> None:
    """Make a tree at a place where one may be already."""
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    make(top)
    age(top)


def content_of(top: Path) -> dict[str, tuple[Any, ...]]:
    """Every entry below `top`: its mode, owner and group, and its content."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(top))] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    return found
