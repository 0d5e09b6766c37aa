"""Debian's python3-defaults: its source where the archive has it, and its packages with our patches."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from debian_chroot import Chroot
from debian_packages import ARCHIVE, pack, write_index
from environment import CHECKOUT
from kept_systems import CACHE, locked_cache
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

#: As `git format-patch` wrote them, without the letter.
PATCHES = sorted((CHECKOUT / "ports/debian/upstream").glob("000[1-9]-*.patch"))
#: Of Debian 12, which an archive keeps for years; a version of sid is gone with the next.
SOURCE = "python3-defaults_3.11.2-1.tar.gz"
SOURCE_HASH = "21ba2c8fcf78161b73f98f9d1c3432be10d9f45e7783501f08cace5ad4115808"
#: Later than any version of Debian's in the archive.
VERSION = "99"

_PACKAGES = ("python3", "python3-minimal")
_PROGRAMS = ("py3compile", "py3clean")
_DEBHELPER = "#DEBHELPER#"
_POOL = "http://deb.debian.org/debian/pool/main/p/python3-defaults"
_HELPER = "/usr/lib/apt/apt-helper"
_SECONDS = 60
#: In the place of a version in the source.
_ANY_VERSION = "DEVELV"


def fetched_source() -> Path:
    """The source's archive file, fetched once by apt, which compares the hash."""
    if os.geteuid() != 0 or not os.access(_HELPER, os.X_OK):
        absent(f"needs root, and {_HELPER}")
    with locked_cache("python3-defaults.lock"):
        kept = CACHE / SOURCE
        if not kept.exists():
            options = ("-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root")
            target = f"{kept}.new"
            command = [_HELPER, *options, "download-file", f"{_POOL}/{SOURCE}", target, f"SHA256:{SOURCE_HASH}"]
            child = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
            if child.returncode != 0:
                absent(f"no {SOURCE}: {child.stderr.strip()[-300:]}")
            os.rename(target, kept)
    return kept


def apply_patches(tree: Path, *, leave_out: Sequence[str] = ()) -> None:
    """Apply them to a source tree as its maintainer does, without fuzz."""
    git = find_tool("git")
    if git is None:
        absent("no git")
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message=as it was"],
        ["am", "--quiet", *(f"--exclude={path}" for path in leave_out), *map(str, PATCHES)],
    ):
        command = [git, *identity, "-C", str(tree), *arguments]
        child = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert child.returncode == 0, child.stdout + child.stderr


def add_patched_packages(sid: Chroot, scratch: Path) -> Path:
    """Put python3 and python3-minimal into the archive of a Debian, patched. Returns their source tree.

    The tree has what the packages there were built of, as far as they show it; what is built of it is what debian/rules
    would build.
    """
    unpacked, tree = (scratch / name for name in ("packages", "tree"))
    unpacked.mkdir()
    for name in _PACKAGES:
        (built,) = sid.outside(ARCHIVE).glob(f"{name}_*_*.deb")
        subprocess.run(["dpkg-deb", "--raw-extract", str(built), str(unpacked / name)], check=True)
    minimal = unpacked / "python3-minimal"
    (tree / "debian").mkdir(parents=True)
    shutil.copytree(minimal / "usr/share/python3/debpython", tree / "debpython")
    version = _version(minimal)
    for name in _PROGRAMS:
        _copy(minimal / f"usr/bin/{name}", tree / name, version, _ANY_VERSION)
    scripts = {
        "python3-minimal.postinst.in": minimal / "DEBIAN/postinst",
        "python3-minimal.prerm": minimal / "DEBIAN/prerm",
        "python3.postinst.in": unpacked / "python3/DEBIAN/postinst",
    }
    for name, script in scripts.items():
        (tree / "debian" / name).write_text(f"{script.read_text().rstrip()}\n\n{_DEBHELPER}\n")

    # Its manual page is made of a file that no package has.
    apply_patches(tree, leave_out=["py3compile.rst"])

    shutil.copytree(tree / "debpython", minimal / "usr/share/python3/debpython", dirs_exist_ok=True)
    for name in _PROGRAMS:
        _copy(tree / name, minimal / f"usr/bin/{name}", _ANY_VERSION, VERSION)
    for name, script in scripts.items():
        _copy(tree / "debian" / name, script, _DEBHELPER, "")
    shutil.copy(tree / "debian/python3-minimal.triggers", minimal / "DEBIAN/triggers")
    for name in _PACKAGES:
        control = unpacked / name / "DEBIAN/control"
        text = control.read_text().replace(f"Version: {version}\n", f"Version: {VERSION}\n")
        control.write_text(text.replace(f"python3-minimal (= {version})", f"python3-minimal (= {VERSION})"))
        (unpacked / name / "DEBIAN/md5sums").unlink()
        pack((unpacked / name).rename(unpacked / f"{name}_{VERSION}"), sid.outside(ARCHIVE))
    write_index(sid.outside(ARCHIVE))
    return tree


def _version(package: Path) -> str:
    lines = (package / "DEBIAN/control").read_text().splitlines()
    (version,) = (line.partition(": ")[2] for line in lines if line.startswith("Version: "))
    return version


def _copy(source: Path, target: Path, before: str, after: str) -> None:
    text = source.read_text()
    assert text.count(before) == 1, f"{source}: {before}"
    target.write_text(text.replace(before, after))
