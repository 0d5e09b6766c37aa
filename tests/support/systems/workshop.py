"""A Debian sid with the tools that packages are built and judged with: dpkg-buildpackage, lintian, rpmlint.

Made once of the other tests' sid (two minutes, and a network), kept, and given to each that uses it as a layer.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from debian_chroot import Chroot, chroot_program, original_sid, room
from kept_systems import CACHE, kept, prepare
from layered import another

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
    chroot = chroot_program()
    with another(_original(), room()) as top:
        yield Chroot(top, chroot)


def _original() -> Path:
    sid = original_sid()
    content = "\n".join([_EDITION, *PACKAGES, (CACHE / "sid.stamp").read_text()])
    return kept("workshop", content, partial(_make, sid), "Debian to build packages in")


def _make(sid: Path, top: Path) -> None:
    prepare("cp", "-a", "--reflink=auto", str(sid), str(top))
    (top / "etc/apt/sources.list.d/mirror.list").write_text(_MIRROR)
    # A mirror that stands still has lists that have expired.
    apt = ("chroot", str(top), "apt-get", "-q", "-y", "-o", "Acquire::Check-Valid-Until=false")
    prepare(*apt, "update")
    prepare(*apt, "install", "--no-install-recommends", *PACKAGES)
    prepare(*apt, "clean")
    for lists in (top / "var/lib/apt/lists").glob("*_dists_*"):
        lists.unlink()
