"""Proving by looking only what headers and records leave open: a child of the target answers, nothing is written.

A doubtful body is never loaded in this process, and never in a worker whose code anybody will run: unmarshalling one
can corrupt memory, and it can end the interpreter.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ...interpreter.interpreter import Interpreter
from ...pyc.header import Verdict
from ...state.records.record import digest_of
from ...tree.layout import Layout
from ...tree.source import SourceRefused, read_pyc, read_source
from ...workers.pool import Answer, Lost, Pool
from ...workers.wire import Frame
from .steps import LevelState, Stale


class UnprovenError(Exception):
    """What a pyc is couldn't be found out in the time, or with the memory, that there is."""

    def __init__(self, lost: Lost, *, known: bool) -> None:
        super().__init__(lost.message)
        self.lost = lost
        #: Whether the same content took too much before.
        self.known = known


class Prover:
    """Asks a worker, which starts with the first question. Use it as a context manager.

    `known` says which sources took more than a limit in an earlier run, by digest; they aren't compiled again.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        open_pool: Callable[[Interpreter], Pool],
        header_size: int,
        known: Callable[[], dict[bytes, Lost]] = dict,
    ) -> None:
        self._interpreter = interpreter
        self._open_pool = open_pool
        self._pool: Pool | None = None
        #: Whose bytecode it is asked of.
        self._owner = -1
        self._header_size = header_size
        self._known = known
        #: The answer to what took too long, by the digest of what was loaded or compiled.
        self._exceeded: dict[bytes, Lost] | None = None

    def __enter__(self) -> Prover:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.__exit__()
            self._pool = None

    def prove(self, layout: Layout, relative: str, stale: Stale) -> list[LevelState]:
        """The levels of a source with a verdict in the place of each doubt; what turns out to be fresh is left out.

        Raises UnprovenError.
        """
        states = []
        by_hash = [state for state in stale.levels if _needs_hash(state)]
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
        """The levels whose pyc carries another hash than their source has; all of them where it can't be told."""
        from ...workers import wire  # an idle run has nothing to ask

        everything = frozenset(state.level for state in asked)
        try:
            text = read_source(layout.sources, relative, stale.name)
        except (OSError, SourceRefused):
            return everything
        levels = [wire.LevelRequest(state.level, state.source_hash) for state in asked]
        path = os.fsencode(layout.describe_source(relative, stale.name))
        answer = self._ask(layout, wire.request(levels, path, text.data, check_only=True))
        if not isinstance(answer, wire.Compiled):
            return everything
        return frozenset(state.level for state, level in zip(asked, answer.levels) if level.state != wire.SAME)

    def _body(self, layout: Layout, relative: str, stale: Stale, state: LevelState) -> Verdict:
        """What the body of a pyc is: nobody knows it, or it isn't the one that was recorded."""
        from ...workers import wire

        compare = state.verdict is Verdict.SUSPECT
        try:
            source = read_source(layout.sources, relative, stale.name).data if compare else b""
            pyc, _ = read_pyc(layout.pycs, layout.pycache(relative), state.pyc, stale.status.st_size)
        except (OSError, SourceRefused):
            return Verdict.CORRUPT  # what can't be read can't be imported
        path = os.fsencode(layout.describe_source(relative, stale.name))
        body = memoryview(pyc)[self._header_size :]
        digest = digest_of(source if compare else body)
        if compare and (lost := self._known_to_exceed.get(digest)):
            raise UnprovenError(lost, known=True)
        try:
            answer = self._ask(layout, wire.question([state.level], path, source, [body], compare=compare))
        except UnprovenError as error:
            if error.lost.is_tried:
                self._known_to_exceed[digest] = error.lost
            raise
        if isinstance(answer, Lost) and answer.limit and compare:
            self._known_to_exceed[digest] = answer
            raise UnprovenError(answer, known=False)
        if isinstance(answer, wire.Compiled) and len(answer.levels) == 1:
            verdicts = {wire.SAME: Verdict.FRESH, wire.CHANGED: Verdict.MISMATCHED}
            return verdicts.get(answer.levels[0].state, Verdict.CORRUPT)
        if isinstance(answer, wire.Failed):
            return Verdict.MISMATCHED  # of a source that can't be compiled there is no code at all
        return Verdict.CORRUPT  # it ended the process that loaded it

    def _ask(self, layout: Layout, request: Frame) -> Answer:
        from ...workers.worker import Job  # it brings subprocess, and most runs have nothing to ask

        # What took a worker over must not answer for what belongs to somebody else.
        if self._pool is not None and self._owner != layout.sources.owner:
            self.__exit__()
        if self._pool is None:
            self._owner = layout.sources.owner
            self._pool = self._open_pool(self._interpreter)
        answer = self._pool.ask(Job(request, None))
        if isinstance(answer, Lost) and answer.kind != "crash" and not answer.limit:
            raise UnprovenError(answer, known=False)  # it is the fault of others, or of the surroundings
        return answer

    @property
    def _known_to_exceed(self) -> dict[bytes, Lost]:
        if self._exceeded is None:
            self._exceeded = self._known()
        return self._exceeded


def _needs_hash(state: LevelState) -> bool:
    return state.source_hash is not None and state.verdict in (Verdict.UNPROVEN, Verdict.UNKNOWN, Verdict.SUSPECT)
