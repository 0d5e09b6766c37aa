"""Programs of Debian sid for machines that have none of them: they run here, with sid's loader and libraries."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from conftest import absent
from debian_chroot import original_sid
from debian_packages import ARCHIVE
from system_tools import find_tool


@cache
def sid_program(path: str) -> list[str]:
    """Returns the beginning of a command line: a program that a package of `PAYLOADS` has, at this path inside."""
    dpkg_deb = find_tool("dpkg-deb") or absent("no dpkg-deb, which unpacks packages (Debian package dpkg)")
    sid = original_sid()
    top = Path(tempfile.mkdtemp(prefix="pyctrigger-sid-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    name = Path(path).name.partition("-")[0]
    for pattern in (f"{name}*.deb", "lib*.deb"):
        for package in (sid / ARCHIVE.lstrip("/")).glob(pattern):
            subprocess.run([dpkg_deb, "--extract", str(package), str(top)], check=True)
    (loader,) = (sid / "usr").glob("lib*/ld-linux*.so.*")
    libraries = [str(each) for tree in (sid, top) for each in tree.glob("usr/lib/*-linux-gnu*")]
    return [str(loader), "--library-path", ":".join(libraries), str(top / path.lstrip("/"))]
