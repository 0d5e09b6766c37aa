"""A Debian sid with the tools that packages are built and judged with: dpkg-buildpackage, lintian, rpmlint.

Made once of the other tests' sid (two minutes, and a network), kept, and given to each that uses it as a layer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conftest import absent
from debian_chroot import BUILD_SECONDS, CACHE, Chroot, locked_cache, original_sid, room
from layered import another
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What a Debian developer has, less than half of which is recommended anyway.
PACKAGES = (
    *("build-essential", "debhelper", "fakeroot", "lintian", "rpm", "rpmlint"),
    *("python3-filelock", "python3-platformdirs", "python3-tomli"),
)
#: Changes with what `_make` does.
_EDITION = "1"
_MIRROR = "deb http://deb.debian.org/debian sid main\n"


@contextmanager
def workshop() -> Iterator[Chroot]:
    """One that may be changed, gone afterwards. Only root can have it."""
    chroot = find_tool("chroot")
    if chroot is None or os.geteuid() != 0:
        absent("needs root, and chroot")
    with another(_original(), room()) as top:
        yield Chroot(top, chroot)


def _original() -> Path:
    sid = original_sid()
    with locked_cache("workshop.lock"):
        top, stamp = CACHE / "workshop", CACHE / "workshop.stamp"
        content = "\n".join([_EDITION, *PACKAGES, (CACHE / "sid.stamp").read_text()])
        if not (stamp.is_file() and stamp.read_text() == content):
            stamp.unlink(missing_ok=True)
            _make(sid, top)
            stamp.write_text(content)
    return top


def _make(sid: Path, top: Path) -> None:
    shutil.rmtree(top, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(sid), str(top)], check=True)
    (top / "etc/apt/sources.list.d/mirror.list").write_text(_MIRROR)
    # A mirror that stands still has lists that have expired.
    apt = ["chroot", str(top), "apt-get", "-q", "-y", "-o", "Acquire::Check-Valid-Until=false"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin", "DEBIAN_FRONTEND": "noninteractive"}
    for command in ([*apt, "update"], [*apt, "install", "--no-install-recommends", *PACKAGES], [*apt, "clean"]):
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS,
            env=environment,
            check=False,
        )
        if child.returncode != 0:
            shutil.rmtree(top)
            absent(f"no Debian to build packages in: {child.stdout.decode('utf-8', 'replace').strip()[-300:]}")
    for lists in (top / "var/lib/apt/lists").glob("*_dists_*"):
        lists.unlink()
