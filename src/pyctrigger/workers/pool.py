"""The pool: N workers of one interpreter with bounded queues; each answer is returned with its request.

A source that crashes, hangs or exhausts a worker affects only itself: workers answer in order, so the first request
without an answer is the culprit, and those after it go to another worker. A crash or a lack of memory may have other
causes, so the source is retried once, alone in a new worker.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from itertools import chain
from operator import attrgetter

from ..errors import InterpreterError
from ..interpreter.child import describe_death
from ..interpreter.interpreter import Interpreter
from ..typed import NamedTuple, Union
from .allowance import Allowance, Limits, is_memory_ours
from .pace import rest_while_busy
from .wire import UNREADABLE, USUAL, Compiled, Failed, Reply, Setup, WireError, parse_reply
from .worker import Job, Worker

#: Limits for one worker's queue: long enough that it never idles, short enough that all finish at the same time.
MAX_JOBS = 256
_MAX_BYTES = 1 << 19
#: Bytes that a worker is given at once: choosing one for each small source would take longer than sending it.
_PORTION = 1 << 13
#: Bytes. If each worker has more than that queued, some 25 ms, another one is worth starting.
_ENOUGH_BYTES = 1 << 17
#: Workers in a row that may end without having work, before the interpreter is reported as broken.
_MAX_UNEXPLAINED_ENDS = 3
#: Fraction of a CPU time limit. Its clock counts whole ticks, and under load nearly a sixth too many; half is enough to
#: distinguish it from a stray signal.
_ENOUGH_OF_LIMIT = 0.5
#: How many times longer than it reports a worker may seem to take, on a busy machine, or after we were stopped.
_MAX_SLOWDOWN = 10
#: Seconds between two checks of the worker processes themselves, besides their pipes.
_CHECK_INTERVAL = 1.0
_OUTSTANDING = attrgetter("outstanding")


class Lost(NamedTuple):
    """A worker was lost because of this request. `kind` is `timeout`, `memory` or `crash`."""

    kind: str
    message: str
    limit: float = 0
    """The limit of ours (CPU seconds, bytes) that the request alone exceeded; 0 if there may be another cause."""
    is_tried: bool = True
    """False if other slow sources had used up the time for all of them."""


class Apart(NamedTuple):
    """The answer, where only the usual is done, for a source that needs a worker of its own."""

    setup: Setup
    is_retry: bool
    """Whether it has failed once, for a reason that may not be its own."""


Result = Union[Compiled, Failed, Lost]
Answer = Union[Result, Apart]
#: The answer for a source that isn't tried any more.
UNTRIED = Lost("timeout", "not tried: slow sources have used up their time", is_tried=False)
#: The answer, where not everything is done, for a source that needs more time.
SLOW = Lost("timeout", "", is_tried=False)


class Duty(Enum):
    """What a pool does of the work that it is given; the rest it answers with what that needs."""

    WHOLE = "everything"
    USUAL = "what usual workers do, in little time"
    APART = "what they don't do, in little time, with one worker at a time"


class Pool:
    """Up to `size` workers of one program, started when there is work for them. Use it as a context manager.

    The program is `compile`, or `compare`, which loads doubtful bytecode. For `leases` see Worker. If its
    duty is a part of the work, it answers Apart for what needs another worker, and SLOW for what needs more time.
    `max_jobs` says how many jobs a worker has queued at most, each time that one is to be added.
    """

    def __init__(  # noqa: PLR0913 - each is a fact about the workers, and most have a default
        self,
        interpreter: Interpreter,
        limits: Limits,
        size: int,
        *,
        hashes: bool = False,
        program: str = "compile",
        leases: str | None = None,
        allowance: Allowance | None = None,
        duty: Duty = Duty.WHOLE,
        max_jobs: Callable[[], int] = lambda: MAX_JOBS,
    ) -> None:
        self._duty = duty
        self._max_jobs = max_jobs
        #: What the caller waits for besides: once it can be read, `map` takes the next job.
        self.channel: int | None = None
        self._interpreter = interpreter
        self._allowance = allowance or Allowance(limits)
        self._size = max(1, size)
        self._make_worker = partial(Worker, interpreter, hashes=hashes, program=program, leases=leases)
        self._workers: list[Worker] = []
        #: Jobs that lost workers had, and those for another worker than the usual ones.
        self._waiting: deque[Job] = deque()
        self._next_check = time.monotonic() + _CHECK_INTERVAL
        #: Counted separately for special workers: that usual ones work says nothing about them.
        self._unexplained_ends = {False: 0, True: 0}
        #: Whether a worker was ever ready. If so, the next one that dies while starting was killed, and the interpreter
        #: works.
        self._has_worked = False
        #: System calls for workers' limits that the system refused.
        self.lacks: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        while self._workers:
            self._remove_worker(self._workers[-1])

    def kill(self) -> None:
        """Kill all workers, which then end at the same time. Whoever leaves the `with` block waits for that."""
        for worker in self._workers:
            worker.kill()

    def warm_up(self) -> None:
        """Start the first worker now, while the caller does something else."""
        if not self._workers:
            self._start_worker()

    def map(self, jobs: Iterable[Job | None]) -> Iterator[tuple[Job, Answer]]:
        """Send all jobs to workers. Yields pairs of job and answer in the order in which they are done.

        Jobs are taken when a worker has room for them; None means that the next one depends on an answer. Raises
        InterpreterError if no worker can be started.
        """
        source = iter(jobs)
        exhausted = False
        while not self._allowance.is_used_up:
            exhausted = exhausted or self._fill(source)
            self._assign_waiting()
            self._start_writing()
            if exhausted and not any(worker.jobs for worker in self._workers):
                return
            # Those that retry a job, or fork, have only the work that they were started for.
            rest_while_busy([worker for worker in self._usable_workers() if worker.jobs])
            yield from self._poll_workers()
        yield from self._give_up_jobs(source)

    def _fill(self, source: Iterator[Job | None]) -> bool:
        """Give jobs to workers while there is room, and the next one is known. Returns whether there are no more."""
        with contextlib.suppress(StopIteration):
            while self._duty is Duty.APART and self._holds_little:
                job = next(source)
                if job is None:
                    return False
                self._waiting.append(job)
            while self._duty is not Duty.APART and (worker := self._worker_with_room()):
                enough, most = worker.outstanding + _PORTION, self._max_jobs()
                while worker.outstanding < enough and len(worker.jobs) < most:
                    job = next(source)
                    if job is None:
                        return False
                    worker.send(job)
            return False
        return True

    def _give_up_jobs(self, source: Iterator[Job | None]) -> Iterator[tuple[Job, Answer]]:
        """Yield UNTRIED, or SLOW, for all jobs without an answer, and for those still to come."""
        left = [*(job for worker in self._workers for job in worker.jobs), *self._waiting]
        self.__exit__()
        self._waiting.clear()
        for job in chain(left, source):
            if job is not None:
                yield job, self._unless_slow(UNTRIED)

    def _count_time(self, seconds: float) -> None:
        """Count a source's time. If that reduces the limit, restart all workers, so that it applies to queued jobs."""
        if self._allowance.spend(seconds):
            for worker in self._workers:
                worker.retiring = True  # so that no job is blamed for its end
                worker.kill()

    def ask(self, job: Job) -> Answer:
        """Send one job, and wait for its answer. Raises InterpreterError."""
        ((_, answer),) = self.map([job])
        return answer

    @property
    def _holds_little(self) -> bool:
        """Whether more can be taken, for whatever worker."""
        special = [each for each in self._workers if each.setup != USUAL or _is_retrying(each)]
        if self._duty is Duty.APART and sum(each.outstanding for each in self._workers) >= _MAX_BYTES:
            return False
        return len(self._waiting) + sum(len(each.jobs) for each in special) <= MAX_JOBS

    def _worker_with_room(self) -> Worker | None:
        """Returns the worker for the next job, a new one if all others are busy, or None if there is no room."""
        if not self._holds_little or any(job.is_retry or job.setup == USUAL for job in self._waiting):
            return None
        usable = self._usable_workers()
        best = min(usable, key=_OUTSTANDING, default=None)
        if len(usable) < self._size and not (best and best.outstanding < _ENOUGH_BYTES):
            self._start_writing()  # the others can work while another one starts
            try:
                return self._start_worker()
            except InterpreterError:
                if not usable:
                    raise
                self._size = len(usable)  # no descriptors, processes or memory for another one: continue with fewer
        return best if best and len(best.jobs) < self._max_jobs() and best.outstanding < _MAX_BYTES else None

    def _assign_waiting(self) -> None:
        for job in list(self._waiting):
            worker = self._worker_for(job)
            if worker is not None:
                self._waiting.remove(job)
                worker.send(job)

    def _worker_for(self, job: Job) -> Worker | None:
        """Returns the worker for a job that waits, or None while another worker has to finish first.

        Retries run one at a time, each in a worker of its own; and there is one worker for another codec.
        """
        if self._duty is Duty.APART:
            others = [each for each in self._workers if each.setup != job.setup or each.retiring or job.is_retry]
            if any(each.jobs for each in others) or any(map(_is_retrying, self._workers)):
                return None
            for each in others:
                self._remove_worker(each)
            return self._workers[0] if self._workers else self._start_worker(job.setup)
        if job.is_retry:
            return None if any(map(_is_retrying, self._workers)) else self._start_worker(job.setup)
        if job.setup == USUAL:
            usable = self._usable_workers()
            return min(usable, key=_OUTSTANDING) if len(usable) >= self._size else self._start_worker()
        special = [each for each in self._workers if each.setup != USUAL and not _is_retrying(each)]
        found = next((each for each in special if each.setup == job.setup), None)
        if found is not None and not found.retiring:
            return found
        others = [each for each in special if job.setup.codec and each.setup.codec]
        if any(each.jobs for each in others):
            return None
        for each in others:
            self._remove_worker(each)
        return self._start_worker(job.setup)

    def _usable_workers(self) -> list[Worker]:
        return [each for each in self._workers if not (each.retiring or each.setup != USUAL or _is_retrying(each))]

    def _start_worker(self, setup: Setup = USUAL) -> Worker:
        worker = self._make_worker(self._allowance.limits, setup)
        self._workers.append(worker)
        return worker

    def _start_writing(self) -> None:
        for worker in self._workers:
            worker.pump_in()

    def _poll_workers(self) -> Iterator[tuple[Job, Answer]]:
        """Wait for input, output or a time-out, and handle it."""
        nearest = min((w.deadline for w in self._workers if w.jobs or not w.is_ready), default=None)
        now = time.monotonic()
        # Another process may have a worker's pipe open, so we never wait for end of file alone.
        left = _CHECK_INTERVAL if nearest is None else min(_CHECK_INTERVAL, max(0.0, nearest - now))
        poller, workers = select.poll(), {}
        if self.channel is not None:
            poller.register(self.channel, select.POLLIN)
        for worker in self._workers:
            for descriptor, event in worker.events().items():
                poller.register(descriptor, event)
                workers[descriptor] = worker
        ready = [descriptor for descriptor, _ in poller.poll(int(left * 1000) + 1)]
        for descriptor in ready:
            if descriptor not in workers:
                continue  # it is what the caller waits for
            worker = workers[descriptor]
            if worker not in self._workers:
                continue  # it was lost earlier in this loop
            if descriptor == worker.stderr:
                worker.drain_stderr()
            elif descriptor == worker.output:
                yield from self._read_answers(worker)
        for worker in self._find_lost(ready):
            yield from self._handle_loss(worker)

    def _find_lost(self, read: list[int]) -> list[Worker]:
        """Returns overdue workers, after killing them, and those that have ended although a pipe of theirs is open."""
        now = time.monotonic()
        lost = []
        is_due = now >= self._next_check
        if is_due:
            self._next_check = now + _CHECK_INTERVAL
        for worker in self._workers:
            if now > worker.deadline and (worker.jobs or not worker.is_ready):
                worker.overdue = True
                worker.kill()
                lost.append(worker)
            elif is_due and worker.output not in read and worker.has_ended:
                lost.append(worker)
        return lost

    def _read_answers(self, worker: Worker) -> Iterator[tuple[Job, Answer]]:
        try:
            for payload in worker.pump_out():
                if not worker.is_ready:
                    self.lacks.update(worker.handle_handshake(payload))
                    self._has_worked = True
                    continue
                reply, worker.retiring = parse_reply(payload)
                if not isinstance(reply, Compiled):
                    _require_possible(worker, reply)
                job, spent = worker.answered()
                answer = self._judge(worker, job, reply, spent)
                if answer is not None:
                    yield job, answer
        except EOFError:
            yield from self._handle_loss(worker)
        except (WireError, IndexError):
            worker.garbled = True
            worker.kill()
            yield from self._handle_loss(worker)

    def _judge(self, worker: Worker, job: Job, reply: Reply, spent: float) -> Answer | None:
        """Returns the answer for a job that took so many seconds; None if it is done apart."""
        self._unexplained_ends[worker.setup != USUAL] = 0
        if isinstance(reply, Compiled):
            if job.is_retry:
                self._remove_worker(worker)
            else:
                microseconds = sum([level.microseconds for level in reply.levels])
                # We may have read it late; and a worker may report too little.
                spent = min(spent, max(microseconds * 1e-6, spent / _MAX_SLOWDOWN))
        elif isinstance(reply, Setup):
            job.setup = Setup(job.setup.forks or reply.forks, job.setup.codec or reply.codec)
            return self._apart(job)
        elif reply.kind == "memory" and not job.is_retry:
            job.is_retry = True
            return self._apart(job)
        elif job.is_retry:
            self._remove_worker(worker)
            if reply.kind == "memory":
                return _lost_to_memory(worker.limits)
        self._count_time(spent)
        return reply

    def _handle_loss(self, worker: Worker) -> Iterator[tuple[Job, Answer]]:
        """Handle the end of a worker, and the jobs that it had."""
        if worker not in self._workers:
            return  # it was removed after its answer, and sent more
        self._workers.remove(worker)
        spent = -_cpu_time_of_children()
        returncode = worker.reap()
        spent += _cpu_time_of_children()
        if not worker.is_ready and not self._has_worked:
            raise worker.failed_start(returncode)
        jobs = worker.jobs
        worker.jobs = deque()
        if not jobs or worker.retiring or not worker.is_ready:
            self._unexplained_ends[worker.setup != USUAL] += not worker.retiring
            if self._unexplained_ends[worker.setup != USUAL] >= _MAX_UNEXPLAINED_ENDS:
                raise InterpreterError(
                    f"{self._interpreter.executable}: workers end for no known reason",
                    hint="check whether something kills them (dmesg), or name another interpreter with --python PATH",
                )
            self._waiting.extendleft(reversed(jobs))
            return
        culprit = jobs.popleft()
        self._waiting.extendleft(reversed(jobs))
        limits = worker.limits
        if worker.overdue:
            self._count_time(limits.wall_timeout)
            yield culprit, self._unless_slow(Lost("timeout", f"no answer within {limits.wall_timeout:g} s"))
        elif worker.ran_out_of_time(returncode):
            self._count_time(limits.file_timeout)
            # Any process may send a SIGPROF; our timer doesn't expire before that time is used up.
            limit = limits.file_timeout if spent >= _ENOUGH_OF_LIMIT * limits.file_timeout else 0
            message = f"more than {limits.file_timeout:g} s of CPU time"
            yield culprit, self._unless_slow(Lost("timeout", message, limit))
        elif culprit.is_retry and worker.ran_out_of_memory(returncode):
            yield culprit, _lost_to_memory(limits)
        elif culprit.is_retry:
            yield culprit, Lost("crash", f"the compiler ended: {describe_death(returncode)}")
        else:
            culprit.is_retry = True
            answer = self._apart(culprit)
            if answer is not None:
                yield culprit, answer

    def _apart(self, job: Job) -> Answer | None:
        """Have a job done by a worker of its own. Returns its answer where there is none."""
        if self._duty is Duty.USUAL:
            return Apart(job.setup, job.is_retry)
        self._waiting.append(job)
        return None

    def _unless_slow(self, answer: Lost) -> Lost:
        """Returns an answer, or SLOW where the job is tried elsewhere with all the time that there is."""
        return answer if self._duty is Duty.WHOLE else SLOW

    def _remove_worker(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.reap()


def _lost_to_memory(limits: Limits) -> Lost:
    """Returns the answer for a source that took too much memory alone in a new worker."""
    if is_memory_ours(limits):
        return Lost("memory", f"needs more than {limits.memory / (1 << 20):g} MiB", limits.memory)
    return Lost("memory", "this machine, or a limit that we were started with, has too little for it", 0)


def _require_possible(worker: Worker, reply: Failed | Setup) -> None:
    """Raise InterpreterError if a worker can't read its library, and WireError for a need that it meets itself."""
    if isinstance(reply, Failed):
        if reply.kind == UNREADABLE:
            raise worker.unreadable_library()
    elif any(has and needs for has, needs in zip(worker.setup, reply)):
        raise WireError  # it forks, or has loaded the codec


def _is_retrying(worker: Worker) -> bool:
    return bool(worker.jobs) and worker.jobs[0].is_retry


def _cpu_time_of_children() -> float:
    """Returns the CPU seconds that all ended children have used."""
    times = os.times()
    return times.children_user + times.children_system
