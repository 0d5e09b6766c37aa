"""A process for the places of others: forked with one thread, it acts in each as the account whose place it is.

The caller's own process never changes its ids, since they are those of all its threads. The one that is forked shares
nothing with it but a socket: over that it asks for the lock, tells what happens, and gives back what became of the
files. It ends with its parent, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...errors import DefectError, PyctriggerError, RefusedError, ShortageError
from ...forking import fork
from ...interpreter.child import describe_death
from ...outcome.observer import Observer
from ...tree.identity import begin_acting, places_met

_LENGTH = struct.Struct("<I")
#: Bytes of one message: what became of a million files is less.
_MOST = 1 << 30
#: Seconds between two looks whether a silent process is still there: another one may hold its end of the socket open.
_PATIENCE = 1.0
#: Messages that wait for each other, and seconds that they do.
_MOST_WAITING, _LONGEST_WAIT = 64, 0.05


_Found = TypeVar("_Found")


class DeathError(Exception):
    """The process ended before its work; the text says how."""


class NoProcessError(Exception):
    """No process can be had; the text says why."""


def look_as_others(look: Callable[[Observer], _Found], observer: Observer) -> _Found:
    """What a look finds that writes nothing; if it meets with places of others, it is had by a process that acts there.

    Raises what `look` raises.
    """
    before = places_met()
    try:
        return_value = look(observer)
    except PyctriggerError:
        if places_met() == before:
            raise
    else:
        if places_met() == before:
            return return_value
    try:
        found: _Found = Apart(observer).perform(lambda line, relay: look(Observer()))
    except (NoProcessError, DeathError) as error:
        raise RefusedError(
            f"others may rename there, and no process can be had that acts as they ({error})",
            hint="run it as the account whose place it is",
        ) from error
    return found


class Line:
    """The child's end."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._waiting: list[tuple[Any, ...]] = []
        self._since = 0.0
        self._kept: list[int] = []

    def tell(self, *message: Any) -> None:
        """Send a message with the next ones."""
        now = time.monotonic()
        self._since = self._since if self._waiting else now
        self._waiting.append(message)
        if len(self._waiting) >= _MOST_WAITING or now - self._since > _LONGEST_WAIT:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._waiting:
            _send(self._channel, self._waiting)
            self._waiting = []

    def enter(self) -> bool:
        """Have the parent take the lock, and keep it as well; whether somebody else had it meanwhile."""
        self.tell("enter")
        self.flush()
        self._kept += socket.recv_fds(self._channel, 1, 1)[1]
        answer = _receive(self._channel)
        return bool(answer)


class Relay(Observer):
    """Tells the parent's observer what the child sees."""

    def __init__(self, line: Line, observer: Observer) -> None:
        self._line = line
        self.is_watched = observer.is_watched
        for name in _EVENTS:
            if getattr(type(observer), name) is not getattr(Observer, name):
                setattr(self, name, self._teller(name))

    def _teller(self, name: str) -> Callable[..., None]:
        return lambda *values: self._line.tell("event", name, values)


_EVENTS = ("notice", "looked", "compiled", "refreshed", "opened", "removed", "skipped", "progress")


class Apart:
    """One process for one piece of work. `enter` is called when it is about to change something, for the lock.

    It gives whether somebody else had the lock meanwhile, and the descriptor by which the child has it, too.
    """

    def __init__(
        self,
        observer: Observer,
        enter: Callable[[], tuple[bool, int | None]] = lambda: (False, None),
        keep: Sequence[int] = (),
    ) -> None:
        self._observer = observer
        self._enter = enter
        #: What it has said of its work up to now.
        self.so_far: list[Any] = []
        #: Descriptors that the child keeps open.
        self._keep = keep

    def perform(self, work: Callable[[Line, Relay], Any]) -> Any:
        """What `work` returns, or raises of PyctriggerError, in a process of its own.

        Raises NoProcessError, and DeathError where it ended without an answer.
        """
        try:
            ours, theirs = socket.socketpair()
            life, held = os.pipe()
        except OSError as error:
            raise NoProcessError(error.strerror) from error
        with contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            stack.callback(os.close, held)
            try:
                child = fork()
            except OSError as error:
                theirs.close()
                os.close(life)
                raise NoProcessError(error.strerror) from error
            if child == 0:
                _be_apart(theirs, life, self._keep, self._observer, work)
            theirs.close()
            os.close(life)
            ending = _Ending(child)
            stack.callback(ending.kill)
            return self._listen(ours, ending)

    def _listen(self, channel: socket.socket, ending: _Ending) -> Any:
        poller = select.poll()
        poller.register(channel, select.POLLIN)
        while True:
            if not poller.poll(int(_PATIENCE * 1000)) and ending.has_come() and not poller.poll(0):
                raise DeathError(ending.describe())
            messages = self._next(channel, ending)
            for kind, *values in messages:
                if kind == "event":
                    name, arguments = values
                    getattr(self._observer, name)(*arguments)
                elif kind == "so far":
                    self.so_far += values
                elif kind == "enter":
                    answer, descriptor = self._enter()
                    socket.send_fds(channel, [b"!"], [] if descriptor is None else [descriptor])
                    _send(channel, answer)
                elif kind == "error":
                    raise values[0]
                elif kind == "done":
                    ending.wait()
                    return values[0]

    def _next(self, channel: socket.socket, ending: _Ending) -> list[tuple[Any, ...]]:
        if not select.select([channel], [], [], 0)[0]:
            return []
        try:
            messages: list[tuple[Any, ...]] = _receive(channel)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            ending.wait()
            raise DeathError(ending.describe()) from error
        return messages


