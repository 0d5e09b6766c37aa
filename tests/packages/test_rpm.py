"""rpm: the built package, in a scratch root, under a real rpm."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from manager_packages import ManagedRoot, Payload, site_of
from manager_transactions import BINARY, FIRST, ManagerTransactions
from packages import pycs_below
from scratch_root import library_of
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manager_transactions import Make

SPEC = """Name: {payload.name}
Version: {payload.version}
Release: 1
Summary: a package of the tests
License: none
BuildArch: noarch
AutoReqProv: no
{provides}
%global __os_install_post %{{nil}}
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


class TestRpm(ManagerTransactions):
    """Everything that holds for each manager, and what only rpm does."""

    kind = RpmRoot
    manager = "rpm"
    refusal = 2

    def test_package_with_files_below_lib64_alone(self, system: ManagedRoot, make: Make) -> None:
        """Binary packages have nothing below lib; rpm calls what runs after a removal for the first prefix only."""
        first, second = make("binary", 1, BINARY, lib="lib64"), make("binary", 2, BINARY, lib="lib64")

        system.step(lambda on: on.transact("install", first))
        system.step(lambda on: on.transact("upgrade", second))
        system.step(lambda on: on.transact("erase", "binary"))

    def test_twenty_thousand_files(self, system: ManagedRoot, make: Make) -> None:
        """All of them arrive on standard input; a hook that fails before it has read them harms nothing."""
        files = {f"many/package{number % 40}/module{number}.py": "" for number in range(2000)}
        files |= {f"many/package{number % 40}/data{number}": "" for number in range(18000)}
        many = make("many", 1, files, 1)

        system.step(lambda on: on.transact("install", many))
        configuration = system.root.outside("/etc/pyctrigger.toml")
        right = configuration.rename(configuration.with_name("right"))
        configuration.write_text("optimize = [")
        assert "/etc/pyctrigger.toml" in system.transact("erase", "many")
        right.replace(configuration)
        assert system.root.enter("/usr/bin/pyctrigger", "sweep", "--quiet").returncode == 0
        system.require_order()

    def test_last_python_goes_and_nobody_can_say_what_packages_own(self, system: ManagedRoot, make: Make) -> None:
        """Without an rpm inside nothing is removed, and that is said."""
        system.transact("install", make("demo", 1, FIRST))
        before = pycs_below(system.root.outside(site_of(system.pythons[0])))

        said = system.transact("erase", *map(library_of, system.pythons))

        assert "the last Python is gone, and its bytecode stays" in said
        assert pycs_below(system.root.outside(site_of(system.pythons[0]))) == before

    def test_package_has_what_rpm_needs_to_know(self, built: Path) -> None:
        """No architecture, a configuration that is kept, its own bytecode without content, every flavour's triggers."""
        question = "[%{FILENAMES} %{FILEFLAGS:fflags} %{FILESIZES}\\n]"
        files = [line.split(" ") for line in _query(built, "--qf", question).splitlines()]
        triggers = _query(built, "--filetriggers")

        assert _query(built, "--qf", "%{ARCH} %{BUILDHOST}") == "noarch reproducible"
        assert "python3 >= 3.9" in _query(built, "--requires").splitlines()
        assert ["/etc/pyctrigger.toml", "cn"] == next(line[:2] for line in files if line[0].startswith("/etc"))
        bytecode = [line for line in files if "__pycache__" in line[0]]
        assert {(line[1], line[2]) for line in bytecode} == {("g", "0")}
        sources = sum(line[0].startswith("/usr/lib/pyctrigger") and line[0].endswith(".py") for line in files)
        assert sum(line[0].endswith(".pyc") for line in bytecode) == 10 * sources
        for version in (*(f"3.{minor}" for minor in range(6, 16)), "3.13t", "3.14t", "3.15t", "pypy3.11"):
            assert triggers.count(f"--python {version} ") == 6


def _query(package: Path, *arguments: str) -> str:
    command = ["rpm", "-qp", *arguments, str(package)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
