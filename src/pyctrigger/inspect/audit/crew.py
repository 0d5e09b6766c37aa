"""Reads many archives at once, in processes that each read one at a time and may end over it; answers in order.

A reader gets open descriptors and no names, so it needs no rights; one that takes too long, or dies over an archive, is
replaced, and that archive has a failure for an answer. What lies behind a URL is opened by a process of its own, which
is replaced in the same way.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, Union

from ...interpreter.servant import NoAnswerError, Servant
from .archive_report import parse_answer
from .budget import ArchiveError, ArchiveLimits
from .fetcher import Fetcher
from .judgement import TargetFacts

#: Bytes. The longest list of findings that a reader gives, each character escaped.
LARGEST_ANSWER = 8 << 20
#: How a process is lost over an archive, which no reader says itself.
LOSSES = frozenset({"crash", "timeout"})
#: Answers that may wait for one before them in the order, for each reader.
_AHEAD = 64

#: What returns a descriptor of an archive, or raises OSError; or a URL, whose archive is fetched.
Opener = Union[Callable[[], int], str]


def failure(kind: str, message: str, hint: str = "") -> dict[str, Any]:
    """Returns the answer for an archive that couldn't be examined at all."""
    return {"format": None, "failure": {"kind": kind, "message": message, **({"mend": hint} if hint else {})}}


class _Reader(Servant):
    """One process that reads."""

    def __init__(self, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        super().__init__("inspect.audit.examination", (limits, target), "read archives")
        self._limits = limits

    def ask(self, descriptor: int) -> dict[str, Any]:
        """Have it read an archive, and close that here. Returns its answer.

        Raises TimeoutError, NoAnswerError where it ends or says anything else, and ShortageError where it can't start.
        """
        try:
            self.wait_until_ready()
            deadline = time.monotonic() + self._limits.timeout if self._limits.timeout else None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self.channel, [b"\0"], [descriptor])
        finally:
            os.close(descriptor)
        answer = parse_answer(self.receive_frame(LARGEST_ANSWER, deadline), self._limits)
        if select.select([self.channel], [], [], 0)[0]:
            raise NoAnswerError("it is more than was asked for")
        return answer


class Pair:
    """A reader, and what fetches for it; each is started once there is something to do."""

    def __init__(self, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        self._limits = limits
        self._target = target
        self._reader: _Reader | None = None
        self._fetcher: Fetcher | None = None
        self._is_over = False
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start the reader, if there is none. Raises ShortageError."""
        with self._starting:
            if self._reader is None and not self._is_over:
                self._reader = _Reader(self._limits, self._target)

    def read(self, archive: Opener) -> dict[str, Any]:
        """Have an archive read. A process that is lost over it is replaced later, and its end is the answer."""
        try:
            descriptor = self._fetch(archive) if isinstance(archive, str) else archive()
        except _LostError as lost:
            return lost.answer
        except ArchiveError as error:
            return failure(error.kind, error.message, error.hint)
        except OSError as error:
            return failure("io", error.strerror or str(error))
        try:
            return self._examine(descriptor)
        except _LostError as lost:
            self._lose_fetcher()  # it may wait for that reader, or be what made it wait
            return lost.answer

    def _fetch(self, url: str) -> int:
        with self._starting:
            if self._fetcher is None and not self._is_over:
                self._fetcher = Fetcher(self._limits)
        fetcher = self._fetcher
        if fetcher is None:
            raise _LostError("crash", "was left out")
        try:
            return fetcher.fetch(url)
        except (TimeoutError, NoAnswerError) as error:
            lost = self._lost(fetcher, "fetched", error)
        self._lose_fetcher()
        raise lost

    def _examine(self, descriptor: int) -> dict[str, Any]:
        self.start()
        reader = self._reader
        if reader is None:
            os.close(descriptor)
            raise _LostError("crash", "was left out")
        try:
            return reader.ask(descriptor)
        except (TimeoutError, NoAnswerError) as error:
            lost = self._lost(reader, "read", error)
        reader.end()
        self._reader = None
        raise lost

    def _lost(self, servant: Servant, did: str, error: Exception) -> _LostError:
        """Returns what to say of an archive whose process took too long, or ended."""
        if isinstance(error, TimeoutError):
            servant.kill()
            return _LostError("timeout", f"was not {did} within {self._limits.timeout:g} s")
        return _LostError("crash", f"ended the process that {did} it: {servant.end()}")

    def _lose_fetcher(self) -> None:
        if self._fetcher is not None:
            self._fetcher.kill()
            self._fetcher.end()
            self._fetcher = None

    def kill(self) -> None:
        """Kill both, and start none again; they still have to be ended."""
        with self._starting:
            self._is_over = True
        for each in (self._reader, self._fetcher):
            if each is not None:
                each.kill()

    def end(self) -> None:
        """End both."""
        for each in (self._reader, self._fetcher):
            if each is not None:
                each.end()


class _LostError(Exception):
    """A process was lost over an archive: the archive's answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.answer = failure(kind, message)


class Crew:
    """At most `size` readers, each with a thread that waits for its answers."""

    def __init__(self, size: int, limits: ArchiveLimits, target: TargetFacts | None) -> None:
        import zlib  # noqa: F401 - no reader can start without

        self._size = size
        self._make_pair = partial(Pair, limits, target)
        self._pairs: list[Pair] = []
        self._idle: SimpleQueue[Pair] = SimpleQueue()
        self._asked: deque[Future[dict[str, Any]]] = deque()
        self._threads = ThreadPoolExecutor(size)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, archives: Iterable[Opener]) -> Iterator[dict[str, Any]]:
        """Yields the answer for each archive, in their order. Raises ShortageError."""
        asked = self._asked
        for archive in archives:
            if len(self._pairs) < self._size:
                self._pairs.append(self._make_pair())
                self._pairs[-1].start()
                self._idle.put(self._pairs[-1])
            asked.append(self._threads.submit(self._ask, archive))
            while asked and (asked[0].done() or len(asked) > _AHEAD * self._size):
                yield asked.popleft().result()
        while asked:
            yield asked.popleft().result()

    def close(self) -> None:
        """End all processes, whatever they do."""
        for future in self._asked:
            future.cancel()
        for pair in self._pairs:
            pair.kill()
        self._threads.shutdown()
        for pair in self._pairs:
            pair.end()

    def _ask(self, archive: Opener) -> dict[str, Any]:
        pair = self._idle.get()
        try:
            return pair.read(archive)
        finally:
            self._idle.put(pair)
