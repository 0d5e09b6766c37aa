"""One worker: its start, its pipes, its limits, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ..buffers import write_pieces
from ..errors import InterpreterError
from ..interpreter.child import MEND_FOR_ACCOUNT, MEND_FOR_EVERYBODY, describe_death, kill, printable, start
from . import warming
from .limits import dont_wait, restrict, restrict_processes, widen
from .rights import rights_for
from .wire import FrameReader, Ready, largest_answer, parse_ready

if TYPE_CHECKING:
    from ..buffers import Buffer
    from ..interpreter.accounts import Lease
    from ..interpreter.interpreter import Interpreter
    from .limits import Limits
    from .wire import Frame

#: Seconds that a child gets to end by itself once its input is closed.
_PATIENCE = 5.0
_READ_SIZE = 1 << 19
#: Bytes. A tenth of a second of work, and its answers, which are longer.
_INPUT_SIZE, _OUTPUT_SIZE = 1 << 19, 1 << 20
#: Pieces written at once: every system takes sixteen (POSIX, IOV_MAX), those that we know 1024; -1 is for no limit.
_MOST_PIECES = max(16, min(96, os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16))
#: How much of a worker's standard error is kept for the message about its failed start, in bytes.
_MOST_NOISE = 4096


class Job:
    """A request on its way through a worker, with whatever its sender wants back with the answer."""

    __slots__ = ("alone", "apart", "codec", "context", "request", "size")

    def __init__(self, request: Frame, context: object) -> None:
        self.request = request
        self.size = sum(map(len, request))
        self.context = context
        #: Tried once already, and to be tried again on a worker that has done nothing else.
        self.alone = False
        #: To be asked of a worker that forks for each source, or has loaded this codec.
        self.apart = False
        self.codec = ""


class Worker:
    """A child process that compiles. Never blocks: `pump_in` and `pump_out` do what the pipes allow.

    With `apart` it forks for each body, and itself compiles nothing; with a `codec` it has loaded that one as well. It
    has the account of `lease`, which is its own, if it has any.
    """

    def __init__(  # noqa: PLR0913 - each one is a fact about the process
        self,
        interpreter: Interpreter,
        limits: Limits,
        *,
        hashes: bool,
        program: str = "compile",
        apart: bool = False,
        codec: str = "",
        lease: Lease | None = None,
    ) -> None:
        self.interpreter = interpreter
        self.lease = lease
        rights = rights_for(interpreter, lease)
        self._rights = rights
        self.limits = limits
        self.jobs: deque[Job] = deque()
        self.outstanding = 0
        self.ready: Ready | None = None
        self.retiring = False
        self.apart = apart
        self.codec = codec
        self.overdue = False
        #: What it said was no answer.
        self.garbled = False
        self._noise = b""
        self._frames = FrameReader(largest_answer(0))
        self._unsent: deque[Buffer] = deque()
        warms_up = program == "compile" and warming.is_needed(interpreter.implementation, interpreter.version)
        if warms_up:
            self._unsent.append(warming.frames())
        # A pipe that only the host holds open, one for each worker (F_SETOWN belongs to the open file): when the host
        # ends, however it ends, the kernel ends the worker.
        try:
            life, self._life = os.pipe()
        except OSError as error:
            raise InterpreterError(
                f"{interpreter.executable} can't be started: {error.strerror}", mend="raise the limit of open files"
            ) from error
        try:
            self._child = start(
                interpreter.executable,
                "compile-3.10" if warms_up else program,
                [
                    str(life),
                    str(limits.memory),
                    str(limits.file_timeout),
                    str(int(hashes)),
                    *([f"account={rights.serve}"] if rights.serve >= 0 else []),
                    *([f"codec={codec}"] if codec else []),
                    *(["apart"] if apart else []),
                ],
                account=rights.start,
                root=interpreter.root,
                keep=[life],
                seeded=warms_up,
                bound=lambda pid: restrict(pid, limits),
                is_strangers=interpreter.account is not None,
                is_leased=rights.serve >= 0,
            )
        except BaseException:
            os.close(self._life)
            raise
        finally:
            os.close(life)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self.input = self._child.stdin.fileno()
        self.output = self._child.stdout.fileno()
        self.noise = self._child.stderr.fileno()
        for descriptor in (self.input, self.output, self.noise):
            dont_wait(descriptor)
        widen(self.input, _INPUT_SIZE)
        #: How much of what it has been asked, in bytes, has answers for which there is room until they are read.
        self.room = widen(self.output, _OUTPUT_SIZE) // 2
        self.deadline = time.monotonic() + limits.start_timeout

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    def send(self, job: Job) -> None:
        """Queue a job behind those that the worker has already."""
        if not self.jobs and self.ready:
            self.deadline = time.monotonic() + self.limits.wall_timeout
        self.jobs.append(job)
        self.outstanding += job.size
        self._unsent += filter(None, job.request)  # an empty one would never be written

    def answered(self) -> Job:
        """The job that the answer just read belongs to: answers come in the order of the requests."""
        job = self.jobs.popleft()
        self.outstanding -= job.size
        self.deadline = time.monotonic() + self.limits.wall_timeout
        return job

    @property
    def wants_to_write(self) -> bool:
        """Whether requests wait for room in the pipe."""
        return bool(self._unsent)

    def pump_in(self) -> None:
        """Write what the pipe takes. A pipe without a reader is left to `pump_out`, which sees the end."""
        try:
            while self._unsent:
                written = write_pieces(self.input, list(islice(self._unsent, _MOST_PIECES)))
                while written:
                    piece = self._unsent.popleft()
                    if written < len(piece):
                        self._unsent.appendleft(memoryview(piece)[written:])
                        break
                    written -= len(piece)
        except (BrokenPipeError, BlockingIOError):
            pass

    def pump_out(self) -> list[memoryview] | None:
        """Read what is there: payloads of whole frames, or None at the end. Raises WireError."""
        try:
            data = os.read(self.output, _READ_SIZE)
        except BlockingIOError:
            return []
        if not data:
            return None
        self._frames.largest = largest_answer(max((job.size for job in self.jobs), default=0))
        return self._frames.feed(data)

    @property
    def is_broken(self) -> bool:
        """Whether what it said last can't be an answer."""
        return self._frames.is_broken

    def pump_noise(self) -> bool:
        """Read standard error, so that it never fills up; keep some until the worker is ready. False at its end."""
        try:
            data = os.read(self.noise, 65536)
        except BlockingIOError:
            return True
        if self.ready is None:
            self._noise = (self._noise + data)[-_MOST_NOISE:]
        return bool(data)

    def greet(self, payload: Buffer) -> None:
        """Take the first frame. Raises WireError."""
        self.ready = parse_ready(payload)
        if self._rights.processes:
            restrict_processes(self.pid, self._rights.processes)
        self.deadline = time.monotonic() + self.limits.wall_timeout

    @property
    def has_ended(self) -> bool:
        """Whether the process itself is over, whoever holds its pipes."""
        return self._child.poll() is not None

    def kill(self) -> None:
        """End it now, and what it has forked: it leads a session of its own."""
        kill(self._child)

    def dismiss(self) -> None:
        """Tell it that nothing more comes; it ends when it has answered what it has."""
        if self._child.stdin and not self._child.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()

    def reap(self, patience: float = _PATIENCE) -> int:
        """Wait for the end, and force it after `patience` seconds; give everything back; how it ended."""
        self.dismiss()
        for _ in range(2):  # what the kernel itself can't end, as in the middle of a dead file system's answer, stays
            try:
                self._child.wait(patience)
                break
            except subprocess.TimeoutExpired:
                self.kill()
        if self._life >= 0:
            self.pump_noise()
            for stream in (self._child.stdout, self._child.stderr):
                if stream:
                    stream.close()
            os.close(self._life)
            self._life = -1
        return -signal.SIGKILL if self._child.returncode is None else self._child.returncode

    @property
    def busy_for(self) -> float:
        """Seconds since the request that is before it came to its turn."""
        return self.limits.wall_timeout - (self.deadline - time.monotonic())

    def ran_out_of_time(self, returncode: int) -> bool:
        """Whether the CPU limit of one file ended the worker.

        Where the program that we are part of ignores SIGCHLD, or reaps all children, nobody learns how one ended, and
        it is 0 for us: then it is judged by the clock on the wall.
        """
        is_over = 0 < self.limits.file_timeout <= self.busy_for
        return returncode == -signal.SIGPROF or (returncode == 0 and is_over)

    def failed_start(self, returncode: int) -> InterpreterError:
        """The error for a worker that ended, or was silent, before it was ready."""
        noise = printable(self._noise)
        reason = "what it says is no answer" if self.garbled else describe_death(returncode)
        reason = "it did not get ready in time" if self.overdue else reason
        account = self._rights.owner
        return InterpreterError(
            f"{self.interpreter.executable} can't run a worker"
            + ("" if account is None else f" as account {account}")
            + f": {reason}"
            + (f", it said: {noise}" if noise else ""),
            mend=self._hint() or "check that the interpreter and its standard library are whole and readable",
        )

    def unreadable_library(self) -> InterpreterError:
        """The error for a worker that may not read what compiling needs: no file is to blame for that."""
        account = self._rights.owner
        who = "an account without rights" if account is None else f"account {account}"
        if self.lease is None and account is None:
            who = f"account {os.geteuid()}"
        return InterpreterError(
            f"{self.interpreter.executable}: {who} can't read all of its standard library",
            mend=self._hint() or MEND_FOR_ACCOUNT,
        )

    def _hint(self) -> str | None:
        if self._rights.owner is not None:
            return MEND_FOR_ACCOUNT
        return MEND_FOR_EVERYBODY if self._rights.start else None
