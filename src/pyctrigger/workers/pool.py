"""The pool: N workers of one interpreter, a bounded number of requests on the way, every answer with its request.

A source that crashes, hangs or exhausts a worker costs that source alone: a worker answers in order, so the first
request without an answer is the culprit, and those behind it go to another worker. A crash and memory trouble are
facts about the moment until they happen a second time, alone in a new worker.
"""

from __future__ import annotations

import os
import select
import time
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, Union

from ..errors import InterpreterChangedError, InterpreterError
from ..interpreter.child import describe_death
from .allowance import Allowance
from .limits import is_memory_ours
from .pace import Pace
from .wire import UNREADABLE, Compiled, Failed, Lacking, Unsettled, WireError, parse_reply
from .worker import Job, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..interpreter.accounts import Lease
    from ..interpreter.interpreter import Interpreter
    from .limits import Limits
    from .wire import Reply

#: What one worker may have before it: enough that it never waits, few enough that the last ones end together.
_MOST_JOBS = 256
_MOST_BYTES = 1 << 19
#: With more than that before each worker, some 25 ms, it is worth to start one more.
_ENOUGH_BYTES = 1 << 17
#: Workers that ended with nothing to do, in a row, before the interpreter is called broken.
_MOST_SENSELESS_DEATHS = 3
#: Of a CPU limit. Its clock counts whole ticks, and under load nearly a sixth more than were used; half tells it from a
#: stray signal.
_ENOUGH_OF_IT = 0.5
#: How many times longer than it says a worker may have taken, since others were at work, or we were stopped.
_MOST_SLOWED = 10
#: Seconds after which the workers themselves are looked at, whatever their pipes say.
_GLANCE = 1.0
#: Accounts of workers that have ended which wait for the end of the run: to see who runs under them costs little.
_MOST_LEASES = 64
_OUTSTANDING = attrgetter("outstanding")


class Lost(NamedTuple):
    """A worker was lost over this request: kind `timeout`, `memory` or `crash`."""

    kind: str
    message: str
    limit: float = 0
    """The limit of ours (seconds of CPU, bytes) that the request alone has exceeded; 0: the surroundings may have."""
    is_tried: bool = True
    """False where others had used up the time for slow sources."""


Answer = Union[Compiled, Failed, Lost]
#: Where nothing more is tried.
UNTRIED = Lost("timeout", "not tried: slow sources have used up their time", is_tried=False)