class _Ending:
    """The end of a child: waited for once, brought about if need be."""

    def __init__(self, child: int) -> None:
        self._child = child
        self._status: int | None = None

    def has_come(self) -> bool:
        """Whether it has ended."""
        if self._status is None:
            try:
                found, status = os.waitpid(self._child, os.WNOHANG)
            except ChildProcessError:  # the caller reaps all children there are
                found, status = self._child, 0
            self._status = status if found else None
        return self._status is not None

    def wait(self) -> None:
        """Wait for it: it has said its last word."""
        deadline = time.monotonic() + _PATIENCE
        while not self.has_come() and time.monotonic() < deadline:
            time.sleep(0.001)
        self.kill()

    def kill(self) -> None:
        """Bring it about."""
        if self.has_come():
            return
        with contextlib.suppress(OSError):
            os.kill(self._child, signal.SIGKILL)
        try:
            self._status = os.waitpid(self._child, 0)[1]
        except ChildProcessError:
            self._status = 0

    def describe(self) -> str:
        """How it ended, in words."""
        status = self._status or 0
        return describe_death(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _be_apart(
    channel: socket.socket, life: int, keep: Sequence[int], observer: Observer, work: Callable[[Line, Relay], Any]
) -> None:
    """The child's whole life."""
    try:
        _reset_signals()
        _close_others({channel.fileno(), life, *keep})
        _die_with_parent(life)
        line = Line(channel)
        relay = Relay(line, observer)
        try:
            begin_acting()
            result = work(line, relay)
            line.tell("done", result)
        except PyctriggerError as error:
            line.tell("error", error)
        except OSError as error:
            line.tell("error", error)
        except MemoryError:
            line.tell("error", ShortageError("the process that acts as others ran out of memory"))
        except Exception as error:  # noqa: BLE001 - the parent says it
            line.tell("error", DefectError(f"{type(error).__name__}: {error} {_where(error)}"))
        line.flush()
    finally:
        os._exit(0)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    places = []
    while trace is not None:
        places.append(f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"({' '.join(places)})"


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
    for directory in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError, ValueError):
            return max(map(int, os.listdir(directory)))
    return min(os.sysconf("SC_OPEN_MAX"), 1 << 16)


def _die_with_parent(life: int) -> None:
    """Have the kernel end us when the parent's end of a pipe closes: set-id calls take prctl(2)'s word back.

    SIGIO's default action ends a process on Linux (fcntl(2), F_SETOWN); FreeBSD has procctl(2), which they don't undo.
    """
    import fcntl

    if sys.platform.startswith("freebsd"):
        import ctypes

        wanted = ctypes.c_int(signal.SIGKILL)
        procctl = ctypes.CDLL(None).procctl
        procctl.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p]
        procctl(0, 0, 11, ctypes.byref(wanted))  # P_PID, ourselves, PROC_PDEATHSIG_CTL
    else:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    poller = select.poll()
    poller.register(life, 0)
    if poller.poll(0):
        os._exit(0)


def _send(channel: socket.socket, value: Any) -> None:
    data = pickle.dumps(value)
    channel.sendall(_LENGTH.pack(len(data)) + data)


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
