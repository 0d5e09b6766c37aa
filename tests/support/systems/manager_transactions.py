"""What holds for the built package under each package manager: a class of tests that each manager's file runs.

Every step is first done on a copy of the root whose hooks don't run, and has to leave something wrong there.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

import corpus
from manager_packages import (
    ManagedRoot,
    Payload,
    built_pyctrigger,
    checkout_of,
    make_older,
    need_tools,
    new_system,
    site_of,
)
from packages import not_fresh, pycs_below, snapshot, sources_below
from scratch_root import library_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., Path]

#: Sizes are the same in both versions; a directory that only the first has, and one that only the second has.
FIRST = {
    "demo/__init__.py": "VALUE = 1\n",
    "demo/module.py": "def function():\n    return 1\n",
    "demo/data.txt": "1\n",
    "demo/old/__init__.py": "",
    "demo/old/deeper/gone.py": "VALUE = 1\n",
    "single.py": "assert 1\n",
    "only_first.py": "VALUE = 1\n",
}
SECOND = {
    "demo/__init__.py": "VALUE = 2\n",
    "demo/module.py": "def function():\n    return 2\n",
    "demo/data.txt": "2\n",
    "demo/new/__init__.py": "",
    "single.py": "assert 2\n",
    "only_second.py": "VALUE = 2\n",
}
BINARY = {"binary/__init__.py": "VALUE = 1\n", "binary/part.py": "VALUE = 1\n"}
OTHER = {"other/__init__.py": "VALUE = 1\n", "other/sub/__init__.py": "", "other_single.py": "VALUE = 1\n"}


class ManagerTransactions:
    """Transactions of a real package manager, with the package that `ports/build` makes."""

    kind: type[ManagedRoot]
    manager: ClassVar[str]
    """As `--manager` takes it."""
    refusal: ClassVar[int]
    """How a second hook, made by hand, is refused."""
    no_room: ClassVar[tuple[str, dict[str, str]]] = ("ro", {"stuck/inner/__init__.py": ""})
    """How a file system is mounted on which the manager finds out late that it can't unpack a package, and which."""

    # -- what the tests stand on --

    @pytest.fixture(scope="class")
    def room(self) -> Iterator[Path]:
        """Where everything of one manager's is, in memory if devices and programs work there."""
        need_tools(self.kind)
        with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=corpus.memory(programs=True)) as scratch:
            yield Path(scratch)

    @pytest.fixture(scope="class")
    def checkout(self, room: Path) -> Path:
        """What is built."""
        return checkout_of(room / "checkout")

    @pytest.fixture(scope="class")
    def built(self, room: Path, checkout: Path) -> Path:
        """The package."""
        return built_pyctrigger(self.kind.format, checkout, room)

    @pytest.fixture(scope="class")
    def older(self, room: Path) -> Path:
        """The package of the version before."""
        return built_pyctrigger(self.kind.format, make_older(checkout_of(room / "older")), room)

    @pytest.fixture(scope="class")
    def base(self, room: Path) -> ManagedRoot:
        """Two Pythons, and nothing else."""
        return new_system(self.kind, room)

    @pytest.fixture(scope="class")
    def hooked(self, base: ManagedRoot, built: Path) -> Iterator[ManagedRoot]:
        """Two Pythons and pyctrigger."""
        # Tests put two layers above it, which is all that there can be.
        with base.copy(whole=True) as system:
            system.transact("install", built)
            yield system

    @pytest.fixture
    def bare(self, base: ManagedRoot) -> Iterator[ManagedRoot]:
        """A system of this test's own, without pyctrigger."""
        with base.copy() as system:
            yield system

    @pytest.fixture
    def system(self, hooked: ManagedRoot) -> Iterator[ManagedRoot]:
        """A system of this test's own, with pyctrigger."""
        with hooked.copy() as system:
            yield system

    @pytest.fixture
    def workshop(self, room: Path) -> Iterator[Path]:
        """Where a test builds its packages."""
        with tempfile.TemporaryDirectory(prefix="workshop-", dir=room) as directory:
            yield Path(directory)

    @pytest.fixture(scope="class")
    def make(self, base: ManagedRoot, room: Path) -> Make:
        """Builds a package with these files for each of some Pythons, all of them unless said otherwise, once."""
        made: dict[object, Path] = {}

        def make(name: str, version: int, files: dict[str, str], pythons: int = 2, *, lib: str = "lib") -> Path:
            key = (name, version, tuple(files.items()), pythons, lib)
            if key not in made:
                workshop = room / f"made-{len(made)}"
                workshop.mkdir()
                payload = self.payload(workshop, name, version)
                for interpreter in base.pythons[:pythons]:
                    payload.add(site_of(interpreter, lib), files)
                made[key] = self.kind.build(payload.settle(), workshop)
            return made[key]

        return make

    def payload(self, scratch: Path, name: str, version: int) -> Payload:
        """An empty one."""
        return Payload(name, version, scratch / f"{name}-{version}")

    # -- the tests --

    def test_its_hooks_are_told_from_what_was_made_by_hand(self, system: ManagedRoot) -> None:
        """They are the package's, for each Python; a second hook for one of these isn't installed beside them."""
        scope = ["--root", str(system.root.top), "--manager", self.manager, "--python", system.pythons[0].flavour]
        program = [sys.executable, "-m", "pyctrigger", "hooks"]

        listed = subprocess.run([*program, "list", "--json", *scope], stdout=subprocess.PIPE, check=True)
        second = subprocess.run([*program, "install", *scope], capture_output=True, check=False)

        hooks = json.loads(listed.stdout)["standing"]
        assert {(self.manager, "pyctrigger", None)} == {
            (hook["manager"], hook["package"], hook["masked_by"]) for hook in hooks
        }
        # Of an rpm in a root only rpm could tell which ones: the hook is for every Python.
        assert any(system.pythons[0].flavour in hook["pythons"] or not hook["pythons"] for hook in hooks)
        assert (second.returncode, b"package" in second.stdout + second.stderr) == (self.refusal, True)

    def test_a_transaction_that_was_killed_is_healed_by_the_next(self, system: ManagedRoot, make: Make) -> None:
        """No hook ran for what it had done; the next one's names another package only."""
        first, second, other = make("demo", 1, FIRST), make("demo", 2, SECOND), make("other", 1, OTHER)
        bulk = make("zbulk", 1, {f"zbulk/part{number}/data": "x" * 2000 for number in range(4000)}, 1)
        system.transact("install", first)
        system.require_order()
        site = system.root.outside(site_of(system.pythons[0]))
        sources = sources_below(site / "demo")

        command = system.command("upgrade", [str(second), str(bulk)])
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as manager:
            while manager.poll() is None and not (
                (site / "zbulk").is_dir()
                and (site / "demo/new/__init__.py").exists()
                and (site / "demo/__init__.py").read_text() == SECOND["demo/__init__.py"]
            ):
                time.sleep(0.0005)
            manager.kill()
        assert manager.returncode == -signal.SIGKILL, "it was done before it could be killed"
        assert not_fresh(system.pythons[0], sources_below(site / "demo")), "nothing is wrong: this proves nothing"
        system.unlock()

        system.transact("install", other)

        assert sources != sources_below(site / "demo")
        assert not_fresh(system.pythons[0], sources_below(site)) == []

    def test_a_transaction_that_fails_midway_is_healed_by_the_next(self, system: ManagedRoot, make: Make) -> None:
        """One package is upgraded, the other can't be unpacked; whether a hook runs then is the manager's to say."""
        first, second, other = make("demo", 1, FIRST), make("demo", 2, SECOND), make("other", 1, OTHER)
        options, files = self.no_room
        stuck = make("stuck", 1, files, 1)
        system.transact("install", first)
        sites = [system.root.outside(site_of(interpreter)) for interpreter in system.pythons]
        mount = sites[0] / "stuck"
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(mount)], check=True)
        try:
            command = system.command("upgrade", [str(second), str(stuck)])
            failed = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
        finally:
            subprocess.run(["umount", str(mount)], check=True)
        assert failed.returncode != 0
        assert [SECOND["demo/__init__.py"]] * 2 == [(site / "demo/__init__.py").read_text() for site in sites]

        system.transact("install", other)

        for interpreter, site in zip(system.pythons, sites):
            assert [] == not_fresh(interpreter, sources_below(site))

    def test_a_package_is_installed_upgraded_reinstalled_and_erased(self, system: ManagedRoot, make: Make) -> None:
        """Bytecode follows each step, for both Pythons; what only the old version had leaves nothing importable."""
        first, second = make("demo", 1, FIRST), make("demo", 2, SECOND)

        system.step(lambda on: on.transact("install", first))
        system.step(lambda on: on.transact("upgrade", second))
        for interpreter in system.pythons:
            for pyc in pycs_below(system.root.outside(site_of(interpreter))):
                Path(pyc.decode()).unlink()
        system.step(lambda on: on.transact("reinstall", second))
        system.step(lambda on: on.transact("erase", "demo"))

        for interpreter in system.pythons:
            assert list(system.root.outside(site_of(interpreter)).iterdir()) == []

    def test_one_flavours_package_changes_nothing_of_the_others(self, system: ManagedRoot, make: Make) -> None:
        """A package for one Python alone leaves every entry of the other's site directory as it was."""
        system.transact("install", make("other", 1, OTHER))
        untouched = system.root.outside(site_of(system.pythons[1]))
        before = snapshot(untouched)
        first, second = make("demo", 1, FIRST, 1), make("demo", 2, SECOND, 1)

        system.step(lambda on: on.transact("install", first))
        system.step(lambda on: on.transact("upgrade", second))
        system.step(lambda on: on.transact("erase", "demo"))

        assert snapshot(untouched) == before

    def test_top_level_modules_alone(self, system: ManagedRoot, make: Make) -> None:
        """A package that is no more than one file has its bytecode made, replaced and removed."""
        first, second = make("single", 1, {"single.py": "V = 1\n"}), make("single", 2, {"single.py": "V = 2\n"})

        system.step(lambda on: on.transact("install", first))
        system.step(lambda on: on.transact("upgrade", second))
        system.step(lambda on: on.transact("erase", "single"))

    def test_pyctrigger_comes_after_its_payload(self, bare: ManagedRoot, built: Path, make: Make) -> None:
        """What was there before is compiled when the package is installed, its own start included."""
        bare.transact("install", make("demo", 1, FIRST), make("other", 1, OTHER))

        bare.step(lambda on: on.transact("install", built))

        host = bare.pythons[0]
        own = sources_below(bare.root.outside("/usr/lib/pyctrigger"))
        assert own
        assert not_fresh(host, own) == []

    def test_pyctrigger_comes_with_its_payload(self, bare: ManagedRoot, built: Path, make: Make) -> None:
        """One transaction brings both."""
        demo = make("demo", 1, FIRST)

        bare.step(lambda on: on.transact("install", demo, built))

    @pytest.mark.parametrize("together", [["pyctrigger", "demo"], ["demo", "pyctrigger", "other"], ["pyctrigger"]])
    def test_pyctrigger_leaves_nothing_behind(self, system: ManagedRoot, make: Make, together: list[str]) -> None:
        """Erased, with its payload or without, it takes all bytecode that is no package's, and itself."""
        system.transact("install", make("demo", 1, FIRST), make("other", 1, OTHER))
        with system.copy() as bare:
            bare.disarm()
            bare.transact("erase", *together)
            assert bare.troubles(without_hooks=True) != []
            assert bare.leftovers() != []

        said = system.transact("erase", *together)

        system.require_order(without_hooks=True)
        assert system.leftovers() == []
        assert "pyctrigger: " not in said

    def test_pyctrigger_is_upgraded(self, bare: ManagedRoot, built: Path, older: Path, make: Make) -> None:
        """Its own bytecode is the new version's, and no other is written again."""
        bare.transact("install", older)
        bare.transact("install", make("demo", 1, FIRST))
        sites = [bare.root.outside(site_of(interpreter)) for interpreter in bare.pythons]
        before = [snapshot(site) for site in sites]

        bare.transact("upgrade", built)

        assert [snapshot(site) for site in sites] == before
        application = bare.root.outside("/usr/lib/pyctrigger")
        assert not_fresh(bare.pythons[0], sources_below(application)) == []
        assert [pyc for pyc in pycs_below(application) if b"only_here" in pyc] == []
        bare.require_order()

    def test_administrators_configuration_survives_an_upgrade(
        self, bare: ManagedRoot, built: Path, older: Path
    ) -> None:
        """What was changed in /etc stays, though the package brings another."""
        bare.transact("install", older)
        configuration = bare.root.outside("/etc/pyctrigger.toml")
        configuration.write_text("[defaults]\noptimize = [2]\n")

        bare.transact("upgrade", built)

        assert configuration.read_text() == "[defaults]\noptimize = [2]\n"

    def test_same_checkout_gives_the_same_package(self, built: Path, checkout: Path, workshop: Path) -> None:
        """Byte for byte, at another time, in another place, in another time zone."""
        time.sleep(1.1)  # formats count in seconds
        again = built_pyctrigger(self.kind.format, checkout, workshop, TZ="Asia/Tokyo", HOME=str(workshop))

        assert again.name == built.name
        assert again.read_bytes() == built.read_bytes()

    def test_payload_ships_its_own_bytecode(self, system: ManagedRoot, base: ManagedRoot, workshop: Path) -> None:
        """Its own stays as it is, fresh or stale; what it doesn't have is made, and all of it once it has none."""
        shipping, plain = base.pythons
        packages = []
        for version, header_time in ((1, None), (2, 1), (3, None)):
            payload = self.payload(workshop, "demo", version)
            payload.add(site_of(shipping), SECOND if version == 2 else FIRST)
            if version < 3:
                payload.ship_bytecode(shipping, site_of(shipping), header_time=header_time)
            payload.add(site_of(plain), SECOND if version == 2 else FIRST)
            packages.append(self.kind.build(payload.settle(), workshop))
        fresh, stale, without = packages

        system.step(lambda on: on.transact("install", fresh))
        system.step(lambda on: on.transact("upgrade", stale))
        system.step(lambda on: on.transact("upgrade", without))
        system.step(lambda on: on.transact("replace", stale))
        system.step(lambda on: on.transact("erase", "demo"))

    def test_systems_own_dependencies_break_meanwhile(self, system: ManagedRoot, make: Make) -> None:
        """A transaction that brings dependencies which can't be imported, or takes them away, still compiles."""
        broken = {f"{name}/__init__.py": "raise SystemError\n" for name in ("filelock", "platformdirs", "tomli")}
        dependencies = make("dependencies", 1, broken)
        first, second = make("demo", 1, FIRST), make("demo", 2, SECOND)

        system.step(lambda on: on.transact("install", dependencies, first))
        system.step(lambda on: on.transact("upgrade", second))
        system.step(lambda on: on.transact("erase", "dependencies", "demo"))

    def test_hook_that_fails_is_seen_and_the_transaction_is_not_harmed(self, system: ManagedRoot, make: Make) -> None:
        """A configuration that can't be read: reported in the output, exit 0; once it is fixed, so is everything."""
        system.transact("install", make("other", 1, OTHER))
        configuration = system.root.outside("/etc/pyctrigger.toml")
        right = configuration.rename(configuration.with_name("right"))
        configuration.write_text("optimize = [")

        said = system.transact("install", make("demo", 1, FIRST))

        assert "/etc/pyctrigger.toml" in said
        assert system.troubles() != []
        right.replace(configuration)
        repaired = system.root.enter("/usr/bin/pyctrigger", "repair", "--quiet")
        assert (0, b"") == (repaired.returncode, repaired.stdout)
        system.require_order()

    @pytest.mark.parametrize("number", [0, 1], ids=["the one that runs pyctrigger", "another"])
    def test_interpreter_goes_and_comes(self, system: ManagedRoot, make: Make, number: int) -> None:
        """Its bytecode leaves with it, though the sources stay, and is made when it is back; so is the host's own."""
        system.transact("install", make("demo", 1, FIRST))
        gone = library_of(system.pythons[number])

        system.step(lambda on: on.transact("erase", gone))
        host = system.pythons[1 - number]
        assert not_fresh(host, sources_below(system.root.outside("/usr/lib/pyctrigger"))) == []
        system.step(lambda on: on.transact("install", on.packages[gone]))

    def test_everything_goes_at_once(self, system: ManagedRoot, make: Make) -> None:
        """Both Pythons, pyctrigger and all payload in one transaction leave no bytecode, whatever is removed first."""
        system.transact("install", make("demo", 1, FIRST), make("other", 1, OTHER))
        system.add_itself()

        system.transact("erase", "demo", *map(library_of, system.pythons), "other", "pyctrigger")

        system.require_order(without_hooks=True)
        assert system.leftovers() == []

    def test_last_python_goes(self, system: ManagedRoot, make: Make, workshop: Path) -> None:
        """Nothing but packages' own bytecode is left, to the byte; and what is left then can still be erased."""
        payload = self.payload(workshop, "shipping", 1).add(site_of(system.pythons[0]), FIRST)
        payload.ship_bytecode(system.pythons[0], site_of(system.pythons[0]))
        system.transact("install", make("other", 1, OTHER), self.kind.build(payload.settle(), workshop))
        system.add_itself()

        system.step(lambda on: on.transact("erase", *map(library_of, on.pythons)))

        assert len(pycs_below(system.root.outside(site_of(system.pythons[0])))) == 6
        system.transact("erase", "pyctrigger", "other", "shipping")
        assert system.leftovers() == []
        for interpreter in system.pythons:
            assert pycs_below(system.root.outside(site_of(interpreter))) == []
