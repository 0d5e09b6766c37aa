"""A process for the places of others: forked with one thread, it acts in each as the account whose place it is.

The caller's own process never changes its ids, since they are those of all its threads. The one that is forked shares
nothing with it but a socket: over that it asks for the lock, and reports what happens and what became of the files. It
ends with its parent, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Sequence
from functools import partial

from ...errors import DefectError, PyctriggerError, RefusedError, ShortageError
from ...forking import fork
from ...interpreter.child import describe_death
from ...interpreter.remote.powerless import die_with_host
from ...outcome.observer import Observer
from ...tree.identity import begin_acting, places_met
from ...typed import Any, TypeVar

_LENGTH = struct.Struct("<I")
#: Bytes of one message: what became of a million files is less.
_MOST = 1 << 30
#: Seconds between two checks that a silent process is still alive: another one may hold its end of the socket open.
_PATIENCE = 1.0
#: Messages that wait for each other, and seconds that they do.
_MOST_WAITING, _LONGEST_WAIT = 64, 0.05

_Found = TypeVar("_Found")


class NoProcessError(Exception):
    """No process can be started; the text says why."""


class DeathError(NoProcessError):
    """The process ended before its work; the text says how."""


def look_as_others(look: Callable[[Observer], _Found], observer: Observer) -> _Found:
    """Returns what `look` finds, which writes nothing. If it meets other accounts' places, a process looks as they do.

    Raises what `look` raises.
    """
    before = places_met()
    try:
        found = look(observer)
        if places_met() == before:
            return found
    except PyctriggerError:
        if places_met() == before:
            raise
    try:
        return act_as_others(lambda _: look(Observer()))
    except NoProcessError as error:
        raise RefusedError(
            f"others may rename there, and no process can act as they do ({error})",
            hint="run it as the account whose place it is",
        ) from error


class Relay(Observer):
    """The child's end of the socket: passes on to the parent what is observed, and what became of files."""

    def __init__(self, channel: socket.socket, observer: Observer) -> None:
        self._channel = channel
        self._waiting: list[tuple[Any, ...]] = []
        self._since = 0.0
        #: The descriptor of the lock, while it is held.
        self.kept: list[int] = []
        self.is_watched = observer.is_watched
        for name, method in vars(Observer).items():
            if callable(method) and getattr(type(observer), name) is not method:
                setattr(self, name, partial(self.send, "event", name))

    def send(self, *message: Any) -> None:
        """Send a message, together with the next ones."""
        now = time.monotonic()
        self._since = self._since if self._waiting else now
        self._waiting.append(message)
        if len(self._waiting) >= _MOST_WAITING or now - self._since > _LONGEST_WAIT:
            self.flush()

    def receive(self) -> Any:
        """Returns what the parent sends next. Raises EOFError where there is nothing more."""
        return _receive(self._channel)

    def fileno(self) -> int:
        """The descriptor by which it comes."""
        return self._channel.fileno()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            self._channel.sendall(packed(self._waiting))
            self._waiting = []

    def enter(self) -> bool:
        """Have the parent take the lock, and keep it as well. Returns whether another process had it meanwhile."""
        self.send("enter")
        self.flush()
        answer, descriptors, *_ = socket.recv_fds(self._channel, 1, 1)  # the lock's descriptor stays open
        if not answer:
            raise EOFError  # the parent has ended, and we end with it
        self.kept += descriptors
        return answer != _UNCHANGED


#: What the parent answers where nobody else had the lock meanwhile, and otherwise.
_UNCHANGED, _OUTDATED = b"=", b"!"


def act_as_others(
    work: Callable[[Relay], _Found],
    observer: Observer | None = None,
    *,
    enter: Callable[[], tuple[bool, int | None]] = lambda: (False, None),
    take: Callable[[Any], None] = lambda outcome: None,
    keep: Sequence[int] = (),
) -> _Found:
    """Returns what `work` returns, or raises of PyctriggerError and OSError, in a process of its own.

    `enter` is called before its first change; it takes the lock, and returns whether another process had it meanwhile,
    and the descriptor by which the child has it, too. `take` is called with what became of files. `keep` are
    descriptors that the child keeps open.

    Raises NoProcessError, and DeathError where it ended without an answer.
    """
    observer = observer or Observer()

    def act(relay: Relay) -> _Found:
        # Now: as some accounts we couldn't read Python's library.
        from ...tree import source, ways  # noqa: F401

        begin_acting()
        return work(relay)

    try:
        child = Child(act, observer, keep)
    except OSError as error:
        raise NoProcessError(error.strerror) from error
    with child:
        while True:
            for kind, *values in child.receive():
                if kind == "event":
                    name, *arguments = values
                    getattr(observer, name)(*arguments)
                elif kind == "take":
                    take(*values)
                elif kind == "enter":
                    is_outdated, descriptor = enter()
                    answer = _OUTDATED if is_outdated else _UNCHANGED
                    socket.send_fds(child.channel, [answer], [] if descriptor is None else [descriptor])
                elif kind == "error":
                    raise values[0]
                elif kind == "done":
                    child.end(_PATIENCE)
                    found: _Found = values[0]
                    return found


