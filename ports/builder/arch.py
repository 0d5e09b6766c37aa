"""pacman's package, made of the PKGBUILD by bash and bsdtar, as makepkg would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pyctrigger.packages.pacman import Pacman

from .stage import compressed, put, settle, source_date_epoch
from .trouble import BuildError

if TYPE_CHECKING:
    from .platforms import Platform

#: Where packages put hooks; an administrator's of the same name in /etc/pacman.d/hooks replaces one (alpm-hooks(5)).
_HOOKS = "usr/share/libalpm/hooks"
_MTREE = "!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link"  # pacman 6.0 wants the MD5 as well
_VARIABLES = {
    "pkgname": "pkgname",
    "pkgdesc": "pkgdesc",
    "arch": "arch",
    "license": "license",
    "depends": "depend",
    "backup": "backup",
}
#: Prints each value of each variable, and has the function package() lay the files out.
_SCRIPT = r"""
set -eu
. "$startdir/PKGBUILD"
printf 'pkgver\0%s\0install\0%s\0' "$pkgver-$pkgrel" "$install"
for variable in "$@"; do
    declare -n values=$variable
    for value in "${values[@]}"; do
        printf '%s\0%s\0' "$variable" "$value"
    done
done
package >&2
"""


def build(checkout: Path, outdir: Path) -> list[Path]:
    """Build the package; its path. Raises BuildError."""
    bash, bsdtar = _need("bash"), _need("bsdtar")
    epoch = source_date_epoch(checkout)
    with tempfile.TemporaryDirectory(prefix="pyctrigger-arch-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        said = _run_package_function(bash, checkout, root, epoch)
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        lines = [f"pkgbase = {said['pkgname'][0]}", f"pkgver = {said['pkgver'][0]}"]
        lines += [f"{_VARIABLES[name]} = {value}" for name in _VARIABLES for value in said.get(name, ())]
        lines += [f"builddate = {epoch}", "packager = The pyctrigger authors", f"size = {size}"]
        put(root / ".PKGINFO", "\n".join(lines) + "\n")
        put(root / ".INSTALL", (checkout / "ports/arch" / said["install"][0]).read_bytes())
        settle(root, epoch)
        package = outdir / f"{said['pkgname'][0]}-{said['pkgver'][0]}-{said['arch'][0]}.pkg.tar.{_compression()}"
        _pack(bsdtar, root, package, epoch)
    return [package]


def stage_hooks(checkout: Path, platform: Platform, root: Path) -> None:
    """One hook for each flavour and operation."""
    del checkout
    for subject in platform.subjects():
        for file in Pacman.hooks(subject):
            put(root / _HOOKS / os.path.basename(file.path), file.text, file.mode)


def _need(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise BuildError(
            f"{program} is missing, which builds pacman's packages (Debian package libarchive-tools, bash)"
        )
    return path


def _compression() -> str:
    """What Arch's own packages have; where this bsdtar can't, what every pacman reads."""
    return "zst" if shutil.which("zstd") else "gz"


def _run_package_function(bash: str, checkout: Path, root: Path, epoch: int) -> dict[str, list[str]]:
    """Lay the files out as the PKGBUILD says; its variables. Raises BuildError."""
    environment = {
        **os.environ,
        "startdir": str(checkout / "ports/arch"),
        "pkgdir": str(root),
        "SOURCE_DATE_EPOCH": str(epoch),
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}",
    }
    command = [bash, "-c", _SCRIPT, "package", *_VARIABLES]
    child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if child.returncode:
        raise BuildError(f"ports/arch/PKGBUILD: {child.stderr.strip()}")
    words = child.stdout.split("\0")[:-1]
    said: dict[str, list[str]] = {}
    for name, value in zip(words[::2], words[1::2]):
        said.setdefault(name, []).append(value)
    return said


def _pack(bsdtar: str, root: Path, package: Path, epoch: int) -> None:
    """The archive, its own files first and everything in one order. Raises BuildError."""
    found = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    names = sorted(found, key=lambda name: (not name.startswith("."), name))
    listed = "\0".join(names).encode() + b"\0"
    tree = _archive(bsdtar, root, ["--format=mtree", "--options", _MTREE], listed)
    os.utime(put(root / ".MTREE", compressed(tree)), (epoch, epoch))
    names = sorted([*names, ".MTREE"], key=lambda name: (not name.startswith("."), name))
    listed = "\0".join(names).encode() + b"\0"
    options = ["--options", "gzip:!timestamp"] if package.suffix == ".gz" else []
    _archive(bsdtar, root, ["--format=ustar", "-a", *options, "-f", str(package)], listed)


def _archive(bsdtar: str, root: Path, options: list[str], names: bytes) -> bytes:
    owner = ["--uid", "0", "--gid", "0", "--uname", "root", "--gname", "root"]
    command = [bsdtar, "-c", *options, *owner, "--no-recursion", "--null", "-T", "-"]
    child = subprocess.run(
        command, input=names, capture_output=True, cwd=root, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False
    )
    if child.returncode:
        raise BuildError(f"bsdtar: {child.stderr.decode('utf-8', 'replace').strip()}")
    return child.stdout
