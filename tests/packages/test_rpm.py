"""rpm: the built package, in a scratch root, under a real rpm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from manager_packages import ManagedRoot, site_of
from manager_transactions import BINARY, FIRST, ManagerTransactions
from packages import pycs_below
from rpm_root import RpmRoot
from scratch_root import library_of

if TYPE_CHECKING:
    from manager_transactions import Make


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