class Child:
    """A process that does `work`, and sends what becomes of it; `keep` are descriptors that it keeps open.

    It ends with its parent, or with the `with` block. Raises OSError if it can't be started.
    """

    def __init__(self, work: Callable[[Relay], Any], observer: Observer, keep: Sequence[int] = ()) -> None:
        self._status: int | None = None
        self.channel, other_end = socket.socketpair()
        with contextlib.ExitStack() as ours, other_end:
            ours.callback(self.channel.close)
            life, self._held = os.pipe()
            ours.callback(os.close, self._held)
            host = os.getpid()
            try:
                self._child = fork()
                if self._child == 0:
                    _live_in_child(other_end, (life, host), keep, observer, work)
            finally:
                os.close(life)
            self._ours = ours.pop_all()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._ours.close()

    def receive(self) -> list[tuple[Any, ...]]:
        """Returns its next messages. Raises DeathError."""
        try:
            while not self.says_more(_PATIENCE):
                if self.has_ended() and not self.says_more(0):
                    raise EOFError
            messages: list[tuple[Any, ...]] = _receive(self.channel)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.end(_PATIENCE)
            raise DeathError(describe_death(os.waitstatus_to_exitcode(self._status or 0))) from error
        return messages

    def says_more(self, seconds: float) -> bool:
        """Whether something comes within these seconds."""
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def has_ended(self, options: int = os.WNOHANG) -> bool:
        """Whether it has ended; without options, once it has."""
        if self._status is None:
            try:
                found, status = os.waitpid(self._child, options)
            except ChildProcessError:  # the caller reaps all children there are
                found, status = self._child, 0
            self._status = status if found else None
        return self._status is not None

    def end(self, seconds: float = 0.0) -> None:
        """Kill it, unless it ends by itself within these seconds."""
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.001)
        if not self.has_ended():
            with contextlib.suppress(OSError):
                os.kill(self._child, signal.SIGKILL)
            self.has_ended(0)


def _live_in_child(
    channel: socket.socket,
    parent: tuple[int, int],
    keep: Sequence[int],
    observer: Observer,
    work: Callable[[Relay], Any],
) -> None:
    try:
        life, host = parent
        _reset_signals()
        _close_others({channel.fileno(), life, *keep})
        die_with_host(life)
        _look_after(host)
        relay = Relay(channel, observer)
        try:
            relay.send("done", work(relay))
        except (PyctriggerError, OSError) as error:
            relay.send("error", error)
        except MemoryError:
            relay.send("error", ShortageError("the process that acts as others ran out of memory"))
        except Exception as error:  # noqa: BLE001 - the parent reports it
            relay.send("error", DefectError(f"{type(error).__name__}: {error} ({_describe_place(error)})"))
        relay.flush()
    finally:
        os._exit(0)


def _look_after(host: int) -> None:
    """End without the host, even if another process has its ends of pipe and socket open, and whatever we wait for."""

    def look(*_: object) -> None:
        if os.getppid() != host:
            os._exit(0)

    signal.signal(signal.SIGALRM, look)
    with contextlib.suppress(OSError):  # setitimer is refused
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE, _PATIENCE)


def _describe_place(error: BaseException) -> str:
    import traceback

    steps = traceback.extract_tb(error.__traceback__)
    return " ".join(f"{os.path.basename(step.filename)}:{step.lineno}" for step in steps)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent that is interrupted
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _close_others(keep: set[int]) -> None:
    """Close all descriptors but these: the pipe by which somebody else's child knows that its parent lives, as well."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    first = 3
    for kept in sorted(keep):
        os.closerange(first, kept)
        first = max(first, kept + 1)
    os.closerange(first, _last_descriptor() + 1)


def _last_descriptor() -> int:
    with contextlib.suppress(OSError):
        return max(map(int, os.listdir("/proc/self/fd")))
    return os.sysconf("SC_OPEN_MAX")


def packed(value: Any) -> bytes:
    """Returns a message."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _receive(channel: socket.socket) -> Any:
    """The next value. Raises EOFError where it isn't whole."""
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    if length > _MOST:
        raise EOFError
    return pickle.loads(_exactly(channel, length))  # noqa: S301 - from our own fork, which nobody else can write to


def _exactly(channel: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = channel.recv(min(size, 1 << 20))
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
