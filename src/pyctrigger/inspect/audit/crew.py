"""Reading many archives at once: processes that each read one at a time, their time, their end; answers in order.

A reader is this Python, started afresh and isolated. It gets open descriptors and no names, so it needs no rights; one
that takes too long, or dies over an archive, is replaced, and that archive has a failure for an answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ...errors import ShortageError
from ...interpreter.child import describe_death, kill, start_own
from ...interpreter.worker_accounts import lease
from .answer import NoAnswerError, parse_answer
from .judgement import TargetFacts
from .limits import ArchiveLimits

_READY = b"pyctrigger-reader-1\n"
#: Seconds until a reader has imported what it needs.
_START_TIMEOUT = 60.0
#: Bytes. The longest list of findings that a reader gives, each character escaped.
_LARGEST_ANSWER = 8 << 20
#: Bytes of its standard error that are kept for a message: it has nothing to say, unless it can't start.
_MOST_NOISE = 4096
#: Answers that may wait for one before them in the order, for each reader.
_AHEAD = 64


def failure(kind: str, message: str) -> dict[str, Any]:
    """The answer for an archive that couldn't be examined at all."""
    return {"format": None, "failure": {"kind": kind, "message": message}}


class _ReaderProcess:
    """One process."""

    def __init__(self, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        self.number: int | None = None
        self.is_ready = False
        self._limits = limits
        self._heard = bytearray()
        life, self._life = os.pipe()
        ours, theirs = socket.socketpair()
        #: Its account, which it takes itself: this Python may lie where only root can reach it.
        self._lease = lease(None)
        uid = -1 if self._lease is None else self._lease.account.uid
        try:
            self._child = start_own(
                "pyctrigger.inspect.audit.reader",
                (theirs.fileno(), life, uid, limits, target and (target.magic_number.hex(), *target[1:])),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), life),
            )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            os.close(self._life)
            self._give_back()
            reason = getattr(error, "strerror", None) or str(error)
            raise ShortageError(
                f"no process to read archives can be started: {reason}",
            ) from error
        finally:
            theirs.close()
            os.close(life)
        self._channel = ours
        self.descriptor = ours.fileno()
        self.deadline = time.monotonic() + _START_TIMEOUT

    def give(self, number: int, descriptor: int) -> None:
        """Give it the next archive, and close that here."""
        self.number = number
        self.deadline = time.monotonic() + self._limits.timeout if self._limits.timeout else float("inf")
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._channel, [b"\0"], [descriptor])
        finally:
            os.close(descriptor)

    def heard(self) -> tuple[bool, dict[str, Any] | None]:
        """Whether it still lives, and its answer where that is complete."""
        try:
            piece = self._channel.recv(1 << 18)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return False, None
        self._heard += piece
        if not self.is_ready:
            if not self._heard.startswith(_READY):
                return len(self._heard) < len(_READY), None
            del self._heard[: len(_READY)]
            self.is_ready = True
            self.deadline = float("inf")
        length = int.from_bytes(self._heard[:4], "little")
        if length > _LARGEST_ANSWER:
            return False, None
        if self._heard and self.number is None:
            return False, None  # nobody has asked
        if len(self._heard) < 4 + length or length == 0:
            return True, None
        try:
            if len(self._heard) != 4 + length:
                return False, None  # more than was asked for
            answer = parse_answer(bytes(self._heard[4:]), self._limits)
        except NoAnswerError:
            return False, None
        self._heard.clear()
        self.number = None
        self.deadline = float("inf")
        return True, answer

    def end(self) -> str:
        """Have it ended, whatever it does; how it had ended by itself."""
        self._channel.close()
        try:
            self._child.wait(0.5)
        except subprocess.TimeoutExpired:
            kill(self._child)
        died = self._child.wait()
        os.close(self._life)
        self._give_back()
        assert self._child.stderr is not None
        os.set_blocking(self._child.stderr.fileno(), False)
        with self._child.stderr as stream:
            return describe_death(died, stream.read(_MOST_NOISE) or b"")

    def _give_back(self) -> None:
        if self._lease is not None:
            self._lease.end()

    def kill(self) -> None:
        """End it now."""
        kill(self._child)
        self.end()


class Crew:
    """So many readers at most."""

    def __init__(self, size: int, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        import zlib  # noqa: F401 - no reader can start without

        self._size = size
        self._limits = limits
        self._target = target
        self._readers: list[_ReaderProcess] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._next = 0

    def read(self, archives: Iterable[Callable[[], int]]) -> Iterator[dict[str, Any]]:
        """The answer for each archive, in their order; each gives a descriptor of itself, or raises OSError.

        Raises ShortageError.
        """
        waiting = enumerate(archives)
        following = next(waiting, None)
        try:
            while following is not None or self._busy or self._answers:
                while self._next in self._answers:
                    yield self._answers.pop(self._next)
                    self._next += 1
                while following is not None and len(self._answers) < _AHEAD * self._size and self._give(*following):
                    following = next(waiting, None)
                if self._busy or (following is not None and self._next not in self._answers):
                    self._listen()
        finally:
            for reader in self._readers:
                reader.kill()
            self._readers = []

    @property
    def _busy(self) -> bool:
        return any(reader.number is not None for reader in self._readers)

    def _give(self, number: int, opened: Callable[[], int]) -> bool:
        """Whether somebody took it, or nobody has to."""
        free = next((reader for reader in self._readers if reader.is_ready and reader.number is None), None)
        if free is None:
            if len(self._readers) < self._size and all(reader.is_ready for reader in self._readers):
                self._readers.append(_ReaderProcess(self._limits, self._target))
            return False
        try:
            free.give(number, opened())
        except OSError as error:
            free.number = None
            self._answers[number] = failure("io", error.strerror or str(error))
        return True

    def _listen(self) -> None:
        """Wait until somebody says something, or is late."""
        poller = select.poll()
        readers = {reader.descriptor: reader for reader in self._readers}
        for descriptor in readers:
            poller.register(descriptor, select.POLLIN)
        left = min(reader.deadline for reader in self._readers) - time.monotonic()
        ready = poller.poll(max(0.0, min(left, 3600.0)) * 1000)
        for descriptor, _ in ready:
            self._hear(readers[descriptor])
        now = time.monotonic()
        for reader in [each for each in self._readers if each.deadline <= now]:
            self._lose(reader, "timeout", f"was not read within {self._limits.timeout:g} s")

    def _hear(self, reader: _ReaderProcess) -> None:
        number = reader.number
        alive, answer = reader.heard()
        if answer is not None and alive and number is not None:
            self._answers[number] = answer
        elif not alive:
            self._lose(reader, "crash", "")

    def _lose(self, reader: _ReaderProcess, kind: str, message: str) -> None:
        """Without this one: what it was reading has its answer, and a start that failed ends the work."""
        self._readers.remove(reader)
        number, was_ready = reader.number, reader.is_ready
        if kind == "timeout":
            reader.kill()
        else:
            message = f"ended the process that read it: {reader.end()}"
        if not was_ready:
            reason = "it was not ready in time" if kind == "timeout" else message.partition(": ")[2]
            raise ShortageError(
                f"the process to read archives did not start: {reason}",
            )
        if number is not None:
            self._answers[number] = failure(kind, message)
