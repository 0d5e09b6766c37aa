"""Finds out what headers and records leave open: a child of the target answers, and nothing is written.

A doubtful body is never loaded in this process, nor in a worker whose code will be run: unmarshalling it can corrupt
memory or crash the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property

from ...pyc.header import Verdict
from ...state.records.record import digest_of
from ...tree.layout import Layout
from ...tree.source import SourceRefused, read_pyc, read_source
from ...workers import wire
from ...workers.pool import Answer, Lost, Pool
from ...workers.worker import Job
from .knowledge import Knowledge
from .steps import DOUBTS, LevelState, Stale
from .wanted import Wanted


class UnprovenError(Exception):
    """A pyc couldn't be judged within the limits of time and memory."""

    def __init__(self, lost: Lost, *, known: bool) -> None:
        super().__init__(lost.message)
        self.lost = lost
        #: Whether the same content took too much before.
        self.known = known


class Prover:
    """Asks a worker, which starts with the first question. `pool_for` returns the one for an owner's trees.

    A worker that a source has taken over must not answer for another owner's files.
    """

    def __init__(self, pool_for: Callable[[int], Pool], wanted: Wanted, knowledge: Knowledge) -> None:
        self._pool_for = pool_for
        self._header_size = wanted.header.size
        self._knowledge = knowledge

    @cached_property
    def _exceeded(self) -> dict[bytes, Lost]:
        """The answer to what exceeded a limit, in this run or an earlier one, by the digest of what was compiled."""
        return self._knowledge.find_exceeding()[0]

    def prove(self, layout: Layout, relative: str, stale: Stale) -> list[LevelState]:
        """Returns the levels of a source with a verdict instead of each doubt, without those that turn out to be fresh.

        Raises UnprovenError.
        """
        states = []
        by_hash = [state for state in stale.levels if state.source_hash is not None and state.verdict in DOUBTS]
        changed = self._changed_levels(layout, relative, stale, by_hash) if by_hash else frozenset()
        for state in stale.levels:
            if state in by_hash and state.level in changed:
                states.append(state._replace(verdict=Verdict.OTHER_HASH))
            elif state.verdict in (Verdict.UNKNOWN, Verdict.SUSPECT):
                verdict = self._body(layout, relative, stale, state)
                states += [] if verdict is Verdict.FRESH else [state._replace(verdict=verdict)]
            elif state.verdict is not Verdict.UNPROVEN:
                states.append(state)
        return states

    def _changed_levels(self, layout: Layout, relative: str, stale: Stale, asked: list[LevelState]) -> frozenset[int]:
        """Returns the levels whose pyc has another hash than the source; all of them if that can't be found out."""
        everything = frozenset(state.level for state in asked)
        try:
            text = read_source(layout.sources, relative, stale.name)
        except (OSError, SourceRefused):
            return everything
        levels = [wire.LevelRequest(state.level, state.source_hash) for state in asked]
        path = os.fsencode(layout.describe_source(relative, stale.name))
        answer = self._ask(layout, wire.request(levels, path, text.data))
        if not isinstance(answer, wire.Compiled):
            return everything
        return frozenset(state.level for state, level in zip(asked, answer.levels) if level.state != wire.SAME)

    def _body(self, layout: Layout, relative: str, stale: Stale, state: LevelState) -> Verdict:
        """Returns the verdict on a body that has no record, or isn't the recorded one."""
        compare = state.verdict is Verdict.SUSPECT
        try:
            source = read_source(layout.sources, relative, stale.name).data if compare else b""
            pyc, _ = read_pyc(layout.pycs, layout.pycache(relative), stale.pyc(state), stale.size)
        except (OSError, SourceRefused):
            return Verdict.CORRUPT  # what can't be read can't be imported
        path = os.fsencode(layout.describe_source(relative, stale.name))
        body = memoryview(pyc)[self._header_size :]
        digest = digest_of(source if compare else body)
        if compare and (lost := self._exceeded.get(digest)):
            raise UnprovenError(lost, known=True)
        question = wire.question([state.level], path, source, [body], compare=compare)
        answer = self._ask(layout, question, digest, compiles=compare)
        if isinstance(answer, wire.Compiled) and len(answer.levels) == 1:
            verdicts = {wire.SAME: Verdict.FRESH, wire.CHANGED: Verdict.MISMATCHED}
            return verdicts.get(answer.levels[0].state, Verdict.CORRUPT)
        if isinstance(answer, wire.Failed):
            return Verdict.MISMATCHED  # a source that doesn't compile has no code at all
        return Verdict.CORRUPT  # it crashed the process that loaded it

    def _ask(self, layout: Layout, request: wire.Frame, digest: bytes = b"", *, compiles: bool = False) -> Answer:
        """Ask about a source or a body with this digest. Raises UnprovenError if the answer says nothing about it."""
        answer = self._pool_for(layout.sources.owner).ask(Job(request, None))
        # A limit that is exceeded by compiling is the source's fault; a loss without one is others', or the moment's.
        if isinstance(answer, Lost) and (compiles if answer.limit else answer.kind != "crash"):
            if compiles and answer.is_tried:
                self._exceeded[digest] = answer
            raise UnprovenError(answer, known=False)
        return answer
