"""The workers of a run: those that compile, or the one that checks doubtful bytecode; and the order of their work.

Usually the largest sources come first: so the workers end together, and none has a long one left at the end. Runs that
fill one store at the same time would all compile the same sources then. So each of them goes its own way, and finds
what the others have done meanwhile. The order changes neither what is written nor what is reported.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from ...interpreter.interpreter import Interpreter
from ...pyc.header import InvalidationMode
from ...state.locations import is_root, lock_directory
from ...typed import TYPE_CHECKING, NamedTuple
from ..plan.wanted import Wanted
from ..scope.config import Settings
from ..scope.request import Running

if TYPE_CHECKING:
    from ...store.remote.asking import RemoteStore
    from ...workers.allowance import Allowance
    from ...workers.pool import Duty, Pool
    from .stores import StoreClient
    from .writing import Task

#: Sources taken from the plan at a time: for each one that is given out, and for as many once so many wait.
_STEP = 8


class Order(NamedTuple):
    """How to choose among the sources that a plan has come to."""

    is_random: bool
    most_waiting: int
    """Sources that wait to be chosen from: what is held is their names and status."""

    def rank(self, work: int) -> float:
        """Returns the place of what costs so much: the least comes first."""
        if not self.is_random:
            return -work
        return _draw() / max(work, 1)  # a large one tends to come early

    def arrange(self, tasks: Iterator[Task | None]) -> Iterator[Task | None]:
        """Yields the same tasks in this order, as far as the plan has come; None while there is none yet.

        Reading the plan is spread over the work. In a random order, those of one directory come one after the other:
        to open another one takes longer than to read a source.
        """
        waiting: list[tuple[float, int, int, Task]] = []
        number, rank, place = 0, 0.0, None
        while True:
            is_over, has_paused = True, False
            for task in islice(tasks, _STEP):
                is_over, has_paused = False, task is None
                if task is None:
                    break
                number += 1
                if not self.is_random:
                    rank = self.rank(task[1].size)
                elif task[0] is not place:
                    place, rank = task[0], _draw()
                heapq.heappush(waiting, (rank, _draw() if self.is_random else 0, number, task))
            if not waiting:
                if is_over:
                    return
                yield None
            # Asking the plan for each of them would cost more than the order gains.
            for _ in range(min(len(waiting), _STEP if has_paused or len(waiting) > self.most_waiting else 1)):
                yield heapq.heappop(waiting)[3]


def _draw() -> int:
    """Returns a random number. Importing Python's own would take longer than to draw them all."""
    return int.from_bytes(os.urandom(4), "little")


LARGEST_FIRST = Order(is_random=False, most_waiting=256)
ITS_OWN_WAY = Order(is_random=True, most_waiting=1 << 14)


