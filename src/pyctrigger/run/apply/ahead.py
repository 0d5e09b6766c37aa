"""A store of another machine, asked for many sources at a time, before it is their turn.

While the answers for some are on their way, the pycs of those before them are written: so what a network takes isn't
added up over all sources.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from ...interpreter.interpreter import Interpreter
from ...store.exchange import Exchange
from ...store.key import CodeKeys, keys_of
from ...store.remote.asking import RemoteBackend, RemoteStore
from ..plan.wanted import Wanted
from .stores import StoreClient
from .writing import SourceRead, SourceTurn, StoredAnswer, Task

#: Sources, and bytes of them, that are asked for at a time; and how often that is done before the first answer is used.
_MOST_SOURCES, _MOST_BYTES, _MOST_BATCHES = 64, 1 << 20, 3


class Asked(NamedTuple):
    """Sources that were asked for together."""

    sources: list[SourceRead]
    keys: list[bytes]


class RemoteClient(StoreClient):
    """A store of another machine, for one interpreter; not for several processes."""

    def __init__(self, remote: RemoteStore, keys: CodeKeys, wanted: Wanted, magic_number: bytes) -> None:
        self._remote = RemoteBackend(remote)
        super().__init__(self._remote, Exchange(self._remote, keys), wanted, magic_number)
        self._batches: deque[Asked] = deque()
        #: What the store doesn't have, by its path, until it is taken.
        self._left: dict[str, SourceRead] = {}
        self._is_turn = False

    @property
    def holds_some(self) -> bool:
        """Whether sources wait for its answer."""
        return bool(self._batches)

    def take(self, path: str) -> SourceRead | None:
        """Returns a source that was read, and isn't here, once."""
        return self._left.pop(path, None) if self._left else None

    def find(self, source: SourceRead) -> StoredAnswer | None:
        """Returns the code of a source, as a worker would answer it, or None if not all of it is there."""
        # It got its turn once: what is here doesn't change by what this run does.
        found = super().find(source) if self._is_turn else None
        if found is not None:
            self._remote.count_saved(sum(level.microseconds for level in found.code.levels) / 1e6)
        return found

    def missing(self, tasks: Iterator[Task | None], turn: SourceTurn) -> Iterator[Task | None]:
        """Yields the tasks that the store has no code for, and None where nothing more is known yet."""
        is_over = self._trusts_nothing
        while self._batches or not (is_over or self._remote.is_lost):
            has_paused = False
            while not (is_over or has_paused) and len(self._batches) < _MOST_BATCHES:
                sources, has_paused, is_over = _next_sources(tasks, turn)
                if sources:
                    self._batches.append(Asked(sources, self._ask(sources)))
            for _ in range(len(self._batches) if has_paused else min(1, len(self._batches))):
                sources, keys = self._batches[0]
                for source in sources:
                    self._is_turn = True
                    is_used = turn.use(source)
                    self._is_turn = False
                    if not is_used:
                        self._left[source.path] = source
                        yield source.place, source.stale
                self._remote.forget(keys)
                self._batches.popleft()
            if has_paused and turn.is_busy():
                yield None
        yield from tasks

    def _ask(self, sources: list[SourceRead]) -> list[bytes]:
        """Ask for sources. Returns the keys, which are to be forgotten."""
        wants = [
            (key, self._largest(source))
            for source in sources
            if self._is_asked_for(source)
            for key in self._keys_of(source)
        ]
        self._remote.ask(wants)
        return [key for key, _ in wants]


def _next_sources(tasks: Iterator[Task | None], turn: SourceTurn) -> tuple[list[SourceRead], bool, bool]:
    """Returns some sources, whether the tasks have paused, and whether there are no more."""
    sources: list[SourceRead] = []
    size = 0
    for task in tasks:
        if task is None:
            return sources, True, False
        source = turn.read(*task)
        if source is None:
            continue
        sources.append(source)
        size += len(source.text.data)
        if len(sources) >= _MOST_SOURCES or size >= _MOST_BYTES:
            return sources, False, False
    return sources, False, True


def open_remote(remote: RemoteStore, interpreter: Interpreter, wanted: Wanted) -> RemoteClient | None:
    """Returns the store of another machine, if this interpreter's code may be kept. What it says is said elsewhere."""
    keys = keys_of(interpreter)
    return None if keys is None else RemoteClient(remote, keys, wanted, interpreter.magic_number)
