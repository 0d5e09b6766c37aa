"""One worker process: start, pipes, limits and end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice

from ..buffers import Buffer, write_pieces
from ..errors import InterpreterChangedError, InterpreterError
from ..interpreter.child import describe_death, kill, start
from ..interpreter.interpreter import Interpreter
from ..interpreter.remote.powerless import bound
from ..interpreter.rights import hint_to_open_for, rights_for
from ..interpreter.worker_accounts import lease
from . import warming
from .allowance import Limits
from .wire import USUAL, Frame, FrameReader, Setup, largest_answer, parse_ready

#: Seconds for a child to end by itself after its input was closed.
_END_TIMEOUT = 5.0
_READ_SIZE = 1 << 19
#: Bytes. Sizes of the pipes: a tenth of a second of work, and its answers, which are longer.
_INPUT_SIZE, _OUTPUT_SIZE = 1 << 19, 1 << 20
#: Bytes (pipe(7)).
_USUAL_PIPE_SIZE = 1 << 16
#: Linux's number. `fcntl` has the name from 3.10 on.
_F_SETPIPE_SZ = 1031
#: Buffers in one write: all systems accept 16 (POSIX, IOV_MAX), those that we know 1024; -1 means no limit.
_MAX_PIECES = max(16, min(96, os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16))
#: A worker, and the child in which it compiles some sources.
_MAX_PROCESSES = 2
#: Bytes of a worker's standard error that are kept for the message about a failed start.
_MAX_STDERR = 4096


class Job:
    """A request to a worker, with a context that is returned with the answer."""

    __slots__ = ("context", "is_retry", "request", "setup", "size")

    def __init__(self, request: Frame, context: object) -> None:
        self.request = request
        self.size = sum(map(len, request))
        self.context = context
        #: Whether it has failed once, and is retried alone in a new worker.
        self.is_retry = False
        #: The worker that it needs.
        self.setup = USUAL


class Worker:
    """A child process that compiles. Never blocks: `pump_in` and `pump_out` do as much as the pipes allow.

    `leases` is the directory of lock files for the accounts of root's workers, each of which has its own.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        limits: Limits,
        setup: Setup,
        *,
        hashes: bool,
        program: str,
        leases: str | None,
    ) -> None:
        self.interpreter = interpreter
        self.limits = limits
        self._wall_timeout = limits.wall_timeout
        self.setup = setup
        self.jobs: deque[Job] = deque()
        self.outstanding = 0
        self.is_ready = False
        self.retiring = False
        self.overdue = False
        #: Whether it sent something that isn't an answer.
        self.garbled = False
        self._stderr = b""
        self._frames = FrameReader()
        self._unsent: deque[Buffer] = deque()
        self._compiles = program == "compile"
        warms_up = self._compiles and warming.is_needed(interpreter.implementation, interpreter.version)
        if warms_up:
            self._unsent.append(warming.frames())
        # A pipe whose other end only the host has open, one for each worker (F_SETOWN belongs to the open file): when
        # the host ends, however it ends, the kernel kills the worker.
        try:
            lifeline, self._lifeline = os.pipe()
        except OSError as error:
            raise InterpreterError(
                f"{interpreter.executable} can't be started: {error.strerror}", hint="raise the limit of open files"
            ) from error
        self._lease = lease(leases)
        self._rights = rights_for(interpreter, self._lease)
        options = (int(hashes), self._rights.leased, setup.codec, int(setup.forks), *interpreter.class_names)
        try:
            self._child = start(
                interpreter.executable,
                "compile-3.10" if warms_up else program,
                [*map(str, (lifeline, limits.memory, limits.file_timeout, *options))],
                self._rights,
                keep=[lifeline],
                seeded=warms_up,
                memory=limits.memory,
                tag=interpreter.cache_tag,
            )
        except BaseException:
            os.close(self._lifeline)
            if self._lease is not None:
                self._lease.end()
            raise
        finally:
            os.close(lifeline)
        self._streams = [each for each in (self._child.stdin, self._child.stdout, self._child.stderr) if each]
        #: Standard error is -1 once it was closed by the worker.
        self.input, self.output, self.stderr = (stream.fileno() for stream in self._streams)
        for descriptor in (self.input, self.output, self.stderr):
            dont_wait(descriptor)
        widen(self.input, _INPUT_SIZE)
        #: Bytes of requests whose answers fit into the output pipe before they are read.
        self.room = widen(self.output, _OUTPUT_SIZE) // 2
        self.deadline = time.monotonic() + limits.start_timeout

    def send(self, job: Job) -> None:
        """Queue a job after those that the worker already has."""
        if not self.jobs and self.is_ready:
            self.deadline = time.monotonic() + self._wall_timeout
        self.jobs.append(job)
        self.outstanding += job.size
        self._unsent += filter(None, job.request)  # an empty one would never be written

    def answered(self) -> tuple[Job, float]:
        """Remove and return the job of the answer just read, and the seconds that it took.

        Answers come in the order of the requests.
        """
        job, now = self.jobs.popleft(), time.monotonic()
        self.outstanding -= job.size
        begun, self.deadline = self.deadline - self._wall_timeout, now + self._wall_timeout
        return job, now - begun

    def events(self) -> dict[int, int]:
        """Returns what to poll its pipes for."""
        events = {self.output: select.POLLIN}
        if self.stderr >= 0:
            events[self.stderr] = select.POLLIN
        if self._unsent:
            events[self.input] = select.POLLOUT
        return events

    def pump_in(self) -> None:
        """Write as much as the pipe accepts. If the worker has ended, `pump_out` will notice."""
        try:
            while self._unsent:
                written = write_pieces(self.input, list(islice(self._unsent, _MAX_PIECES)))
                while written:
                    piece = self._unsent.popleft()
                    if written < len(piece):
                        self._unsent.appendleft(memoryview(piece)[written:])
                        break
                    written -= len(piece)
        except (BrokenPipeError, BlockingIOError):
            pass

    def pump_out(self) -> Iterator[memoryview]:
        """Read available output. Yields the payloads of complete frames. Raises WireError, and EOFError at its end."""
        try:
            data = os.read(self.output, _READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        self._frames.largest = largest_answer(max((job.size for job in self.jobs), default=0))
        yield from self._frames.feed(data)

    def drain_stderr(self) -> None:
        """Read standard error, so that its pipe never fills. Some is kept until the handshake."""
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.stderr, 65536)
            if not self.is_ready:
                self._stderr = (self._stderr + data)[-_MAX_STDERR:]
            if not data:
                self.stderr = -1

    def handle_handshake(self, payload: Buffer) -> tuple[str, ...]:
        """Process the first frame. Returns the system calls that the system refused.

        Raises WireError, and InterpreterChangedError if it is another interpreter than the one that was probed.
        """
        magic_number, cache_tag, lacks = parse_ready(payload)
        self.is_ready = True
        if self._rights.leased >= 0:  # only now: its interpreter may be a script, which forks
            bound(_MAX_PROCESSES, pid=self._child.pid)
        self.deadline = time.monotonic() + self._wall_timeout
        known = self.interpreter
        if (magic_number, cache_tag) != (known.magic_number, known.cache_tag):
            changed = f"magic number {magic_number.hex()}, it was {known.magic_number.hex()}"
            raise InterpreterChangedError(f"{known.executable} has changed: {changed}")
        return lacks

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, even if another one has its pipes open."""
        return self._child.poll() is not None

    def kill(self) -> None:
        """Kill it and what it has forked, which is in its session."""
        kill(self._child)

    def reap(self) -> int:
        """Close its input, so that it ends; kill it if it doesn't; and close everything. Returns the exit status."""
        self._streams[0].close()
        for _ in range(2):  # even SIGKILL can't end a process that waits for a dead file system
            try:
                self._child.wait(_END_TIMEOUT)
                break
            except subprocess.TimeoutExpired:
                self.kill()
        if self.stderr >= 0:
            self.drain_stderr()
        for stream in self._streams:
            stream.close()
        os.close(self._lifeline)
        if self._lease is not None:
            self._lease.end()
        return -signal.SIGKILL if self._child.returncode is None else self._child.returncode

    @property
    def busy_for(self) -> float:
        """Seconds since it started on its current request."""
        return self._wall_timeout - (self.deadline - time.monotonic())

    def ran_out_of_time(self, returncode: int) -> bool:
        """Whether the CPU time limit of one source ended the worker.

        If a program that uses the library ignores SIGCHLD, or reaps all children, the exit status is unknown and shows
        as 0: then wall-clock time decides.
        """
        is_over = 0 < self.limits.file_timeout <= self.busy_for
        return returncode == -signal.SIGPROF or (returncode == 0 and is_over)

    def ran_out_of_memory(self, returncode: int) -> bool:
        """Whether a lack of memory ended the worker: PyPy aborts where CPython raises MemoryError.

        It aborts as well when it loads bytecode with impossible numbers, which is that bytecode's fault.
        """
        return self._compiles and self.interpreter.implementation == "pypy" and returncode == -signal.SIGABRT

    def failed_start(self, returncode: int) -> InterpreterError:
        """Returns the error for a worker that ended, or sent nothing, before it was ready."""
        fault = "it was not ready in time" if self.overdue else "it sent an invalid answer" if self.garbled else None
        reason = describe_death(returncode, self._stderr, fault)
        return InterpreterError(
            f"{self.interpreter.executable} can't run a worker{self._rights.suffix}: {reason}",
            hint=self._rights.hint or "check that the interpreter's standard library is complete and readable",
        )

    def unreadable_library(self) -> InterpreterError:
        """Returns the error for a worker that can't read the standard library, which isn't the source's fault."""
        rights, executable = self._rights, self.interpreter.executable
        uid = os.geteuid() if rights.owner is None else rights.owner
        who = "an unprivileged account" if rights.leased >= 0 else f"account {uid}"
        hint = rights.hint or hint_to_open_for("that account")
        return InterpreterError(f"{executable}: {who} can't read all of its standard library", hint=hint)


def widen(pipe: int, size: int) -> int:
    """Enlarge a pipe's buffer (fcntl(2), F_SETPIPE_SZ, Linux), so that no side blocks. Returns its size.

    All pipes of an account other than root may have 64 MiB together (pipe(7), pipe-user-pages-soft); then it isn't
    enlarged.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return fcntl.fcntl(pipe, _F_SETPIPE_SZ, size)
    return _USUAL_PIPE_SIZE


def dont_wait(pipe: int) -> None:
    """Make a pipe non-blocking. `os.set_blocking` needs ioctl(2), which some sandboxes refuse."""
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)
