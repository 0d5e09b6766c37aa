"""A scratch root whose packages are rpm's: a real rpm and a real rpmbuild."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from manager_packages import ManagedRoot, Payload
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Nothing asks what kind of file each is, for which rpmbuild would read them all.
SPEC = """Name: {payload.name}
Version: {payload.version}
Release: 1
Summary: a package of the tests
License: none
BuildArch: noarch
AutoReqProv: no
{provides}
%global __os_install_post %{{nil}}
%global _use_internal_dependency_generator 0
%global _binary_payload w.ufdio
%global _binaries_in_noarch_packages_terminate_build 0
%global debug_package %{{nil}}
%description
For the tests of pyctrigger.
%install
mkdir -p %{{buildroot}}
cp -a {payload.top}/. %{{buildroot}}
%files
{claims}
"""
_VERBS = {"install": ["-i"], "upgrade": ["-U"], "reinstall": ["-U", "--replacepkgs"], "erase": ["-e"]}
_VERBS["replace"] = ["-U", "--oldpackage"]
_DATABASE = "/var/lib/rpm"


class RpmRoot(ManagedRoot):
    """A root whose packages are rpm's."""

    format = "rpm"
    levels = (0, 1)
    tools = ("rpm", "rpmbuild")

    @classmethod
    def build(cls, payload: Payload, outdir: Path) -> Path:
        topdir = outdir / f"rpmbuild-{payload.name}-{payload.version}"
        topdir.mkdir()
        spec = topdir / "package.spec"
        provides = "\n".join(f"Provides: {each}" for each in payload.provides)
        spec.write_text(SPEC.format(payload=payload, provides=provides, claims="\n".join(sorted(payload.claims))))
        definitions = {"_topdir": topdir, "_tmppath": topdir, "_dbpath": topdir / "db"}
        command = ["rpmbuild", "-bb", "--quiet", "--nodeps", "--target", "noarch"]
        for name, value in definitions.items():
            command += ["--define", f"{name} {value}"]
        child = subprocess.run(
            [*command, str(spec)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(topdir)},
            check=False,
        )
        assert child.returncode == 0, child.stdout.decode()
        (package,) = topdir.glob("RPMS/noarch/*.rpm")
        return package

    def prepare(self) -> None:
        self.root.outside(_DATABASE).mkdir(parents=True)
        subprocess.run([*self._rpm(), "--initdb"], check=True)

    def add_itself(self) -> None:
        rpm = find_tool("rpm")
        assert rpm is not None
        self.root.add_program(rpm, "/usr/bin/rpm")
        # Debian's default is a directory of root's own.
        self.root.put("/etc/rpm/macros", f"%_dbpath {_DATABASE}\n")
        for name in ("macros", "rpmrc"):
            self.root.put(f"/usr/lib/rpm/{name}", Path("/usr/lib/rpm", name).read_bytes())

    def command(self, verb: str, packages: Sequence[str]) -> list[str]:
        options = ["--nodeps", "--force-debian", *([] if self.armed else ["--notriggers", "--noscripts"])]
        return [*self._rpm(), *options, *_VERBS[verb], *packages]

    def owned(self) -> set[str]:
        return set(self._ask("-qal").splitlines())

    def complaints(self) -> str:
        child = subprocess.run(
            [*self._rpm(), "-Va", "--nodeps"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return child.stdout.decode()

    def _rpm(self) -> list[str]:
        return ["rpm", "--root", str(self.root.top), "--dbpath", _DATABASE]

    def _ask(self, *arguments: str) -> str:
        return subprocess.run([*self._rpm(), *arguments], stdout=subprocess.PIPE, check=True).stdout.decode()
