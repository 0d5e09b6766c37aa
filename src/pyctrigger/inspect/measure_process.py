"""One process that is timed: started behind the barrier, with a limit to its time, and ended with its whole group."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InterpreterError
from ..interpreter.child import describe_death, printable
from .measure_barrier import behind_barrier

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of standard error that are kept: the last ones tell what went wrong.
_MOST_NOISE = 8192


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
    """Run it once; `timeout` is in seconds. Raises InterpreterError where it can't be started."""
    child, started = behind_barrier(command.writable, lambda: _start(command), _abandon)
    assert child.stderr is not None
    watch = _Watch(child.pid, timeout)
    with _Noise(child.stderr.fileno()) as noise:
        try:
            if hasattr(os, "waitid"):
                # Its number stays taken, and with it that of its group, until it is reaped.
                os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
                ended = time.perf_counter()
                watch.end_group()
                _, status, usage = os.wait4(child.pid, 0)
            else:  # PyPy's os has none
                _, status, usage = os.wait4(child.pid, 0)
                ended = time.perf_counter()
                watch.end_group()
        except BaseException:
            watch.end_group()
            child.wait()
            raise
    child.stderr.close()
    child.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    trouble = None
    if watch.ran_out:
        trouble = f"it did not end within {timeout:g} s"
    elif child.returncode:
        trouble = _describe(child.returncode, noise.said)
    return Ended(ended - started, usage.ru_utime + usage.ru_stime, trouble, watch.ran_out)


def _start(command: Command) -> tuple[subprocess.Popen[bytes], float]:
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


def _abandon(started: tuple[subprocess.Popen[bytes], float]) -> None:
    child, _ = started
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert child.stderr is not None
    child.stderr.close()


def _describe(returncode: int, said: bytes) -> str:
    """How it ended, with the last line that it said: a traceback's other lines are text of somebody's source."""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    last = printable(lines[-1].encode("utf-8", "replace")) if lines else ""
    return describe_death(returncode) + (f", it said: {last}" if last else "")


class _Watch:
    """Ends the group of a process that takes too long."""

    def __init__(self, pid: int, timeout: float) -> None:
        self._pid = pid
        self._lock = threading.Lock()
        self._over = False
        self.ran_out = False
        self._timer = threading.Timer(timeout, self._run_out)
        self._timer.daemon = True
        self._timer.start()

    def _run_out(self) -> None:
        with self._lock:
            if not self._over:
                self.ran_out = True
                self._kill()

    def end_group(self) -> None:
        """The process is over, and what it left running goes, too."""
        self._timer.cancel()
        with self._lock:
            if not self._over:
                self._over = True
                self._kill()
        self._timer.join()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)


class _Noise:
    """Reads standard error, so that it never fills up, and keeps its end. Use it as a context manager."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stop, self._stopper = os.pipe()
        self.said = b""
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Noise:
        os.set_blocking(self._descriptor, False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Who left the group may hold the pipe for ever.
        os.write(self._stopper, b".")
        self._thread.join()
        os.close(self._stop)
        os.close(self._stopper)

    def _read(self) -> None:
        stopping = False
        while not stopping:
            ready = select.select([self._descriptor, self._stop], [], [])[0]
            stopping = self._stop in ready
            with contextlib.suppress(BlockingIOError):
                piece = os.read(self._descriptor, 65536)
                self.said = (self.said + piece)[-_MOST_NOISE:]
                if not piece:
                    return
