"""The Debian package, installed by apt in a real Debian sid, and what it does in apt's own transactions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from confinement import private_mounts
from debian_chroot import EXECUTABLES, Chroot, copy_of, sid_chroot
from debian_judge import TAGS, Judge
from debian_packages import ARCHIVE, DIST_PACKAGES, MTIME, Package, build, pack, with_version, write_index
from environment import CHECKOUT
from packages import LEVEL_FLAGS, not_fresh, pycs_below, snapshot, sources_below
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from command import Outcome

APPLICATION = "/usr/lib/pyctrigger"
COMPILERS = ("py3compile", "py3clean", "pypy3compile", "pypy3clean")
BROKEN = "raise ImportError('not in this transaction')\n"

DEMO = {
    "demo/__init__.py": "VALUE = 1\n",
    "demo/changed.py": "VALUE = 1\n",
    "demo/dropped.py": "VALUE = 1\n",
    "demo/turned.py": "VALUE = 1\n",
    "demo/sp ace.py": "VALUE = 1\n",
    "demo/old/__init__.py": "",
    "demo/old/deep/module.py": "VALUE = 1\n",
    "demo_old/__init__.py": "",
    "demo_single_old.py": "VALUE = 1\n",
    "/etc/demo.conf": "1\n",
}
DEMO_2 = {
    "demo/__init__.py": "VALUE = 2222\n",
    "demo/changed.py": "VALUE = 2222\n",
    "demo/turned/__init__.py": "VALUE = 2\n",
    "demo/sp ace.py": "VALUE = 1\n",
    "demo/new/__init__.py": "",
    "demo_single.py": "VALUE = 2\n",
    "/etc/demo.conf": "1\n",
}
OWN = (
    Package("demo", "1", DEMO, conffiles=("/etc/demo.conf",)),
    Package("demo", "2", DEMO_2, conffiles=("/etc/demo.conf",)),
    Package("stable", "1", {"stable/__init__.py": "", "stable/module.py": "VALUE = 1\n"}),
    Package("python3-filelock", "99", {"filelock/__init__.py": BROKEN, "filelock/_api.py": BROKEN}),
    Package("python3-platformdirs", "99", {"platformdirs/__init__.py": BROKEN}),
)


def strangers(target: str) -> dict[str, str]:
    """Files beside bytecode that no flavour of this system may claim."""
    at = f"{DIST_PACKAGES}/stable/__pycache__/module"
    return {f"{at}.{name}": target for name in ("cpython-39.pyc", "cpython-314-pytest-8.pyc", "py314.1.nbi")}


class Debian:
    """One system to do transactions in."""

    def __init__(self, sid: Chroot, scratch: Path) -> None:
        self.sid = sid
        self.judge = Judge(sid, scratch)

    @property
    def archive(self) -> Path:
        """Where apt finds packages."""
        return self.sid.outside(ARCHIVE)

    @property
    def package(self) -> str:
        """pyctrigger's own, as a path inside."""
        (package,) = self.archive.glob("pyctrigger_*.deb")
        return f"{ARCHIVE}/{package.name}"

    def apt(self, *arguments: str) -> Outcome:
        """A transaction, which succeeds whatever a hook does."""
        outcome = self.sid.run("apt-get", "-q", "-y", "--allow-downgrades", *arguments)
        assert outcome.code == 0, outcome.out + outcome.err
        return outcome

    def dpkg(self, *arguments: str) -> Outcome:
        """The same without apt."""
        outcome = self.sid.run("dpkg", *arguments)
        assert outcome.code == 0, outcome.out + outcome.err
        return outcome

    def status(self, package: str = "pyctrigger") -> str:
        """What dpkg thinks of a package: `installed`, `half-configured`, …"""
        return self.sid.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", package).out

    def divert_compilers(self) -> None:
        """Debian's own programs for bytecode do nothing from now on."""
        for name in COMPILERS:
            self.dpkg_divert(f"/usr/bin/{name}")

    def dpkg_divert(self, path: str) -> None:
        """Put `true` in a program's place, in a way that dpkg knows."""
        outcome = self.sid.run("dpkg-divert", "--local", "--rename", "--add", path)
        assert outcome.code == 0, outcome.err
        self.sid.outside(path).symlink_to("true")

    def plant_strangers(self) -> dict[str, bytes]:
        """Put files there that must stay as they are; their contents, by path inside."""
        planted = strangers("nobody's business\n")
        for path, text in planted.items():
            file = self.sid.outside(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.judge.strangers |= {os.fsencode(path) for path in planted}
        return {path: text.encode() for path, text in planted.items()}

    def compile_all(self) -> None:
        """What a person does without us: remove all bytecode and what it left, and compile everything."""
        for path in sorted(self.judge.site.rglob("__pycache__")):
            shutil.rmtree(path)
        owned = self.judge.owned()
        for path in sorted(self.judge.site.rglob("*/"), reverse=True):
            if path.is_dir() and self.sid.inside(os.fsencode(path)) not in owned:
                path.rmdir()
        for executable in EXECUTABLES:
            assert self.sid.run(executable, "-I", "-m", "compileall", "-q", DIST_PACKAGES).code == 0


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroot]:
    """A Debian whose archive has pyctrigger, and the packages made here."""
    with sid_chroot(application=False) as sid:
        archive = sid.outside(ARCHIVE)
        scratch = tmp_path_factory.mktemp("packages")
        subprocess.run([sys.executable, str(CHECKOUT / "ports/build"), "deb", str(archive)], check=True)
        for package in OWN:
            build(package, scratch, archive)
        write_index(archive)
        assert sid.run("apt-get", "-qq", "update").code == 0
        yield sid


