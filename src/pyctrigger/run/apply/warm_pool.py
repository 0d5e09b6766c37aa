"""Workers that start while the lock is taken: a worker needs 10 to 20 ms until it is ready, and so does the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...workers.pool import Pool


class WarmPool:
    """A pool that can be started before it is needed; ended here unless it was taken. Use it as a context manager."""

    def __init__(self, make: Callable[[], Pool]) -> None:
        self._make = make
        self._pool: Pool | None = None
        self._taken = False

    def __enter__(self) -> WarmPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None and not self._taken:
            self._pool.__exit__()
        self._pool, self._taken = None, False

    def start(self) -> None:
        """Begin, if nobody has."""
        if self._pool is None:
            self._pool = self._make()
            self._pool.warm_up()

    def take(self) -> Pool:
        """The pool, which is the caller's to end."""
        self.start()
        assert self._pool is not None
        self._taken = True
        return self._pool
