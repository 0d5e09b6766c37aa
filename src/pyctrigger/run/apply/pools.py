"""The workers of one installation's run: what compiles, and what proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...pyc.header import InvalidationMode
from ...state.locations import is_root, lock_directory
from ..plan.proof import Prover
from .warm_pool import WarmPool

if TYPE_CHECKING:
    from ...interpreter.interpreter import Interpreter
    from ...state.records.manifest import Manifest
    from ...workers.allowance import Allowance
    from ...workers.pool import Lost, Pool
    from ..plan.wanted import Wanted
    from ..scope.config import Settings
    from ..scope.request import Request


class Pools:
    """Opens them within the limits of the configuration, and of the request."""

    def __init__(self, settings: Settings, request: Request, wanted: Wanted) -> None:
        self._settings = settings
        self._request = request
        self._wanted = wanted
        self._allowance: Allowance | None = None

    def compilers(self, interpreter: Interpreter) -> WarmPool:
        """For sources, whoever owns them."""
        return WarmPool(lambda: self._open(interpreter, None, "compile"))

    def prover(self, interpreter: Interpreter, manifest: Manifest) -> Prover:
        """For bytecode that nobody knows: one worker, and not before the first question."""

        def known() -> dict[bytes, Lost]:
            from ..plan.exceeded import known_to_exceed

            return known_to_exceed(manifest, interpreter.magic_number, self._wanted.limits)[0]

        return Prover(interpreter, lambda each: self._open(each, 1, "compare"), self._wanted.header.size, known)

    def _open(self, interpreter: Interpreter, size: int | None, program: str) -> Pool:
        from ...workers.allowance import Allowance
        from ...workers.capacity import worker_count
        from ...workers.limits import Limits
        from ...workers.pool import Pool

        settings, request = self._settings, self._request
        limits = Limits(file_timeout=settings.file_timeout, memory=settings.memory_limit)
        if self._allowance is None:
            self._allowance = Allowance(limits)
        jobs = settings.jobs if request.running.jobs is None else request.running.jobs
        return Pool(
            interpreter,
            limits,
            size or worker_count(jobs),
            hashes=self._wanted.mode is not InvalidationMode.TIMESTAMP,
            program=program,
            leases=lock_directory() if is_root() and not request.running.stateless else None,
            allowance=self._allowance,
        )
