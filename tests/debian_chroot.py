"""A whole Debian sid below a directory: the CPythons and the PyPy that are newer than any on the machines of today.

Made once by debootstrap (a minute, and a network), kept for the runs that follow, and copied for each that uses it.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import pyctrigger
from command import Argument, Command
from conftest import absent
from interpreters import Interpreter
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CACHE = Path("/var/cache/pyctrigger-tests")
PACKAGES = ("python3-minimal", "python3.14", "python3.15", "pypy3")
EXECUTABLES = ("/usr/bin/python3.14", "/usr/bin/python3.15", "/usr/bin/pypy3.11")

BUILD_SECONDS = 550
_COMMAND_SECONDS = 300
#: Nothing that an interpreter needs, and two fifths of the whole.
_WASTE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
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

    def outside(self, path: str) -> Path:
        """A path inside, as seen from here."""
        return self.top / path.lstrip("/")

    def inside(self, path: bytes) -> bytes:
        """A path from here, as seen inside."""
        return path[len(os.fsencode(self.top)) :]

    def entering(self, *environment: str) -> list[str]:
        """The start of a command line that goes on inside, in an environment of its own."""
        return [self._chroot, str(self.top), "/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", *environment]

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


@contextmanager
def sid_chroot() -> Iterator[Chroot]:
    """A private copy, gone afterwards. Only root can have one."""
    chroot = find_tool("chroot")
    if chroot is None or os.geteuid() != 0:
        absent("needs root, and chroot")
    original = _original()
    # Not just anywhere: what lies there has to be executable, and its /dev/null a device.
    with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=corpus.memory(programs=True) or CACHE) as scratch:
        copy = Path(scratch) / "sid"
        _run(["cp", "-a", "--reflink=auto", str(original), str(copy)])
        sid = Chroot(copy, chroot)
        sid.install_pyctrigger()
        yield sid


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@dataclass(frozen=True)
class _Place:
    """Where the original is, and what says that it is whole."""

    top: Path
    stamp: Path

    @property
    def is_whole(self) -> bool:
        """Whether it was made to the end, of these packages."""
        return self.stamp.is_file() and self.stamp.read_text().split() == list(PACKAGES)


def _original() -> Path:
    """The cached Debian, made if there is none yet."""
    debootstrap = find_tool("debootstrap")
    if debootstrap is None:
        absent("no debootstrap, which makes a Debian sid to test in (Debian package debootstrap)")
    CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
    status = CACHE.lstat()
    if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or not stat.S_ISDIR(status.st_mode):
        absent(f"{CACHE} is in other hands than root's")
    place = _Place(CACHE / "sid", CACHE / "sid.stamp")
    with (CACHE / "sid.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_whole:
            _make(place, debootstrap)
    return place.top


def _make(place: _Place, debootstrap: str) -> None:
    place.stamp.unlink(missing_ok=True)
    shutil.rmtree(place.top, ignore_errors=True)
    include = "--include=" + ",".join(PACKAGES)
    # In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
    command = ["unshare", "--mount", debootstrap, "--variant=minbase", include, "sid", str(place.top)]
    try:
        _run(command, seconds=BUILD_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(place.top, ignore_errors=True)
        said = (error.stdout or b"").decode("utf-8", "replace").strip().splitlines()
        absent(f"no Debian sid to test in: {said[-1] if said else error}")
    for waste in _WASTE:
        shutil.rmtree(place.top / waste, ignore_errors=True)
    place.stamp.write_text("\n".join(PACKAGES))


def _run(command: list[str], seconds: float = _COMMAND_SECONDS) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(
        command,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        env=environment,
    )
