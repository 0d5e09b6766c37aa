"""A whole system once more, for a test to change: a layer above it (overlayfs), or a copy where there are no layers.

A copy of a few hundred megabytes takes a second of CPU time, also in memory; a layer costs what the test changes.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Directories of the layer below can be renamed, and links stay links: as in any other file system.
_LIKE_ANY_OTHER = "redirect_dir=on,index=on"


@contextmanager
def another(original: Path, room: str | Path, *, whole: bool = False) -> Iterator[Path]:
    """The same tree with changes of its own, below the directory `room`; gone afterwards.

    Nobody may change the original as long as it is needed, unless the `whole` of it is copied. Linux puts two layers
    above a tree, and a third would be a copy at any rate.
    """
    with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=room) as scratch:
        top = Path(scratch) / original.name
        if whole or not _put_layer(original, Path(scratch), top):
            subprocess.run(["cp", "-a", "--reflink=auto", str(original), str(top)], check=True)
            yield top
            return
        try:
            yield top
        finally:
            # Whoever still has it open, a program that a hook left behind, loses nothing.
            subprocess.run(["umount", "--lazy", str(top)], check=True)


def _put_layer(original: Path, scratch: Path, top: Path) -> bool:
    """Whether there is one now."""
    changes, work = scratch / "changes", scratch / "work"
    for directory in (changes, work, top):
        directory.mkdir()
    options = f"lowerdir={original},upperdir={changes},workdir={work},{_LIKE_ANY_OTHER}"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", str(top)]
    # Not everywhere, and not for everybody.
    is_there = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if is_there:
        # The mount's root has the mode and times of the directory above, not those of the one below.
        shutil.copystat(original, top)
    else:
        for directory in (top, work, changes):
            shutil.rmtree(directory)
    return is_there