class Workers:
    """Starts workers within the limits of the configuration and the request. Use it as a context manager.

    They compile for the trees of one owner only: a source that takes a worker over must not affect another owner's
    bytecode. If `proves`, it is one worker with another program, which checks bytecode that has no record. In a lane it
    is one that does its `duty`, and leaves what is slow: all slow sources of a run have a time together.
    """

    def __init__(  # noqa: PLR0913 - what a run knows, and two that are only a lane's
        self,
        interpreter: Interpreter,
        settings: Settings,
        running: Running,
        wanted: Wanted,
        *,
        proves: bool = False,
        duty: Duty | None = None,
        remote: RemoteStore | None = None,
        run: str | None = None,
    ) -> None:
        self._duty = duty
        self._remote = remote
        #: What it has in common with its lanes, for a store.
        self._run = run or os.urandom(4).hex()
        self._interpreter = interpreter
        self._settings = settings
        self._running = running
        self._wanted = wanted
        self._proves = proves
        self._allowance: Allowance | None = None
        self._pool: Pool | None = None
        self._owner = -1
        self._store: StoreClient | None = None
        #: Why the store that is configured can't be used.
        self.store_trouble: str | None = None
        self._has_opened_store = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def kill(self) -> None:
        """Have them all end: there is no work left."""
        if self._pool is not None:
            self._pool.kill()

    def end(self) -> None:
        """End them all, and what asks a store. They may be used again."""
        if self._pool is not None:
            self._pool.__exit__()
            self._pool = None
        if self._store is not None:
            self._store.close()
        self._store, self._has_opened_store = None, False

    @property
    def asks_store(self) -> bool:
        """Whether a store is configured, which may know all that there is to compile."""
        return bool(self._settings.store_url)

    @property
    def order(self) -> Order:
        """The order in which sources are compiled."""
        settings = self._settings
        shares = settings.store_url and settings.store_write and not settings.has_remote_store
        return ITS_OWN_WAY if shares else LARGEST_FIRST

    def arranged(self, tasks: Iterator[Task | None]) -> Iterator[Task | None]:
        """Returns the same tasks in this order; a lane is dealt its pieces in it, none of them large."""
        return tasks if self._in_lane else self.order.arrange(tasks)

    @property
    def store(self) -> StoreClient | None:
        """What has bytecode that was made elsewhere, if it is configured, and can be used."""
        if self._settings.store_url and not self._has_opened_store:
            self._has_opened_store = True
            if self._remote is not None:
                from .ahead import open_remote

                self._store = open_remote(self._remote, self._interpreter, self._wanted)
            elif not self._settings.has_remote_store:
                from .stores import open_store

                self._store, self.store_trouble = open_store(self._settings, self._interpreter, self._wanted, self._run)
        return self._store

    def warm_up(self, owner: int) -> None:
        """Start what the first source needs: a worker, or what asks the store of another machine."""
        if not self.asks_store:
            self.pool_for(owner).warm_up()
        elif self._remote is not None and not self._wanted.trust_nothing:
            self._remote.start()

    def share_store(self, lanes: int) -> list[int]:
        """Prepare a store for so many lanes. Returns the descriptors that they have to keep for it."""
        if self._remote is None:
            return []
        self._remote.balance.lanes = lanes
        if not self._wanted.trust_nothing:
            self._remote.start()
        return self._remote.descriptors

    def pool_for(self, owner: int) -> Pool:
        """Returns the workers for an owner's trees, which start when they have work. Ends those for another owner."""
        if self._pool is None or self._owner != owner:
            self.end()
            self._pool, self._owner = self._open(), owner
        return self._pool

    def _open(self) -> Pool:
        from ...workers.allowance import SLOW, Allowance, Limits
        from ...workers.pool import Duty, Pool

        settings, running = self._settings, self._running
        timeout = settings.file_timeout * (SLOW if self._in_lane else 1)
        limits = Limits(file_timeout=timeout, memory=settings.memory_limit)
        if self._allowance is None:
            self._allowance = Allowance(limits)
        return Pool(
            self._interpreter,
            limits,
            self.count,
            hashes=self._wanted.mode is not InvalidationMode.TIMESTAMP,
            program="compare" if self._proves else "compile",
            leases=lock_directory() if is_root() and not running.stateless else None,
            allowance=self._allowance,
            duty=self._duty or Duty.WHOLE,
            max_jobs=self._max_jobs,
        )

    def _max_jobs(self) -> int:
        from ...workers.pool import MAX_JOBS

        return MAX_JOBS if self._store is None else self._store.max_jobs

    @property
    def _in_lane(self) -> bool:
        return self._duty is not None

    @cached_property
    def count(self) -> int:
        """How many there are at most."""
        from ...workers.capacity import worker_count

        running = self._running
        jobs = self._settings.jobs if running.jobs is None else running.jobs
        return 1 if self._proves or self._in_lane else worker_count(jobs)

    def of_a_lane(self, duty: Duty) -> Workers:
        """Returns those of a lane with this duty; it starts none before it has some."""
        return Workers(
            self._interpreter,
            self._settings,
            self._running,
            self._wanted,
            duty=duty,
            remote=self._remote,
            run=self._run,
        )
