"""A whole Debian sid below a directory: the CPythons and the PyPy that are newer than any on the machines of today.

Made once by debootstrap (a minute, and a network), kept for the runs that follow, and copied for each that uses it.
apt finds inside, without a network, what it was made of and a few packages more.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import pyctrigger
from command import Argument, Command, Outcome
from conftest import absent
from debian_packages import ARCHIVE, write_index
from interpreters import Interpreter
from kept_systems import CACHE, kept, prepare
from layered import another
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = ("python3", "python3.14", "python3.15", "pypy3")
#: What apt can install inside: packages, modules of one file, what a page has its reader install, and a server for
#: machines whose distribution has none.
PAYLOADS = (
    "python3-attr",
    "python3-filelock",
    "python3-idna",
    "python3-platformdirs",
    "python3-six",
    "python3-sqlparse",
    "sudo",
    "systemd-standalone-sysusers",  # or what follows would bring all of systemd
    "systemd-standalone-tmpfiles",
    "valkey-server",
)
EXECUTABLES = ("/usr/bin/python3.14", "/usr/bin/python3.15", "/usr/bin/pypy3.11")

_COMMAND_SECONDS = 300
#: What apt can get again inside: the interpreters, and with them what is to be installed.
_KEPT = ("*python3*.deb", "pypy3*.deb")
#: No package owns it, and nobody inside looks beyond the archive there.
_WASTE = ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*_dists_*")
_APT = """\
Acquire::Languages "none";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
"""
#: Changes with what `_make` does.
_EDITION = "3"
_APPLICATION = "opt/pyctrigger"
_DEPENDENCIES = ("filelock", "platformdirs")


class OwnState(Command):
    """The command with its state where it puts it by itself: root's fixed place, or the same place inside `--root`."""

    def __init__(self, *program: str) -> None:
        super().__init__(Path("/var/lib/pyctrigger"))
        self.program = list(program) or self.program

    def command_line(self, verb: str, arguments: Sequence[Argument]) -> list[bytes]:
        """The whole command line, as it was meant."""
        return [os.fsencode(part) for part in [*self.program, verb, *arguments]]


