"""What keeps processes that run tests side by side out of each other's way: places of their own for pyctrigger's locks.

Root's places are fixed, and a lock there is for the whole machine: each process gets mounts of its own over them, which
end with it. Everybody else's are where the environment says.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

#: Where pyctrigger keeps locks as root on Linux; elsewhere nobody has mounts of their own. State is each test's own.
_LOCKS = Path("/run/pyctrigger")

#: sched.h and sys/mount.h
_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND = 2, 4, 8, 0x1000
#: Where dpkg says which package has which files: a list for each.
_LISTS = Path("/var/lib/dpkg/info")


@cache
def separable() -> bool:
    """Whether processes on this machine can be kept apart; tried in a child, which changes nothing here."""
    if os.geteuid() != 0:
        return True
    trial = f"import separation; separation.separate({os.devnull!r})"
    directory = os.path.dirname(os.path.abspath(__file__))
    child = subprocess.run([sys.executable, "-c", trial], cwd=directory, capture_output=True, check=False)
    return child.returncode == 0


def separate(runtime: str) -> None:
    """Give this process and its children places of their own: as root by mounts, else below the directory `runtime`.

    Raises OSError where root may not have mounts of its own: on other systems than Linux, and in many containers.
    """
    if os.geteuid() != 0:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        return
    if not sys.platform.startswith("linux"):
        raise OSError("no mounts of one's own on this system")
    libc = ctypes.CDLL(None, use_errno=True)
    _succeed(libc.unshare(_CLONE_NEWNS), "unshare")
    # Else a mount below a shared one would be everybody's. In a chroot / is no mount, but /run may be one.
    private = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    if libc.mount(b"none", b"/", None, private, None) != 0:
        _succeed(libc.mount(b"none", os.fsencode(_LOCKS.parent), None, private, None), f"mount {_LOCKS.parent}")
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    _succeed(libc.mount(b"none", os.fsencode(_LOCKS), b"tmpfs", flags, b"mode=0700"), f"mount {_LOCKS}")


def have_few_packages(place: Path, count: int) -> None:
    """Let dpkg know only so many of this machine's packages, for a process with mounts of its own and its children.

    `place` is where their lists are then. Without dpkg nothing is done. Raises OSError.
    """
    lists = sorted(_LISTS.glob("*.list"))
    if lists:
        place.mkdir()
        for path in lists[:count]:
            shutil.copy2(path, place)
        libc = ctypes.CDLL(None, use_errno=True)
        bind = ctypes.c_ulong(_MS_BIND)
        _succeed(libc.mount(os.fsencode(place), os.fsencode(_LISTS), None, bind, None), f"mount {_LISTS}")


def _succeed(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
