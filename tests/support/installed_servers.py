"""Servers that no distribution has: from where Python's and Node's packages come, for the tests that follow, too."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from kept_systems import CACHE, locked_cache

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS = 300


def installed(name: str, wanted: str, command: Sequence[str], variables: Mapping[str, str]) -> Path | str:
    """A directory where a command has installed what is `wanted`: kept if we are root, else for a session.

    If it fails, what it complains about.
    """
    is_root = os.geteuid() == 0
    top = CACHE / name if is_root else Path(tempfile.mkdtemp(prefix="pyctrigger-servers-"))
    if not is_root:
        atexit.register(shutil.rmtree, top, ignore_errors=True)
    with locked_cache(f"{name}.lock") if is_root else nullcontext():
        stamp = top / "stamp"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return top
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        try:
            child = subprocess.run(
                command, cwd=top, capture_output=True, env={**os.environ, **variables}, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return "it takes too long"
        if child.returncode:
            complaint = child.stderr.decode("utf-8", "replace").strip().splitlines()
            return complaint[-1] if complaint else f"exit {child.returncode}"
        stamp.write_text(wanted, encoding="utf-8")
    return top
