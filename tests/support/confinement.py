"""A private part of the machine for one test: mounts in a namespace, and accounts other than root's."""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from children import in_child
from command import Command
from conftest import absent
from environment import CHECKOUT
from interpreters import find_interpreters
from system_tools import find_tool
from warm_program import ENTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The account without rights of every system that we know.
NOBODY = 65534

#: Seconds. What has not happened by then never will.
PATIENCE = 30.0

#: Numbers that all have the hash 0: the compiler's table of constants takes quadratic time for them, up to a minute,
#: and no memory. A long name to be normalised (PEP 3131) does so no more: later patch releases are fast with it.
SLOW = "".join(f"x = {factor * (2**61 - 1)}\n" for factor in range(1, 30_000))

_PACKAGES = ("pyctrigger", "filelock", "platformdirs", "tomli")
_TRIAL = """
import pyctrigger.cli, pyctrigger.state.lock, platformdirs
if sys.version_info < (3, 11):
    import tomli
"""


@cache
def usable_by(uid: int) -> tuple[str, ...]:
    """The interpreters of this machine that an account may execute: a version manager's often lie in root's home."""
    found = dict.fromkeys([os.path.realpath(sys.executable), *(each.path for each in find_interpreters())])
    return tuple(path for path in found if _succeeds([path, "-I", "-S", "-c", "import os, encodings"], uid))


def cpython_for(uid: int) -> str | None:
    """The first CPython among them: it starts in a tenth of PyPy's time."""
    return next((path for path in usable_by(uid) if "pypy" not in os.path.basename(path)), None)


def _succeeds(command: Sequence[str], uid: int) -> bool:
    try:
        child = subprocess.run(
            command,
            cwd="/",
            env={"PATH": os.defpath},
            capture_output=True,
            check=False,
            timeout=60,
            user=uid,
            group=uid,
            extra_groups=[],
        )
    except OSError:  # not even to be executed
        return False
    return child.returncode == 0


def command_for(uid: int, state: Path) -> Command | None:
    """pyctrigger, copied with what it depends on, for an account that may not reach the original.

    None where the account can execute no interpreter that can be a host.
    """
    program = _program_for(uid)
    if program is None:
        return None
    command = Command(state)
    command.program, command.warm = list(program), program
    return command


@cache
def _program_for(uid: int) -> tuple[str, ...] | None:
    # Not -I: the configuration's environment variable is a thing to test.
    setting = f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(_application())!r})\n"
    for path in usable_by(uid):
        if _succeeds([path, "-c", setting + _TRIAL], uid):
            return path, "-c", setting + ENTRY
    return None


@cache
def _application() -> Path:
    """The copy: root's, for everybody to read, with the hooks beside it. It goes with this process."""
    top = Path(tempfile.mkdtemp(prefix="pyctrigger-test-")).resolve()
    atexit.register(_remove, top, os.getpid())
    top.chmod(0o755)
    shutil.copytree(CHECKOUT / "hooks", top / "hooks")
    application = top / "application"
    application.mkdir()
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin:
            shutil.copytree(os.path.dirname(spec.origin), application / name)
    return application


def _remove(top: Path, pid: int) -> None:
    if pid == os.getpid():  # and none that was forked from it
        shutil.rmtree(top)


def are_readable(paths: Sequence[Path], uid: int, gid: int, groups: Sequence[int]) -> list[bool]:
    """Which of these files an account can open for reading, asked of the kernel by a process of its."""
    return in_child(lambda: list(map(_is_readable, paths)), account=uid, group=gid, groups=groups)


def _is_readable(path: Path) -> bool:
    try:
        path.open("rb").close()
    except PermissionError:
        return False
    return True


@contextmanager
def private_mounts(script: str, *, alone: bool = False) -> Iterator[list[str]]:
    """Makes private mounts by a shell script. Returns the start of a command line that sees them.

    With `alone` it also has a network of its own, without a way out, and its processes end with it.

    Skips where this process may not have mounts of its own: in many containers, and in a chroot, whose / is no mount.
    """
    unshare, nsenter = find_tool("unshare"), find_tool("nsenter")
    if unshare is None or nsenter is None:
        absent("no unshare or nsenter (Debian package util-linux)")
    kinds = ["--mount", *(["--net", "--pid", "--fork", "--kill-child"] if alone else [])]
    # It ends with its standard input, and so with this process, however that ends; the mounts go with it.
    keeper = subprocess.Popen(
        [unshare, *kinds, "--propagation", "private", "sh", "-ec", script + "\necho ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert keeper.stdin and keeper.stdout and keeper.stderr  # noqa: PT018
    try:
        if keeper.stdout.readline() != b"ready\n":
            absent(f"no mounts of our own: {keeper.stderr.read().decode().strip()}")
        spaces = {"mount": "mnt", **({"net": "net", "pid": "pid_for_children"} if alone else {})}
        yield [nsenter, *(f"--{kind}=/proc/{keeper.pid}/ns/{name}" for kind, name in spaces.items()), "--"]
    finally:
        keeper.stdin.close()
        keeper.wait(60)
        keeper.stdout.close()
        keeper.stderr.close()


class Machine:
    """pyctrigger with private lock directories, and the files that it makes there."""

    def __init__(self, command: Command, locks: Path, top: Path) -> None:
        self.command = command
        self.locks = locks
        """The directory of the locks, as this process sees it."""
        self.top = top
        """What stands at `/` for the command."""

    def files(self) -> list[str]:
        """The contents of the directory of locks."""
        return sorted(os.listdir(self.locks)) if self.locks.is_dir() else []

    def note(self) -> Path:
        """The owner's note, once there is one."""
        assert wait_for(lambda: any(name.endswith(".owner") for name in self.files()))
        return next(self.locks.glob("*.owner"))


@contextmanager
def own_machine(command: Command, runtime: Path) -> Iterator[Machine]:
    """As root, whose places are fixed: mounts of our own over them, and an empty `/mnt`. Else `runtime`, which has to
    be the caller's `XDG_RUNTIME_DIR`.
    """
    if os.geteuid() != 0:
        runtime.mkdir(mode=0o700)
        yield Machine(command, runtime / "pyctrigger", Path("/"))
        return
    with private_mounts("for at in /run /var/lib /mnt; do mount -t tmpfs none $at; done") as inside:
        top = Path(inside[1].partition("=")[2]).parent.parent / "root"  # from /proc/PID/ns/mnt to /proc/PID/root
        program = command.program
        command.program = [*inside, *program]
        try:
            yield Machine(command, top / "run/pyctrigger", top)
        finally:
            command.program = program


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it comes true."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
