"""Reads many archives at once, in processes that each read one at a time and may end over it; answers in order.

A reader is this Python, started afresh and isolated. It gets open descriptors and no names, so it needs no rights; one
that takes too long, or dies over an archive, is replaced, and that archive has a failure for an answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from ...errors import ShortageError
from ...interpreter.child import describe_death, kill, start_own
from ...interpreter.worker_accounts import lease
from .archive_report import NoAnswerError, parse_answer
from .budget import READY, ArchiveLimits
from .judgement import TargetFacts

#: Seconds until a reader has imported what it needs.
_START_TIMEOUT = 60.0
#: Bytes. The longest list of findings that a reader gives, each character escaped.
_LARGEST_ANSWER = 8 << 20
_PIECE = 1 << 18
#: Bytes of its standard error that are kept for a message: it has nothing to say, unless it can't start.
_MOST_STDERR = 4096
#: Answers that may wait for one before them in the order, for each reader.
_AHEAD = 64


def failure(kind: str, message: str) -> dict[str, Any]:
    """Returns the answer for an archive that couldn't be examined at all."""
    return {"format": None, "failure": {"kind": kind, "message": message}}


class _Reader:
    """One process that reads."""

    def __init__(self, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        self._limits = limits
        self._is_ready = False
        self._ending = ""
        life, self._life = os.pipe()
        self._channel, theirs = socket.socketpair()
        #: Its account, which it takes itself: this Python may lie where only root can reach it.
        self._lease = lease(None)
        uid = -1 if self._lease is None else self._lease.account.uid
        try:
            self._child = start_own(
                "pyctrigger.inspect.audit.examination",
                (theirs.fileno(), life, uid, limits, target),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), life),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._close()
            reason = getattr(error, "strerror", None) or str(error)
            raise ShortageError(f"no process to read archives can be started: {reason}") from error
        finally:
            theirs.close()
            os.close(life)

    def ask(self, descriptor: int) -> dict[str, Any]:
        """Have it read an archive, and close that here. Returns its answer.

        Raises TimeoutError, NoAnswerError where it ends or says anything else, and ShortageError where it can't start.
        """
        try:
            self._wait_until_ready()
            deadline = time.monotonic() + self._limits.timeout if self._limits.timeout else None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._channel, [b"\0"], [descriptor])
        finally:
            os.close(descriptor)
        length = int.from_bytes(self._receive(4, deadline), "little")
        if not 0 < length <= _LARGEST_ANSWER:
            raise NoAnswerError("it is none")
        answer = parse_answer(self._receive(length, deadline), self._limits)
        if select.select([self._channel], [], [], 0)[0]:
            raise NoAnswerError("it is more than was asked for")
        return answer

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        try:
            self._is_ready = self._receive(len(READY), time.monotonic() + _START_TIMEOUT) == READY
            reason = ""
        except TimeoutError:
            reason = "it was not ready in time"
        except NoAnswerError:
            pass
        if not self._is_ready:
            raise ShortageError(f"the process to read archives did not start: {reason or self.end()}")

    def _receive(self, size: int, deadline: float | None) -> bytes:
        received = bytearray()
        while len(received) < size:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            try:
                piece = self._channel.recv(min(size - len(received), _PIECE))
            except socket.timeout as error:
                raise TimeoutError from error
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise NoAnswerError("it has ended")
            received += piece
        return bytes(received)

    def kill(self) -> None:
        """Kill it; it still has to be ended."""
        kill(self._child)

    def end(self) -> str:
        """End it, whatever it does. Returns how it had ended by itself."""
        if not self._ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.5)
            kill(self._child)
            died = self._child.wait()
            self._close()
            assert self._child.stderr is not None
            os.set_blocking(self._child.stderr.fileno(), False)
            with self._child.stderr as stream:
                self._ending = describe_death(died, stream.read(_MOST_STDERR) or b"")
        return self._ending

    def _close(self) -> None:
        self._channel.close()
        os.close(self._life)
        if self._lease is not None:
            self._lease.end()


class Crew:
    """At most `size` readers, each with a thread that waits for its answers."""

    def __init__(self, size: int, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        import zlib  # noqa: F401 - no reader can start without

        self._size = size
        self._start = partial(_Reader, limits, target)
        self._limits = limits
        self._readers: list[_Reader] = []
        self._idle: SimpleQueue[_Reader] = SimpleQueue()
        self._is_over = False
        #: Archives are opened one at a time: they share the directories above them.
        self._opening = threading.Lock()

    def read(self, archives: Iterable[Callable[[], int]]) -> Iterator[dict[str, Any]]:
        """Yields the answer for each archive, in their order; each returns a descriptor of itself, or raises OSError.

        Raises ShortageError.
        """
        asked: deque[Future[dict[str, Any]]] = deque()
        threads = ThreadPoolExecutor(self._size)
        try:
            for opened in archives:
                if len(self._readers) < self._size:
                    self._readers.append(self._start())
                    self._idle.put(self._readers[-1])
                asked.append(threads.submit(self._ask, opened))
                while asked and (asked[0].done() or len(asked) > _AHEAD * self._size):
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:
            self._is_over = True
            for future in asked:
                future.cancel()
            for reader in self._readers:
                reader.kill()
            threads.shutdown()
            for reader in self._readers:
                reader.end()

    def _ask(self, opened: Callable[[], int]) -> dict[str, Any]:
        """Have an archive read. A reader that was lost over it is replaced, and its end is the answer."""
        reader = self._idle.get()
        try:
            with self._opening:
                descriptor = opened()
            answer = reader.ask(descriptor)
        except TimeoutError:
            reader.kill()
            answer = failure("timeout", f"was not read within {self._limits.timeout:g} s")
            reader = self._replace(reader)
        except NoAnswerError:
            answer = failure("crash", f"ended the process that read it: {reader.end()}")
            reader = self._replace(reader)
        except OSError as error:
            answer = failure("io", error.strerror or str(error))
        self._idle.put(reader)
        return answer

    def _replace(self, reader: _Reader) -> _Reader:
        reader.end()
        if not self._is_over:
            self._readers[self._readers.index(reader)] = reader = self._start()
        return reader