class Chroot:
    """A copy of Debian sid that may be changed, with pyctrigger in it."""

    def __init__(self, top: Path, chroot: str) -> None:
        self.top = top
        self._chroot = chroot
        self._before: list[str] = []
        self._entrance = top

    def beyond(self, mounts: list[str]) -> Chroot:
        """The same, with the mounts of a keeper's (`confinement.private_mounts`) that nobody else sees."""
        keeper = Path(mounts[1].partition("=")[2]).parent.parent / "root"  # from /proc/PID/ns/mnt to /proc/PID/root
        seen = Chroot(keeper / self.top.relative_to("/"), self._chroot)
        seen._before, seen._entrance = mounts, self.top
        return seen

    def outside(self, path: str) -> Path:
        """A path inside, as seen from here."""
        return self.top / path.lstrip("/")

    def inside(self, path: bytes) -> bytes:
        """A path from here, as seen inside."""
        return path[len(os.fsencode(self.top)) :]

    def entering(self, *environment: str) -> list[str]:
        """The start of a command line that goes on inside, in an environment of its own."""
        inside = [*self._before, self._chroot, str(self._entrance), "/usr/bin/env", "-i"]
        return [*inside, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", *environment]

    def run(self, *command: str) -> Outcome:
        """What an administrator types inside."""
        environment = ["PATH=/usr/sbin:/usr/bin", "DEBIAN_FRONTEND=noninteractive"]
        child = subprocess.run(
            [*self.entering(*environment), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return Outcome(child.returncode, child.stdout.decode(errors="replace"), child.stderr.decode(errors="replace"))

    def command(self, host: str = EXECUTABLES[0]) -> Command:
        """pyctrigger as it runs inside, by an interpreter from there."""
        application = [f"PYTHONPATH=/{_APPLICATION}", "PYTHONDONTWRITEBYTECODE=1"]
        return OwnState(*self.entering(*application), host, "-m", "pyctrigger")

    def interpreter(self, executable: str, doors: Path) -> Interpreter:
        """An interpreter inside, with a door in the directory `doors`: a path that starts it from outside."""
        question = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
        child = subprocess.run(
            [*self.entering(), executable, "-I", "-S", "-c", question],
            capture_output=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
        implementation, *version = child.stdout.decode().split()
        door = doors / os.path.basename(executable)
        door.write_text(f'#!/bin/sh\nexec {" ".join(self.entering())} {executable} "$@"\n')
        door.chmod(0o755)
        return Interpreter(implementation, tuple(map(int, version)), False, str(door), "/usr")

    def install_pyctrigger(self) -> None:
        """The package as it is in the checkout, and what it needs, by the side of everything of Debian's."""
        application = self.outside(_APPLICATION)
        assert pyctrigger.__file__
        packages = [Path(pyctrigger.__file__).parent, *map(_package, _DEPENDENCIES)]
        for package in packages:
            shutil.copytree(package, application / package.name, ignore=shutil.ignore_patterns("__pycache__"))


def chroot_program() -> str:
    """What enters a root, which only root may."""
    program = find_tool("chroot")
    if program is None or os.geteuid() != 0:
        absent("needs root, and chroot")
    return program


@contextmanager
def sid_chroot(*, application: bool = True) -> Iterator[Chroot]:
    """A private copy, gone afterwards, with the checkout's pyctrigger beside Debian's unless `application` is false.

    Only root can have one.
    """
    chroot = chroot_program()
    with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=room()) as scratch:
        copy = Path(scratch) / "sid"
        prepare("cp", "-a", "--reflink=auto", str(original_sid()), str(copy))
        sid = Chroot(copy, chroot)
        if application:
            sid.install_pyctrigger()
        yield sid


@contextmanager
def copy_of(original: Chroot) -> Iterator[Chroot]:
    """A copy as it is now, removed afterwards. Nothing may change the original meanwhile."""
    with another(original.top, room()) as top:
        yield Chroot(top, original._chroot)


def room() -> str | Path:
    """Not just anywhere: files there have to be executable, and its /dev/null a device."""
    return corpus.memory(programs=True) or CACHE


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def original_sid() -> Path:
    """The cached Debian, made if there is none yet."""
    debootstrap = find_tool("debootstrap")
    if debootstrap is None:
        absent("no debootstrap, which makes a Debian sid to test in (Debian package debootstrap)")
    content = "\n".join([_EDITION, *PACKAGES, *PAYLOADS])
    return kept("sid", content, partial(_make, debootstrap), "Debian sid to test in")


def _make(debootstrap: str, top: Path) -> None:
    include = "--include=" + ",".join(PACKAGES)
    # In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
    prepare("unshare", "--mount", debootstrap, "--variant=minbase", include, "sid", str(top))
    parts = set(_downloaded(top))
    # By the lists that debootstrap left: the same versions, also from a mirror that stands still.
    download = ("chroot", str(top), "apt-get", "-qq", "-y", "--download-only", "--no-install-recommends")
    prepare(*download, "install", *PAYLOADS)
    _make_archive(top, [each for each in _downloaded(top) if each not in parts])


def _downloaded(top: Path) -> list[Path]:
    return sorted((top / "var/cache/apt/archives").glob("*.deb"))


def _make_archive(top: Path, payloads: list[Path]) -> None:
    """Let apt find inside what was downloaded, and nothing else."""
    archive = top / ARCHIVE.lstrip("/")
    archive.mkdir()
    for package in _downloaded(top):
        if package in payloads or any(package.match(pattern) for pattern in _KEPT):
            package.rename(archive / package.name.replace("%3a", "-"))  # an epoch's colon
    write_index(archive)
    for pattern in _WASTE:
        for waste in top.glob(pattern):
            waste.unlink()
    (top / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{ARCHIVE} ./\n")
    (top / "etc/apt/apt.conf.d/99tests").write_text(_APT)
    prepare("chroot", str(top), "apt-get", "-qq", "update")
