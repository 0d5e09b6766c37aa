"""One process that is timed: it may write into its own directories and nowhere else, and ends with its whole group.

What runs is other people's code, and some of it writes beside its sources whatever Python is told (Numba's caches do).
Landlock keeps any account, root included, from creating, changing and removing files (landlock(7), Linux 5.13); it
doesn't keep root from changing modes and owners.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from ...clibrary import call
from ...errors import InterpreterError
from ...interpreter.child import describe_death

#: Bytes of standard error that are kept: the last ones tell what went wrong.
_MOST_STDERR = 8192
#: From <linux/landlock.h> and <linux/prctl.h>; the numbers of the calls are the same on every architecture but Alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
#: WRITE_FILE, REMOVE_DIR and REMOVE_FILE, and the seven MAKE_… rights.
_CHANGES = 1 << 1 | 1 << 4 | 1 << 5 | 0b1111111 << 6
#: Renaming from one directory to another, since the second version; truncating, since the third.
_REFER, _TRUNCATE = 1 << 13, 1 << 14
#: What a rule needs of a directory; PyPy's os doesn't name it.
_PATH = getattr(os, "O_PATH", os.O_RDONLY)
#: Terminals, /dev/null and shared memory: nothing of an installation's.
_ALWAYS_WRITABLE = "/dev"


class Command(NamedTuple):
    """What is started, and what it is started with."""

    line: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    """Where it starts."""
    writable: tuple[str, ...]
    """The only directories that it may change something in."""
    keep: tuple[int, ...] = ()
    """Descriptors that it inherits."""


class Ended(NamedTuple):
    """A process that is over."""

    seconds: float
    """From the start to the end of the process, as a clock on the wall says."""
    cpu_seconds: float
    """Its own, and those of the children that it waited for."""
    trouble: str | None
    """None if it ended well."""
    timed_out: bool


def run_timed(command: Command, timeout: float) -> Ended:
    """Run a command once; `timeout` is in seconds. Raises InterpreterError if it can't be started."""
    child, started = _start_behind_barrier(command)
    assert child.stderr is not None
    attendant = _Attendant(child.pid, child.stderr.fileno(), timeout)
    reaped = None
    try:
        if hasattr(os, "waitid"):
            # Its number stays taken, and with it that of its group, until it is reaped.
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        else:  # PyPy's os has none
            reaped = os.wait4(child.pid, 0)
        ended = time.perf_counter()
    finally:
        attendant.end()
        _, status, usage = reaped or os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stderr.close()
    trouble = None
    if attendant.ran_out:
        trouble = f"it did not end within {timeout:g} s"
    elif child.returncode:
        trouble = _describe(child.returncode, attendant.said)
    return Ended(ended - started, usage.ru_utime + usage.ru_stime, trouble, attendant.ran_out)


def _start_behind_barrier(command: Command) -> tuple[subprocess.Popen[bytes], float]:
    """Start a command, from a thread that gives up its rights: the child inherits that, the caller keeps its own."""

    def start() -> tuple[subprocess.Popen[bytes], float]:
        if barrier_version():
            _restrict([*command.writable, _ALWAYS_WRITABLE])
        started = time.perf_counter()
        try:
            child = subprocess.Popen(
                command.line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=command.directory,
                env=command.environment,
                pass_fds=command.keep,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InterpreterError(f"{command.line[0]} can't be started: {reason}") from error
        return child, started

    with ThreadPoolExecutor(1) as executor:
        starting = executor.submit(start)
        try:
            return starting.result()
        except BaseException:
            if starting.exception() is None:  # a signal came in between, and nobody waits for the child any more
                child, _ = starting.result()
                _kill_group(child.pid)
                child.communicate()
            raise


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _describe(returncode: int, said: bytes) -> str:
    """Returns how it ended, with the last line that it said: the others of a traceback quote somebody's source."""
    lines = said.strip().splitlines()
    return describe_death(returncode, lines[-1] if lines else b"")


class _Attendant:
    """Reads a process's standard error, so that it never fills up, and kills the group of one that takes too long."""

    def __init__(self, pid: int, stderr: int, timeout: float) -> None:
        self._pid = pid
        self._stderr = stderr
        self._deadline = time.monotonic() + timeout
        self._stop, self._stopper = os.pipe()
        self.said = b""
        self.ran_out = False
        os.set_blocking(stderr, False)
        self._thread = threading.Thread(target=self._attend, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop reading once the process has ended, and kill what it left running."""
        os.write(self._stopper, b".")  # who left the group may hold standard error for ever
        self._thread.join()
        _kill_group(self._pid)
        os.close(self._stop)
        os.close(self._stopper)

    def _attend(self) -> None:
        watched = [self._stderr, self._stop]
        ready: Sequence[int] = ()
        while self._stop not in ready:
            left = None if self.ran_out else max(0.0, self._deadline - time.monotonic())
            ready = select.select(watched, [], [], left)[0]
            if not self.ran_out and time.monotonic() >= self._deadline and self._stop not in ready:
                self.ran_out = True
                _kill_group(self._pid)
            if self._stderr in ready:
                with contextlib.suppress(BlockingIOError):
                    piece = os.read(self._stderr, 65536)
                    self.said = (self.said + piece)[-_MOST_STDERR:]
                    if not piece:
                        watched.remove(self._stderr)


# -- the barrier -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def barrier_version() -> int:
    """Returns the version of Landlock, or 0 if this system can't keep a process from writing."""
    try:
        return call("syscall", _CREATE_RULESET, None, 0, _VERSION) if sys.platform.startswith("linux") else 0
    except OSError:
        return 0


def _restrict(writable: Sequence[str]) -> None:
    """Let this thread and its children change nothing outside of these directories. Raises OSError."""
    version = barrier_version()
    rights = _CHANGES | (_REFER if version > 1 else 0) | (_TRUNCATE if version > 2 else 0)
    attribute = struct.pack("=Q", rights)
    try:
        ruleset = call("syscall", _CREATE_RULESET, attribute, len(attribute), 0)
        try:
            for path in writable:
                directory = os.open(path, _PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    call("syscall", _ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, directory), 0)
                finally:
                    os.close(directory)
            call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            call("syscall", _RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise OSError(error.errno, f"no barrier could be put up: {error.strerror}") from error
