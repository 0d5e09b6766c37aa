"""One Debian sid to do transactions in: pyctrigger's packages, and some that are made for tests, are in its archive."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from debian_chroot import EXECUTABLES, Chroot, sid_chroot
from debian_judge import Judge
from debian_packages import ARCHIVE, DIST_PACKAGES, Package, build, write_index
from environment import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from command import Outcome

PYPY = ("pypy3", "pypy3-lib")
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
        program = self.sid.outside(path)
        if not (program.is_symlink() and os.readlink(program) == "true"):
            outcome = self.sid.run("dpkg-divert", "--local", "--rename", "--add", path)
            assert outcome.code == 0, outcome.err
            program.symlink_to("true")

    def dpkg_trigger(self) -> None:
        """Ask for a rerun by hand."""
        assert self.sid.run("dpkg-trigger", "--no-await", "pyctrigger").code == 0
        self.dpkg("--triggers-only", "-a")

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
            if not self.sid.outside(executable).exists():
                continue
            assert self.sid.run(executable, "-I", "-m", "compileall", "-q", DIST_PACKAGES).code == 0


@contextmanager
def sid_with_packages(scratch: Path, packages: Sequence[Package]) -> Iterator[Chroot]:
    """A Debian whose archive has pyctrigger, and these packages."""
    with sid_chroot(application=False) as sid:
        archive = sid.outside(ARCHIVE)
        subprocess.run([sys.executable, str(CHECKOUT / "ports/build"), "deb", str(archive)], check=True)
        for package in packages:
            build(package, scratch, archive)
        write_index(archive)
        # Behind debconf's own: it asks nobody, in every transaction, what no package here wants to know.
        sid.outside("/etc/apt/apt.conf.d/71tests").write_text("#clear DPkg::Pre-Install-Pkgs;\n")
        assert sid.run("apt-get", "-qq", "update").code == 0
        yield sid