@pytest.fixture(scope="module")
def ready(bare: Chroot) -> Iterator[Chroot]:
    """The same, with pyctrigger installed by apt."""
    with copy_of(bare) as sid:
        outcome = sid.run("apt-get", "-q", "-y", "install", "pyctrigger")
        assert (0, "") == (outcome.code, outcome.err)
        yield sid


@pytest.fixture
def without(bare: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """A system without pyctrigger."""
    with copy_of(bare) as sid:
        yield Debian(sid, tmp_path)


@pytest.fixture
def debian(ready: Chroot, tmp_path: Path) -> Iterator[Debian]:
    """A system with pyctrigger."""
    with copy_of(ready) as sid:
        yield Debian(sid, tmp_path)


# ------------------------------------------------------------------------------------------------------- transactions


class Step(NamedTuple):
    """A transaction."""

    name: str
    arguments: Sequence[str]
    before: Callable[[Debian], object] = lambda _debian: None
    """What happens to the system first."""


def damage(debian: Debian) -> None:
    """Bytecode that is gone, and bytecode that is cut short, for each flavour."""
    for tag in TAGS.values():
        at = debian.judge.site
        (at / f"__pycache__/six.{tag}.pyc").unlink()
        for pyc in (at / "attr/__pycache__").glob(f"*.{tag}.pyc"):
            pyc.write_bytes(pyc.read_bytes()[:16])


STEPS = (
    Step("install", ["install", "python3-attr", "python3-idna", "python3-six", "python3-sqlparse"]),
    Step("install files", ["install", f"{ARCHIVE}/demo-1.deb", f"{ARCHIVE}/stable-1.deb"]),
    Step("upgrade", ["upgrade"]),
    Step("reinstall", ["install", "--reinstall", "python3-attr", "python3-six"], damage),
    Step("downgrade", ["install", "demo=1"]),
    Step("remove", ["remove", "demo", "python3-idna"]),
    Step("purge", ["purge", "demo", "python3-sqlparse"]),
    Step("both", ["install", "demo=2", "python3-attr-", "python3-six-"]),
)


def test_debian_without_us(without: Debian) -> None:
    """Each of the transactions leaves something stale, or left over, when nobody looks after it: the tests can fail."""
    without.divert_compilers()
    assert without.judge.faults() == []
    for step in STEPS:
        without.compile_all()
        assert without.judge.faults() == []
        step.before(without)
        without.apt(*step.arguments)
        assert without.judge.bytecode_faults() != [], step.name
        assert without.judge.database_faults() == []


@pytest.mark.parametrize("diverted", [True, False], ids=["alone", "beside py3compile"])
def test_transactions(debian: Debian, diverted: bool) -> None:
    """After each one every flavour's bytecode is fresh, nothing is left over, and nobody else's file was touched."""
    if diverted:
        debian.divert_compilers()
    debian.apt("install", "stable")
    foreign = debian.plant_strangers()
    for step in STEPS:
        step.before(debian)
        debian.apt(*step.arguments)
        assert debian.judge.faults() == [], step.name
        assert {path: debian.sid.outside(path).read_bytes() for path in foreign} == foreign
    assert set(debian.judge.targets()) == set(TAGS)


