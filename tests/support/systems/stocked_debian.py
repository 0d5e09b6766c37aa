"""A Debian 13 beside an archive of packages for apt, so that installing them needs no network.

Made once by debootstrap and apt (two minutes, and a network), and kept. It is mounted together by whoever uses it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from debian_packages import ARCHIVE, write_index
from kept_systems import kept, prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Changes with what `_make` does.
_EDITION = "1"
_SUITE = "trixie"
_APT = """\
Acquire::Languages "none";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
"""
#: The environment of each command inside, by `env`.
_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
#: Goes inside, where nobody else sees what is mounted.
_ENTER = f"""\
top=$1 archive=$2
shift 2
mount --bind -o ro "$archive" "$top{ARCHIVE}" && mount -t proc proc "$top/proc" &&
    exec chroot "$top" /usr/bin/env -i {" ".join(_ENVIRONMENT)} "$@"
"""


class Stock(NamedTuple):
    """Both parts; the system is copied before anything in it is changed."""

    system: Path
    archive: Path

    def entering(self, top: Path, *command: str) -> list[str]:
        """The command line that runs a command in a copy of the system, beside the archive."""
        return ["unshare", "--mount", "sh", "-c", _ENTER, "sh", str(top), str(self.archive), *command]


def stocked_debian(names: Iterable[str]) -> Stock:
    """The cached Debian with these packages and all that they depend on in its archive. Needs root."""
    content = "\n".join([_EDITION, _SUITE, *names])
    place = kept("stocked", content, lambda top: _make(_stock(top), names), "Debian with packages for apt")
    return _stock(place)


def _stock(place: Path) -> Stock:
    return Stock(place / "system", place / "archive")


def _make(stock: Stock, names: Iterable[str]) -> None:
    stock.archive.mkdir(parents=True)
    top = stock.system
    bootstrap = ["debootstrap", "--variant=minbase", "--include=python3,ca-certificates", _SUITE, str(top)]
    prepare("unshare", "--mount", *bootstrap)
    downloaded = top / "var/cache/apt/archives"
    for package in downloaded.glob("*.deb"):
        package.unlink()
    (top / "etc/apt/apt.conf.d/99tests").write_text(_APT)
    (top / ARCHIVE.lstrip("/")).mkdir()
    prepare(*stock.entering(top, "apt-get", "-q", "-y", "--download-only", "install", *names))
    for package in downloaded.glob("*.deb"):
        shutil.move(package, stock.archive / package.name.replace("%3a", "-"))  # an epoch's colon
    write_index(stock.archive)
    for lists in (top / "var/lib/apt/lists").glob("*_dists_*"):
        lists.unlink()
    (top / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{ARCHIVE} ./\n")
    prepare(*stock.entering(top, "apt-get", "-q", "update"))
