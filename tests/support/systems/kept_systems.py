"""Systems that are made once, which takes minutes and a network, and kept for the runs that follow."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE = Path("/var/cache/pyctrigger-tests")
_SECONDS = 550


@contextmanager
def locked_cache(name: str) -> Iterator[None]:
    """Lock the making of what is kept in `CACHE`, which is root's own."""
    CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
    status = CACHE.lstat()
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not stat.S_ISDIR(status.st_mode):
        absent(f"{CACHE} is in other hands than root's")
    with (CACHE / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(name: str, content: str, make: Callable[[Path], None], what: str) -> Path:
    """The directory of a system, which is made if there is none of this content yet. If that fails, it is absent."""
    top, stamp = CACHE / name, CACHE / f"{name}.stamp"
    with locked_cache(f"{name}.lock"):
        if not (stamp.is_file() and stamp.read_text() == content):
            stamp.unlink(missing_ok=True)
            shutil.rmtree(top, ignore_errors=True)
            try:
                make(top)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
                shutil.rmtree(top, ignore_errors=True)
                said = (getattr(error, "stdout", None) or b"").decode("utf-8", "replace").strip()
                absent(f"no {what}: {said[-300:] or error}")
            stamp.write_text(content)
    return top


def prepare(*command: str) -> None:
    """Run what a system is made with. Raises CalledProcessError and TimeoutExpired, with what was said."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        env={**environment, "DEBIAN_FRONTEND": "noninteractive"},
    )
