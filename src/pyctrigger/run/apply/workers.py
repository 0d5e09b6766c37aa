"""The workers of one installation's run: what compiles, and what proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...interpreter.interpreter import Interpreter
from ...pyc.header import InvalidationMode
from ...state.locations import is_root, lock_directory
from ...state.records.manifest import Manifest
from ..plan.wanted import Wanted
from ..scope.config import Settings
from ..scope.request import Running

if TYPE_CHECKING:
    from ...workers.allowance import Allowance
    from ...workers.pool import Lost, Pool
    from ..plan.proof import Prover


class Workers:
    """Starts them within the limits of the configuration, and of the request. Use it as a context manager.

    What compiles for an owner's trees compiles for nobody else's: what took a worker over must not spoil those.
    """

    def __init__(self, interpreter: Interpreter, settings: Settings, running: Running, wanted: Wanted) -> None:
        self.interpreter = interpreter
        self._settings = settings
        self._running = running
        self._wanted = wanted
        self._allowance: Allowance | None = None
        #: What was started before it is needed, and for whose trees.
        self._warm: Pool | None = None
        self._owner = -1

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._warm is not None:
            self._warm.__exit__()
            self._warm = None

    def warm_up(self, owner: int) -> None:
        """Start while the lock is taken: a worker needs 10 to 20 ms until it is ready, and so does the lock."""
        if self._warm is not None and self._owner != owner:
            self.__exit__()
        if self._warm is None:
            self._owner = owner
            self._warm = self._open(None, "compile")
            self._warm.warm_up()

    def take(self, owner: int) -> Pool:
        """What compiles sources in an owner's trees; it is the caller's to end."""
        self.warm_up(owner)
        assert self._warm is not None
        pool, self._warm = self._warm, None
        return pool

    def prover(self, manifest: Manifest) -> Prover:
        """For bytecode that nobody knows: one worker, and not before the first question."""
        from ..plan.proof import Prover  # not for who writes

        def known() -> dict[bytes, Lost]:
            from ..plan.knowledge import known_to_exceed

            return known_to_exceed(manifest, self.interpreter.magic_number, self._wanted.limits)[0]

        return Prover(self.interpreter, lambda _: self._open(1, "compare"), self._wanted.header.size, known)

    def _open(self, size: int | None, program: str) -> Pool:
        from ...workers.allowance import Allowance, Limits
        from ...workers.capacity import worker_count
        from ...workers.pool import Pool

        settings, running = self._settings, self._running
        limits = Limits(file_timeout=settings.file_timeout, memory=settings.memory_limit)
        if self._allowance is None:
            self._allowance = Allowance(limits)
        jobs = settings.jobs if running.jobs is None else running.jobs
        return Pool(
            self.interpreter,
            limits,
            size or worker_count(jobs),
            hashes=self._wanted.mode is not InvalidationMode.TIMESTAMP,
            program=program,
            leases=lock_directory() if is_root() and not running.stateless else None,
            allowance=self._allowance,
        )