class Pool:
    """Up to `size` workers of one program; they start when there is work for them. Use it as a context manager.

    The program is `compile`, or `compare` for what loads the bytecode that nobody knows. `leases` is the directory of
    the locks, for root's workers, each of which has an account of its own.
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
    ) -> None:
        self._interpreter = interpreter
        self._allowance = allowance or Allowance(limits)
        self._limits = self._allowance.limits
        self._size = max(1, size)
        self._hashes = hashes
        self._program = program
        #: Where the accounts of workers are noted, and those that have been given to one.
        self._place = leases
        self._leases: list[Lease] = []
        self._workers: list[Worker] = []
        self._by_descriptor: dict[int, Worker] = {}
        self._poller = select.poll()
        self._again: deque[Job] = deque()
        self._solo: deque[Job] = deque()
        #: For workers that fork for each of them, or have loaded another codec.
        self._special: deque[Job] = deque()
        self._pace = Pace()
        self._next_look = time.monotonic() + _GLANCE
        #: For each kind of worker: one that answers says nothing about those that are special.
        self._senseless_deaths = {False: 0, True: 0}
        #: Whether a worker was ever ready: the next one that dies at its start was killed, it isn't unfit.
        self.has_worked = False
        #: System calls that keep workers within their limits, and that the system refuses.
        self.lacks: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._end_all()

    def warm_up(self) -> None:
        """Start the first worker now, while the caller has something else to do."""
        if not self._workers:
            self._start()

    def map(self, jobs: Iterable[Job | None]) -> Iterator[tuple[Job, Answer]]:
        """Send every job through a worker; pairs of job and answer, in the order in which they are done.

        Jobs are drawn when there is room for them; None says that the next one waits for an answer. Raises
        InterpreterError where no worker can be had.
        """
        source = iter(jobs)
        exhausted = False
        while True:
            while not exhausted and (worker := self._with_room()):
                try:
                    job = next(source)
                except StopIteration:
                    exhausted = True
                    break
                if job is None:
                    break
                worker.send(job)
            if self._allowance.is_used_up:
                yield from self._give_up(source)
                break
            self._place_returned()
            self._start_writing()
            if exhausted and not any(worker.jobs for worker in self._workers):
                break
            time.sleep(self._pause())
            yield from self._turn()
        self._end_all()

    def _give_up(self, source: Iterator[Job | None]) -> Iterator[tuple[Job, Answer]]:
        """Everything that has no answer yet, and what is still to come, is left to another run."""
        for worker in self._workers:
            worker.kill()
        left = [job for worker in self._workers for job in worker.jobs]
        for job in (*left, *self._again, *self._solo, *self._special):
            yield job, UNTRIED
        for each in source:
            if each is not None:
                yield each, UNTRIED

    def _spend(self, seconds: float) -> None:
        """A source took so long. Where the next ones get less, so do those that workers have already."""
        if self._allowance.spend(seconds):
            self._limits = self._allowance.limits
            for worker in self._workers:
                worker.retiring = True  # nobody is to blame for its end
                worker.kill()

    def ask(self, job: Job) -> Answer:
        """The answer to one job, from a worker that stays for the next one. Raises InterpreterError."""
        if self._allowance.is_used_up:
            return UNTRIED
        worker = self._with_room() or self._start()
        worker.send(job)
        while True:
            self._place_returned()
            self._start_writing()
            for _, answer in self._turn():
                return answer

    def _with_room(self) -> Worker | None:
        """The worker to give the next job to, a new one if all others are busy; None if there is no room."""
        if self._again or self._solo or len(self._special) > _MOST_JOBS:
            return None
        usable = self._usable()
        best = min(usable, key=_OUTSTANDING, default=None)
        if len(usable) < self._size and not (best and best.outstanding < _ENOUGH_BYTES):
            self._start_writing()  # while one more starts, the others can begin
            try:
                return self._start()
            except InterpreterError:
                if not usable:
                    raise
                self._size = len(usable)  # no descriptors, processes or memory for one more: fewer do the work, too
        return best if best and len(best.jobs) < _MOST_JOBS and best.outstanding < _MOST_BYTES else None

    def _pause(self) -> float:
        """Seconds in which no worker runs out of work, nor of room for its answers.

        Workers for a suspect, or apart, have none but the work that they were started for.
        """
        busy = [min(worker.outstanding, worker.room) for worker in self._usable() if worker.jobs]
        return self._pace.pause(min(busy, default=0))

    def _place_returned(self) -> None:
        """Give back to workers what came back from lost ones; one suspect at a time, each in a worker of its own."""
        while self._again:
            usable = self._usable()
            worker = min(usable, key=_OUTSTANDING) if len(usable) >= self._size else self._start()
            worker.send(self._again.popleft())
        if self._solo and not any(self._is_solo(worker) for worker in self._workers):
            job = self._solo.popleft()
            self._start(apart=job.apart, codec=job.codec).send(job)
        for job in list(self._special):
            special = self._special_worker(job)
            if special is not None:
                self._special.remove(job)
                special.send(job)

    def _special_worker(self, job: Job) -> Worker | None:
        """The worker that forks, or has loaded its codec; None while one for another codec is busy: there is one."""
        special = [each for each in self._workers if _is_special(each) and not self._is_solo(each)]
        found = next((each for each in special if (each.apart, each.codec) == (job.apart, job.codec)), None)
        if found is not None and not found.retiring:
            return found
        others = [each for each in special if job.codec and each.codec]
        if any(each.jobs for each in others):
            return None
        for each in others:
            self._drop(each)
        return self._start(apart=job.apart, codec=job.codec)

    def _usable(self) -> list[Worker]:
        return [each for each in self._workers if not (each.retiring or _is_special(each) or self._is_solo(each))]

    @staticmethod
    def _is_solo(worker: Worker) -> bool:
        return bool(worker.jobs) and worker.jobs[0].alone

    def _start(self, *, apart: bool = False, codec: str = "") -> Worker:
        lease = self._lease()
        worker = Worker(
            self._interpreter,
            self._limits,
            hashes=self._hashes,
            program=self._program,
            apart=apart,
            codec=codec,
            lease=lease,
        )
        self._workers.append(worker)
        for descriptor in (worker.output, worker.noise):
            self._by_descriptor[descriptor] = worker
            self._poller.register(descriptor, select.POLLIN)
        return worker

    def _lease(self) -> Lease | None:
        if os.geteuid() != 0:
            return None
        from ..interpreter.accounts import lease  # nobody but root has accounts to give

        if len(self._leases) >= _MOST_LEASES:
            self._end_leases()
        given = lease(self._place)
        if given is not None:
            self._leases.append(given)
        return given

    def _end_leases(self) -> None:
        """Give back the accounts of workers that have ended, and end what they left behind."""
        used = [worker.lease for worker in self._workers]
        for lease in [each for each in self._leases if each not in used]:
            self._leases.remove(lease)
            lease.end()

    def _start_writing(self) -> None:
        for worker in self._workers:
            if worker.wants_to_write and worker.input not in self._by_descriptor:
                worker.pump_in()
                if worker.wants_to_write:
                    self._by_descriptor[worker.input] = worker
                    self._poller.register(worker.input, select.POLLOUT)

    def _turn(self) -> Iterator[tuple[Job, Answer]]:
        """Wait for something to happen, and see to it."""
        nearest = min((w.deadline for w in self._workers if w.jobs or w.ready is None), default=None)
        now = time.monotonic()
        # Whoever holds the other end of a pipe may be somebody else: an end of file alone is never waited for.
        left = _GLANCE if nearest is None else min(_GLANCE, max(0.0, nearest - now))
        ready = self._poller.poll(int(left * 1000) + 1)
        for descriptor, _ in ready:
            worker = self._by_descriptor.get(descriptor)
            if worker is None:
                continue  # it was lost earlier in this very turn
            if descriptor == worker.input:
                worker.pump_in()
                if not worker.wants_to_write:
                    self._unregister(descriptor)
            elif descriptor == worker.noise:
                if not worker.pump_noise():
                    self._unregister(descriptor)
            else:
                yield from self._hear(worker)
        for worker in self._late_or_gone({descriptor for descriptor, _ in ready}):
            yield from self._lose(worker)

    def _late_or_gone(self, heard: set[int]) -> list[Worker]:
        """The workers that are late, which are ended, and those that have ended though a pipe of theirs is open."""
        now = time.monotonic()
        lost = []
        looks = now >= self._next_look
        if looks:
            self._next_look = now + _GLANCE
        for worker in self._workers:
            if now > worker.deadline and (worker.jobs or worker.ready is None):
                worker.overdue = True
                worker.kill()
                lost.append(worker)
            elif looks and worker.output not in heard and worker.has_ended:
                lost.append(worker)
        return lost

    def _hear(self, worker: Worker) -> Iterator[tuple[Job, Answer]]:
        try:
            frames = worker.pump_out()
            if frames is None:
                yield from self._lose(worker)
                return
            for payload in frames:
                if worker.ready is None:
                    self._greet(worker, payload)
                    continue
                answer, worker.retiring = parse_reply(payload)
                if isinstance(answer, Failed) and answer.kind == UNREADABLE:
                    raise worker.unreadable_library()
                yield from self._answered(worker, answer)
            if worker.is_broken:
                raise WireError("a frame that is too long")
        except (WireError, IndexError):
            worker.garbled = True
            worker.kill()
            yield from self._lose(worker)

    def _greet(self, worker: Worker, payload: memoryview) -> None:
        worker.greet(payload)
        assert worker.ready
        self.has_worked = True
        self.lacks.update(worker.ready.lacks)
        expected = (self._interpreter.magic_number, self._interpreter.cache_tag)
        if (worker.ready.magic_number, worker.ready.cache_tag) != expected:
            raise InterpreterChangedError(
                f"{self._interpreter.executable} has changed: magic number {worker.ready.magic_number.hex()}, "
                f"it was {expected[0].hex()}"
            )

    def _answered(self, worker: Worker, answer: Reply) -> Iterator[tuple[Job, Answer]]:
        if isinstance(answer, (Unsettled, Lacking)) and (
            worker.apart if isinstance(answer, Unsettled) else worker.codec
        ):
            raise WireError("a worker that has compiled nothing, or has loaded the codec, can't say that")
        spent = worker.busy_for
        job = worker.answered()
        self._senseless_deaths[_is_special(worker)] = 0
        if isinstance(answer, (Unsettled, Lacking)):
            job.apart |= isinstance(answer, Unsettled)
            job.codec = answer.codec if isinstance(answer, Lacking) else job.codec
            self._special.append(job)
            return
        if isinstance(answer, Failed) and answer.kind == "memory" and not job.alone:
            job.alone = True
            self._solo.append(job)
            return
        if job.alone:
            worker.retiring = True
            self._drop(worker)
            if isinstance(answer, Failed) and answer.kind == "memory":
                limit = self._limits.memory if is_memory_ours(self._limits) else 0
                yield job, Lost("memory", answer.name, limit)
                return
        elif isinstance(answer, Compiled):
            microseconds = sum(level.microseconds for level in answer.levels)
            self._pace.learn(job.size, microseconds)
            # We may have been slow to hear it; and one that says that it was quick may lie.
            spent = min(spent, max(microseconds * 1e-6, spent / _MOST_SLOWED))
        self._spend(spent)
        yield job, answer

    def _lose(self, worker: Worker) -> Iterator[tuple[Job, Answer]]:
        """See to the end of a worker, and to what it had before it."""
        self._drop(worker, reap=False)
        spent = -_time_of_children()
        returncode = worker.reap()
        spent += _time_of_children()
        if worker.ready is None and not self.has_worked:
            raise worker.failed_start(returncode)
        jobs = worker.jobs
        worker.jobs = deque()
        if not jobs or worker.retiring or worker.ready is None:
            self._senseless_deaths[_is_special(worker)] += not worker.retiring
            if self._senseless_deaths[_is_special(worker)] >= _MOST_SENSELESS_DEATHS:
                raise InterpreterError(
                    f"{self._interpreter.executable}: workers end by themselves",
                    mend="see whether anything kills them (dmesg), or name another interpreter with --python PATH",
                )
            self._solo.extendleft(job for job in jobs if job.alone)
            self._sent_back_to(worker).extendleft(job for job in reversed(jobs) if not job.alone)
            return
        culprit = jobs.popleft()
        self._sent_back_to(worker).extendleft(reversed(jobs))
        limits = worker.limits
        if worker.overdue:
            self._spend(limits.wall_timeout)
            yield culprit, Lost("timeout", f"no answer within {limits.wall_timeout:g} s")
        elif worker.ran_out_of_time(returncode):
            self._spend(limits.file_timeout)
            # Anybody may send a SIGPROF; the clock of ours doesn't ring before that time is used up.
            limit = limits.file_timeout if spent >= _ENOUGH_OF_IT * limits.file_timeout else 0
            yield culprit, Lost("timeout", f"more than {limits.file_timeout:g} s of CPU time", limit)
        elif culprit.alone:
            yield culprit, Lost("crash", f"the compiler ended: {describe_death(returncode)}")
        else:
            culprit.alone = True
            self._solo.append(culprit)

    def _sent_back_to(self, worker: Worker) -> deque[Job]:
        return self._special if _is_special(worker) else self._again

    def _drop(self, worker: Worker, *, reap: bool = True) -> None:
        self._workers.remove(worker)
        for descriptor in (worker.output, worker.noise, worker.input):
            self._unregister(descriptor)
        if reap:
            worker.reap()

    def _unregister(self, descriptor: int) -> None:
        if self._by_descriptor.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.dismiss()  # all of them, so that they end at the same time
        for worker in list(self._workers):
            self._drop(worker)
        self._end_leases()


def _is_special(worker: Worker) -> bool:
    return worker.apart or bool(worker.codec)


def _time_of_children() -> float:
    """Seconds of CPU that all children which have ended have used."""
    times = os.times()
    return times.children_user + times.children_system
