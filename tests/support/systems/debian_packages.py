"""Debian packages made for a test, and an archive of packages that apt reads."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DIST_PACKAGES = "/usr/lib/python3/dist-packages"
#: Where the archive is, inside the system.
ARCHIVE = "/srv/archive"
#: All files of a package bear one time, as archives built reproducibly do.
MTIME = 1_700_000_000

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: nobody <nobody@localhost>
Depends: {depends}
Description: made for a test
"""
# As dh_python3 and dh_pypy write them.
_POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v py3compile >/dev/null 2>&1; then {compiles}; fi
    if command -v pypy3compile >/dev/null 2>&1; then pypy3compile -p {name} || true; fi
fi
"""
_PRERM = """\
#!/bin/sh
set -e
if command -v py3clean >/dev/null 2>&1; then py3clean -p {name}; fi
if command -v pypy3clean >/dev/null 2>&1; then pypy3clean -p {name} || true; fi
"""


@dataclass(frozen=True)
class Package:
    """A package to make."""

    name: str
    version: str
    files: Mapping[str, str] | Mapping[str, str | bytes] = field(default_factory=dict)
    """Content, by the path below the directory of packages; or by an absolute one."""
    depends: str = "python3"
    conffiles: tuple[str, ...] = ()
    architecture: str = "all"
    scripts: Mapping[str, str] = field(default_factory=dict)
    """What is added to the end of a maintainer script, or all of one that packages don't have by themselves."""
    compiles: str = "py3compile -p {name}"
    """How it calls py3compile when it is configured."""


def build(package: Package, scratch: Path, archive: Path) -> Path:
    """Make it with dpkg-deb; its path in the archive, which doesn't know it yet."""
    top = scratch / f"{package.name}-{package.version}"
    for path, content in package.files.items():
        file = top / os.path.join(DIST_PACKAGES, path).lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    control = top / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(_CONTROL.format(**vars(package)))
    (control / "conffiles").write_text("".join(f"{path}\n" for path in package.conffiles))
    words = {**vars(package), "compiles": package.compiles.format(name=package.name)}
    scripts = {"postinst": _POSTINST.format(**words), "prerm": _PRERM.format(**words)}
    for name in {**scripts, **package.scripts}:
        (control / name).write_text(scripts.get(name, "#!/bin/sh\n") + package.scripts.get(name, ""))
        (control / name).chmod(0o755)
    return pack(top, archive)


def pack(top: Path, archive: Path) -> Path:
    """A package of a directory with its files and its DEBIAN."""
    for directory, _, names in os.walk(top):
        for name in names:
            os.utime(os.path.join(directory, name), (MTIME, MTIME), follow_symlinks=False)
        os.chmod(directory, 0o755)
        os.utime(directory, (MTIME, MTIME))
    target = archive / f"{top.name}.deb"
    _dpkg_deb("--root-owner-group", "-Zgzip", "-z1", "--build", str(top), str(target))
    return target


def with_version(package: Path, version: str, scratch: Path, archive: Path) -> Path:
    """The same package, released once more."""
    top = scratch / f"{package.stem}-{version}"
    _dpkg_deb("--raw-extract", str(package), str(top))
    control = top / "DEBIAN/control"
    lines = control.read_text().splitlines()
    (before,) = (line.partition(": ")[2] for line in lines if line.startswith("Version:"))
    lines = [line.replace(f"(= {before})", f"(= {version})") for line in lines]
    control.write_text(
        "".join(f"Version: {version}\n" if line.startswith("Version:") else f"{line}\n" for line in lines)
    )
    target = archive / f"{top.name}.deb"
    _dpkg_deb("--root-owner-group", "-Zgzip", "--build", str(top), str(target))
    return target


def write_index(archive: Path) -> None:
    """The list of an archive's packages (deb-repository format, a flat one)."""
    stanzas = []
    for package in sorted(archive.glob("*.deb")):
        content = package.read_bytes()
        stanzas.append(
            f"{_dpkg_deb('--field', str(package)).rstrip()}\n"
            f"Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (archive / "Packages").write_text("\n".join(stanzas))


def _dpkg_deb(*arguments: str) -> str:
    child = subprocess.run(
        [find_tool("dpkg-deb") or "dpkg-deb", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == 0, child.stderr
    return child.stdout
