"""`python -m pyctrigger` with its imports done: it forks a process for each call, which goes on as a fresh one does.

Python's start and our imports are four fifths of an ordinary command's processor time, and what is tested is mostly the
rest. A call has a process of its own, with its streams, arguments, environment, directory and exit. Whatever else a
process takes over from its parent is compared, and where it differs the command is started anew; so it is, too, where
`PYCTRIGGER_TEST_COLD` is set, and on a system without /proc. For other accounts there is a second such program, of the
copy that they may read: as root, which each of its children gives up.

Run as a program, this is the one that forks, with the descriptor of a socket as argument. A request is a length, with
the three standard streams, and so many bytes of JSON; the answer is the process, and later how it ended.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

_LENGTH = struct.Struct("!Q")
_NUMBER = struct.Struct("!i")
_END = struct.Struct("!iQ")
#: Bytes that a pipe takes when nobody reads it yet, anywhere.
_PIPE_SIZE = 4096
_STATUS = Path("/proc/self/status")
#: Lines of it that a child inherits, and that change what it does.
_INHERITED = ("Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "SigBlk", "SigIgn", "CapEff", "CapBnd")
#: What Python, its locale and its clock read once, when they start.
_READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ")
#: How a program begins its work that is started with -c, and has said where its modules are.
ENTRY = "from pyctrigger.cli import main; sys.exit(main())"
_SET_DUMPABLE = 4  # prctl(2)
_SET_PTRACER, _ANYBODY = 0x59616D61, 2 ** (8 * struct.calcsize("L")) - 1
#: Where lanes are forked.
_LANES = os.path.join("", "pyctrigger", "run", "apply", "lanes.py")
_LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]


class Ended(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: bytes
    stderr: bytes
    memory: int
    """Bytes of the command or a child of its, whichever had more at once."""


class Call(NamedTuple):
    """A command, and what it is started with."""

    arguments: list[bytes]
    stdin: bytes
    env: Mapping[str, str]
    cwd: str
    options: Mapping[str, Any] = {}
    """More options of `subprocess.run`'s. A fork can do user, group, extra_groups and umask."""
    attend: Callable[[int], None] | None = None
    """Called with the process while that is stopped, as SIGSTOP does it, before its first step; has to continue it."""
    stops_lane: int = 0
    """If it isn't the process that is stopped, but a lane that it forks: which. `attend` has to find it."""


def run(program: tuple[str, ...], call: Call, patience: float) -> Ended | None:
    """The command, as it ended; None if it has to be started anew. Raises `TimeoutExpired` as `subprocess.run` does.

    `program` is `python -m pyctrigger`, which only this account may read, or `python -c` with an `ENTRY` at its end.
    """
    allowed = {"umask"} if "-m" in program else {"umask", "user", "group", "extra_groups"}
    if "PYCTRIGGER_TEST_COLD" in os.environ or len(call.stdin) > _PIPE_SIZE or not _STATUS.exists():
        return None
    return _warm_program(os.getpid(), program).run(call, patience) if call.options.keys() <= allowed else None


@cache
def _warm_program(pid: int, program: tuple[str, ...]) -> WarmProgram:
    return WarmProgram(pid, program)


#: Process ids of those that run: no part of what a test started.
PROCESSES: set[int] = set()


class WarmProgram:
    """The process that forks, as a child of this one."""

    def __init__(self, pid: int, program: tuple[str, ...]) -> None:
        self._pid = pid
        self._inherited = _what_is_inherited(os.environ)
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        line = [program[0], __file__]
        if program[1] == "-c":
            source = Path(__file__).read_text(encoding="utf-8")
            line = [*program[:2], program[2].removesuffix(ENTRY) + f"exec({source!r})"]
        with theirs:
            self._process = subprocess.Popen(
                [*line, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/" if program[1] == "-c" else None,
            )
        PROCESSES.add(self._process.pid)
        atexit.register(self._end)

    def run(self, call: Call, patience: float) -> Ended | None:
        """As the function of that name; None as well while another thread is in it."""
        if _what_is_inherited(call.env) != self._inherited or not self._lock.acquire(blocking=False):
            return None
        try:
            words = {"arguments": list(map(os.fsdecode, call.arguments)), "account": dict(call.options)}
            place = {"environment": dict(call.env), "directory": call.cwd}
            stopped = None if call.attend is None else call.stops_lane
            request = json.dumps({**words, **place, "stopped": stopped}).encode()
            (reading, writing), out, err = os.pipe(), os.pipe(), os.pipe()
            os.write(writing, call.stdin)
            os.close(writing)
            theirs = array.array("i", [reading, out[1], err[1]])
            self._channel.sendmsg([_LENGTH.pack(len(request))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, theirs)])
            self._channel.sendall(request)
            for descriptor in theirs:
                os.close(descriptor)
            return self._wait((out[0], err[0]), patience, call.attend)
        finally:
            self._lock.release()

    def _wait(self, streams: tuple[int, int], patience: float, attend: Callable[[int], None] | None) -> Ended:
        (command,) = self._receive(_NUMBER)
        try:
            if attend is not None:
                attend(command)
            said = _read_all(streams, patience)
        except BaseException:
            os.kill(command, signal.SIGKILL)
            self._receive(_END)
            raise
        status, memory = self._receive(_END)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Ended(code, *said, memory)

    def _receive(self, numbers: struct.Struct) -> tuple[int, ...]:
        return numbers.unpack(self._channel.recv(numbers.size, socket.MSG_WAITALL))

    def _end(self) -> None:
        """Close it, and wait for it, so that its time is counted as ours."""
        if self._pid == os.getpid():
            self._channel.close()
            self._process.wait(30)


