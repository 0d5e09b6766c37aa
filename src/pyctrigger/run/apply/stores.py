"""A run's dealings with the store that is configured: which sources may be asked for, and whose code is kept.

A source that not everybody may read isn't asked for, nor kept, in a store that others may enter. Code is kept only of
trees of our own: the worker of another account's tree may be in the hands of that account, and that of a staged root in
those of whoever made it. What a repair writes was compiled by itself.

What is kept of such a source in a store of our own is never passed on to another one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from ...interpreter.interpreter import Interpreter
from ...pyc.header import InvalidationMode, Verdict
from ...pyc.source_hash import source_hash
from ...store.exchange import Backend, Exchange
from ...store.key import keys_of
from ...store.opening import open_backend
from ...tree.source import largest_pyc
from ...tree.ways import PublicWays
from ...workers import wire
from ...workers.pool import MAX_JOBS
from ..plan.wanted import Wanted
from ..scope.config import Settings
from .writing import SourceRead, SourceTurn, StoredAnswer, Task

#: Sources that wait for a worker, while other runs compile the same ones, and until some do.
_AMONG_OTHERS, _ALONE = 8, 64


class OpenBackend(Backend, Protocol):
    """Where code is kept, as long as a run needs it."""

    @property
    def is_private(self) -> bool:
        """Whether only its owner can enter it."""

    @property
    def has_company(self) -> bool:
        """Whether other runs may be filling it now."""

    def take_notices(self) -> list[str]:
        """Returns why nothing more is kept, if that is to be said."""

    def close(self) -> None:
        """Publish what was kept. Raises nothing."""


class StoreClient:
    """An open store, for one interpreter. Closing it publishes what was kept; not for several processes."""

    def __init__(
        self,
        backend: OpenBackend,
        exchange: Exchange,
        wanted: Wanted,
        magic_number: bytes,
    ) -> None:
        self._backend = backend
        self._exchange = exchange
        self._wanted = wanted
        self._magic_number = magic_number
        self._told: set[str] = set()
        self._ways = PublicWays()

    # A store of another machine is asked for many sources at a time (`ahead.py`).

    @property
    def holds_some(self) -> bool:
        """Whether sources wait for its answer."""
        return False

    def missing(self, tasks: Iterator[Task | None], _turn: SourceTurn) -> Iterator[Task | None]:
        """Yields the tasks that are still to be looked for here."""
        return tasks

    def take(self, _path: str) -> SourceRead | None:
        """Returns a source that was read, and isn't here, once."""
        return None

    @property
    def max_jobs(self) -> int:
        """How many sources may wait for a worker: they aren't looked for again."""
        if not self._backend.is_writable:
            return MAX_JOBS
        return _AMONG_OTHERS if self._backend.has_company else _ALONE

    def find(self, source: SourceRead) -> StoredAnswer | None:
        """Returns the code of a source, as a worker would answer it, or None if not all of it is there."""
        if not self._is_asked_for(source):
            return None
        data, path = source.text.data, os.fsencode(source.path)
        taken = self._exchange.find(source.whole_digest, _levels_of(source), path, self._largest(source))
        if taken is None:
            return None
        answer = taken.answer
        if self._wanted.mode is not InvalidationMode.TIMESTAMP:
            answer = answer._replace(source_hash=source_hash(self._magic_number, data))
        return StoredAnswer(answer, self._backend.name, taken.signers)

    def name_for(self, source: SourceRead) -> bytes:
        """Returns the file name to compile a source with."""
        path = os.fsencode(source.path)
        return self._exchange.name_for(path) if self._may_keep(source) else path

    def keep(self, source: SourceRead, answer: wire.Compiled) -> wire.Compiled | None:
        """Keep what a worker has answered for another name. Returns the answer for its own; None: ask with that."""
        path, levels, is_public = os.fsencode(source.path), _levels_of(source), self._is_public(source)
        return self._exchange.keep(source.whole_digest, levels, path, answer, is_public=is_public)

    def take_notices(self) -> list[str]:
        """Returns what is to be said of it, once."""
        notices = [each for each in self._backend.take_notices() if each not in self._told]
        self._told.update(notices)
        return notices

    def close(self) -> None:
        """Publish what was kept. Raises nothing."""
        self._backend.close()

    def _is_asked_for(self, source: SourceRead) -> bool:
        # A worker compares hashes.
        is_unproven = any(state.verdict is Verdict.UNPROVEN for state in source.stale.levels)
        return not (self._trusts_nothing or is_unproven) and self._may_pass(source)

    @property
    def _trusts_nothing(self) -> bool:
        return self._wanted.trust_nothing

    def _keys_of(self, source: SourceRead) -> list[bytes]:
        return self._exchange.keys_to_ask(source.whole_digest, _levels_of(source))

    def _largest(self, source: SourceRead) -> int:
        return largest_pyc(len(source.text.data)) - self._wanted.header.size

    def _may_keep(self, source: SourceRead) -> bool:
        is_ours = _is_own(source) and not source.place.layout.sources.is_confined
        return is_ours and self._backend.is_writable and self._may_pass(source)

    def _may_pass(self, source: SourceRead) -> bool:
        """Whether a store may have what is in this source, or learn that it is here."""
        return (self._backend.is_private and _is_own(source)) or self._is_public(source)

    def _is_public(self, source: SourceRead) -> bool:
        """Whether everybody may read this source."""
        status, acl, directory = source.text.rights
        return self._ways.lead_all_to(source.place.layout.sources, directory, status, acl)


def _is_own(source: SourceRead) -> bool:
    return source.place.layout.sources.owner == os.geteuid()


def _levels_of(source: SourceRead) -> list[int]:
    return [state.level for state in source.stale.levels]


def open_store(
    settings: Settings, interpreter: Interpreter, wanted: Wanted, run: str
) -> tuple[StoreClient | None, str | None]:
    """Open the store that is configured, if there is one, and this interpreter's code may be kept.

    `run` is what all lanes of this one have in common. Returns the store, and why it can't be used.
    """
    keys = keys_of(interpreter) if settings.store_url else None
    if keys is None:
        return None, None
    writes, max_size = settings.store_write, settings.store_max_size
    backend, trouble = open_backend(settings.store_url, writes=writes, max_size=max_size, run=run)
    if backend is None:
        return None, trouble
    return StoreClient(backend, Exchange(backend, keys), wanted, interpreter.magic_number), None
