"""A scratch root whose packages are pacman's: a real pacman, and bsdtar, which makes its packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from manager_packages import ManagedRoot, Payload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PKGINFO = """pkgname = {payload.name}
pkgbase = {payload.name}
pkgver = {payload.version}-1
pkgdesc = a package of the tests
builddate = 1600000000
packager = the tests
size = 1
arch = any
"""
_MTREE = "!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link"
_PLACES = {"DBPath": "var/lib/pacman", "CacheDir": "var/cache/pacman/pkg", "HookDir": "etc/pacman.d/hooks"}
_VERBS = {"install": ["-U"], "upgrade": ["-U"], "reinstall": ["-U"], "erase": ["-R"]}
_VERBS["replace"] = ["-U", "--overwrite", "*/__pycache__/*"]
_HOOKS = "usr/share/libalpm/hooks"


class PacmanRoot(ManagedRoot):
    """A root whose packages are pacman's."""

    format = "arch"
    levels = (0,)
    tools = ("pacman", "bsdtar")

    @classmethod
    def build(cls, payload: Payload, outdir: Path) -> Path:
        (payload.top / ".PKGINFO").write_text(PKGINFO.format(payload=payload))
        names = sorted(path.name for path in payload.top.iterdir() if not path.name.startswith("."))
        package = outdir / f"{payload.name}-{payload.version}-1-any.pkg.tar"
        owner = ["--uid", "0", "--gid", "0"]
        for options in (["-czf", ".MTREE", "--format=mtree", f"--options={_MTREE}"], ["-cf", str(package), ".MTREE"]):
            command = ["bsdtar", *owner, *options, ".PKGINFO", *names]
            subprocess.run(command, cwd=payload.top, check=True)
        return package

    def prepare(self) -> None:
        for place in _PLACES.values():
            self.root.outside(place).mkdir(parents=True)

    def command(self, verb: str, packages: Sequence[str]) -> list[str]:
        options = ["--noconfirm", "--noprogressbar", "-dd", *([] if self.armed else ["--noscriptlet"])]
        return [*self._pacman(), *options, *_VERBS[verb], *packages]

    def owned(self) -> set[str]:
        child = subprocess.run([*self._pacman(), "-Qlq"], stdout=subprocess.PIPE, check=False)
        return {self._inside(path.rstrip("/")) for path in child.stdout.decode().splitlines()}

    def complaints(self) -> str:
        child = subprocess.run(
            [*self._pacman(), "-Qkkq"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
        return child.stdout.decode() if child.returncode else ""

    def unlock(self) -> None:
        self.root.outside("var/lib/pacman/db.lck").unlink()

    def disarm(self) -> None:
        super().disarm()
        shutil.rmtree(self.root.outside(_HOOKS), ignore_errors=True)

    def _pacman(self) -> list[str]:
        top = self.root.top
        configuration = top.with_name(f"{top.name}.conf")
        lines = ["[options]", f"RootDir = {top}", *(f"{key} = {top / place}" for key, place in _PLACES.items())]
        lines += [f"LogFile = {top}.log", f"GPGDir = {top}.gpg", "SigLevel = Never", "LocalFileSigLevel = Never"]
        if not self.armed:  # what a package brings would run in the very transaction that brings it
            lines.append(f"NoExtract = {_HOOKS}/*")
        configuration.write_text("\n".join([*lines, "Architecture = auto", ""]))
        return ["pacman", "--config", str(configuration)]
