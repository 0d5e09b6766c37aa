"""The workers of one installation's run: what compiles, with the rights of a tree's owner, and what proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pyc.header import InvalidationMode
from .accounts import for_compiling
from .proof import Prover
from .warm_pool import WarmPool

if TYPE_CHECKING:
    from ..target.interpreter import Interpreter
    from ..workers.pool import Pool
    from .config import Settings
    from .wanted import Wanted


class Pools:
    """Opens them within the limits of the configuration; `jobs` is what the caller wants instead of its number."""

    def __init__(self, settings: Settings, jobs: int | None, wanted: Wanted) -> None:
        self._settings = settings
        self._jobs = settings.jobs if jobs is None else jobs
        self._wanted = wanted

    def compilers(self, interpreter: Interpreter, owner: int) -> WarmPool:
        """For the sources of a tree of this owner's."""
        return WarmPool(lambda: self._open(for_compiling(interpreter, owner), None, "compile"))

    def prover(self, interpreter: Interpreter) -> Prover:
        """For bytecode that nobody knows: one worker, and not before the first question."""
        return Prover(interpreter, lambda each: self._open(each, 1, "compare"), self._wanted.header.size)

    def _open(self, interpreter: Interpreter, size: int | None, program: str) -> Pool:
        from ..workers.capacity import worker_count
        from ..workers.limits import Limits
        from ..workers.pool import Pool

        settings = self._settings
        return Pool(
            interpreter,
            Limits(file_timeout=settings.file_timeout, memory=settings.memory_limit),
            size or worker_count(self._jobs),
            hashes=self._wanted.mode is not InvalidationMode.TIMESTAMP,
            program=program,
        )
