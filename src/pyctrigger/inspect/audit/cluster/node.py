"""What a node does with a batch of URLs: examine each archive as a single machine does, and say what it found.

A node's process runs what it is sent, so it must not be root's. What is read runs in processes of its own, and costs
one of those. Should an archive end the node itself, Dask gives the batch to another one; that one notes before each
archive which it is, so that a third one leaves out what ended two.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from ....version import VERSION
from ..budget import ArchiveLimits
from ..collection import open_url
from ..crew import Pair, failure
from ..judgement import TargetFacts

#: What a batch comes back as: its answers, or why this node has none.
ANSWERED, ROOT, UNFIT = "answered", "root", "unfit"
#: Bytes of answers. A batch that has more comes back in part, and the rest is dealt again.
_LARGEST_BATCH = 32 << 20
#: Seconds for which processes that have nothing to do wait for the next batch.
_IDLE = 20.0
#: Where the scheduler keeps notes of batches that were begun.
NOTES = "pyctrigger"

_Settings = tuple[Any, ...]
#: What waits for the next batch, with the settings that it was made for, and since when.
_idle: list[tuple[_Settings, Pair, float]] = []
_idle_changes = threading.Lock()


def examine_batch(
    version: str, batch: tuple[str, int], urls: list[str], limited: list[Any], compared: list[Any] | None
) -> tuple[str, list[bytes]]:
    """Returns what came of it, and in JSON each answer, or what the reason is."""
    import distributed

    worker = distributed.get_worker()
    if 0 in (os.getuid(), os.geteuid()):
        return ROOT, [str(worker.address).encode()]
    if version != VERSION:
        return UNFIT, [f"{worker.address} has pyctrigger {VERSION}".encode()]
    attempt = _Attempt(worker, batch)
    answers: list[bytes] = []
    settings = (*limited, *(compared or ()))
    pair = _take(settings, limited, compared)
    try:
        for number, url in enumerate(urls):
            answer = attempt.answer_for(number)
            if answer is None:
                opened = open_url(url)
                answer = pair.read(opened)
                answer.pop("bytecode", None)  # worked out from the magic numbers, by whoever believes them
            answers.append(json.dumps(answer).encode("ascii"))
            if sum(map(len, answers)) > _LARGEST_BATCH:
                break
    except BaseException:
        pair.kill()
        pair.end()
        raise
    _give_back(settings, pair)
    return ANSWERED, answers


class _Attempt:
    """One node's try of a batch, with what the scheduler has noted of those before."""

    def __init__(self, worker: Any, batch: tuple[str, int]) -> None:
        self._worker = worker
        self._key = [NOTES, *batch]
        noted = self._call(worker.scheduler.get_metadata, default=None)
        #: Those that nodes ended over, by their numbers in the batch.
        self._deadly: list[int] = list(noted["deadly"]) if noted else []
        if noted and noted["at"] is not None:
            self._deadly.append(noted["at"])
        self._is_careful = noted is not None
        self._note(None)

    def answer_for(self, number: int) -> dict[str, Any] | None:
        """Returns the answer for an archive that isn't tried again; else notes that it is tried now, if need be."""
        if number in self._deadly:
            return failure("crash", "ended the nodes that examined it")
        if self._is_careful:
            self._note(number)
        return None

    def _note(self, number: int | None) -> None:
        self._call(self._worker.scheduler.set_metadata, value={"deadly": self._deadly, "at": number})

    def _call(self, act: Callable[..., Any], **arguments: Any) -> Any:
        from distributed.utils import sync

        return sync(self._worker.loop, act, keys=self._key, **arguments)


def _take(settings: _Settings, limited: list[Any], compared: list[Any] | None) -> Pair:
    """Returns processes that nobody uses, or new ones."""
    with _idle_changes:
        for at, (made_for, pair, _) in enumerate(_idle):
            if made_for == settings:
                del _idle[at]
                return pair
    return Pair(ArchiveLimits(*limited), None if compared is None else TargetFacts(*compared))


def _give_back(settings: _Settings, pair: Pair) -> None:
    """Keep processes for the next batch, for a while."""
    with _idle_changes:
        _idle.append((settings, pair, time.monotonic()))
    timer = threading.Timer(_IDLE + 0.1, _end_idle)
    timer.daemon = True
    timer.start()


def _end_idle() -> None:
    until = time.monotonic() - _IDLE
    with _idle_changes:
        over = [each for each in _idle if each[2] <= until]
        _idle[:] = [each for each in _idle if each[2] > until]
    for _, pair, _ in over:
        pair.kill()
        pair.end()
