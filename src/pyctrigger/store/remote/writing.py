"""Writing to a store of another machine, which only `store push` does: through the same confined process as reading."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from ...errors import ShortageError, UnexaminedError
from . import frames
from .asking import RemoteSettings, RemoteStore
from .frames import KEPT, MISS, MOST_WANTS, TROUBLE, Answer, NoFrameError
from .trouble import REASONS, Told, Trouble

#: Seconds that a store may take for one request.
_PATIENCE = 120.0
_PIECE = 1 << 16


class RemoteWriter:
    """A store of another machine, to be written. Use it as a context manager.

    Raises PyctriggerError, without any secret of a URL in its text.
    """

    def __init__(self, settings: RemoteSettings) -> None:
        self._remote = RemoteStore(settings, reads=False)
        self.name = self._remote.name
        channel = self._remote.connect()
        if channel is None:
            words = self._remote.problem or Told(Trouble.LOST).words
            self._remote.close()
            raise ShortageError(f"store {self.name} can't be written: {words}")
        channel.settimeout(_PATIENCE)
        self._channel = channel

    def __enter__(self) -> RemoteWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        self._remote.close()

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        """Returns for each key whether something is there."""
        found: list[bool] = []
        for begin in range(0, len(keys), MOST_WANTS):
            some = keys[begin : begin + MOST_WANTS]
            found += [answer.state == KEPT for answer in self._ask(frames.has_request(some), len(some))]
        return found

    def put(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep sealed containers, each by its key."""
        for _ in self._ask(frames.put_request(pairs), len(pairs)):
            pass

    def _ask(self, request: bytes, count: int) -> Iterator[Answer]:
        """Yields the answers to a request, none of which is a refusal: those are told after all have come."""
        refusals: Counter[str] = Counter()
        received = bytearray()
        try:
            self._channel.sendall(request)
            for _ in range(count):
                while (answer := frames.take_answer(received, 0, 0)) is None:
                    piece = self._channel.recv(_PIECE)
                    if not piece:
                        raise NoFrameError
                    received += piece
                if answer.state == TROUBLE:
                    raise self._error(frames.told(answer).words)
                if answer.state == MISS:
                    refusals[REASONS[answer.detail]] += 1
                yield answer
        except socket.timeout:
            raise self._error(Told(Trouble.TIMED_OUT).words) from None
        except (OSError, NoFrameError):
            raise self._error(Told(Trouble.LOST).words) from None
        if refusals:
            raise self._error(", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items())))

    def _error(self, words: str) -> UnexaminedError:
        return UnexaminedError(
            f"store {self.name}: {words}", hint="see what the server says, and retry: what was sent stays"
        )