def _what_is_inherited(env: Mapping[str, str]) -> list[object]:
    """Returns what a process takes over from its parent beside streams, environment and directory."""
    lines = [line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(_INHERITED)]
    settings = {name: value for name, value in env.items() if value and name.startswith(_READ_AT_START)}
    return [lines, settings, os.getpriority(os.PRIO_PROCESS, 0), *map(resource.getrlimit, _LIMITS)]


def _read_all(streams: tuple[int, int], patience: float) -> tuple[bytes, bytes]:
    """Returns what comes from each, until all have ended, and closes them."""
    said = dict.fromkeys(streams, b"")
    deadline = time.monotonic() + patience
    try:
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(deadline - time.monotonic()):
                    piece = os.read(key.fd, 1 << 16)
                    said[key.fd] += piece
                    if not piece:
                        selector.unregister(key.fd)
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired("pyctrigger", patience, *said.values())
    finally:
        for stream in streams:
            os.close(stream)
    return said[streams[0]], said[streams[1]]


def _serve() -> None:
    """Fork for each request until the other end of the socket is closed. Returns in each child: it is the command."""
    _import_everything()
    gc.collect()
    gc.freeze()
    channel = socket.socket(fileno=int(sys.argv[1]))
    interrupts = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who runs the tests
    while True:
        head, control, _, _ = channel.recvmsg(_LENGTH.size, socket.CMSG_SPACE(3 * array.array("i").itemsize))
        if not head:
            os._exit(0)
        request = json.loads(channel.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL))
        streams = array.array("i", control[0][2])
        pid = os.fork()
        if pid == 0:
            channel.close()
            signal.signal(signal.SIGINT, interrupts)
            _become(list(streams), **request)
            return
        for stream in streams:
            os.close(stream)
        channel.sendall(_NUMBER.pack(pid))
        _, status, usage = os.wait4(pid, 0)
        channel.sendall(_END.pack(status, usage.ru_maxrss << 10))


def _import_everything() -> None:
    """All of the host's modules: a verb imports some of them only when it needs them."""
    package = importlib.import_module("pyctrigger")
    for module in pkgutil.walk_packages(package.__path__, "pyctrigger."):
        if ".remote" not in module.name and not module.name.endswith(".child"):  # what targets run
            with contextlib.suppress(ImportError):  # of an extra that isn't there
                importlib.import_module(module.name)


def _become(
    streams: list[int],
    arguments: list[str],
    environment: dict[str, str],
    directory: str,
    account: dict[str, Any],
    stopped: int | None,
) -> None:
    """Take over the streams, the arguments, the environment, the directory and the account of the caller."""
    for number, (name, stream) in enumerate(zip(("stdin", "stdout", "stderr"), streams)):
        os.dup2(stream, number)
        os.close(stream)
        ours = getattr(sys, name)  # knows whether it can be sought: what is there now cannot
        renewed = open(number, ours.mode, encoding=ours.encoding, errors=ours.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, renewed)
    os.chdir(directory)
    _become_account(**account)
    os.environ.clear()
    os.environ.update(environment)
    if sys.argv[0] != "-c":
        sys.path[0] = directory  # as -m has it
        sys.argv[0] = sys.modules["pyctrigger.__main__"].__file__ or ""
    sys.argv[1:] = arguments
    if stopped == 0:
        _stop()
    elif stopped is not None:
        _stop_lane(stopped)


def _stop_lane(number: int) -> None:
    """Have the process that is forked for the lane of this number stop before it does anything."""
    forked = 0

    def count() -> None:
        nonlocal forked
        frame: FrameType | None = sys._getframe(1)
        while frame and not frame.f_code.co_filename.endswith(_LANES):
            frame = frame.f_back
        forked += frame is not None

    def stop() -> None:
        if forked == number:
            count()  # what the lane forks is another process
            _stop()

    os.register_at_fork(before=count, after_in_child=stop)


def _stop() -> None:
    """Stop this process, so that it can be traced from here on."""
    # Who attends is no ancestor of this process: some systems let only those trace (Yama).
    ctypes.CDLL(None).prctl(_SET_PTRACER, ctypes.c_ulong(_ANYBODY), 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def _become_account(
    user: int | None = None, group: int | None = None, extra_groups: Sequence[int] | None = None, umask: int = -1
) -> None:
    """As `subprocess` does it before it executes the command."""
    if umask >= 0:
        os.umask(umask)
    if extra_groups is not None:
        os.setgroups(extra_groups)
    if group is not None:
        os.setregid(group, group)
    if user is not None:
        os.setreuid(user, user)
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)  # as execve(2) does: /proc/self is the account's


if __name__ == "__main__":
    _serve()
    code = importlib.import_module("pyctrigger.cli" if sys.argv[0] == "-c" else "pyctrigger.__main__").main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Python's own end would take down all modules, which is half of the time
