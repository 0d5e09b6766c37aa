"""A process of ours that works for the command: it may be taken over by what it reads, or die over it.

It is this Python, started afresh and isolated; as root it has an account of its own. It talks through one socket, and
what it says is checked by whoever asked.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from ..clibrary import call
from ..errors import ShortageError
from .child import describe_death, kill, start_own
from .remote.powerless import become, die_with_host
from .worker_accounts import lease

#: What it says first, once it can work.
READY = b"pyctrigger-reader-1\n"
#: Seconds until it has imported what it needs.
_START_TIMEOUT = 60.0
_PIECE = 1 << 18
#: Bytes of its standard error that are kept for a message: it has nothing to say, unless it can't start.
_MOST_STDERR = 4096
#: <linux/prctl.h>
_PR_SET_NO_NEW_PRIVS = 38


class NoAnswerError(Exception):
    """What it said isn't an answer."""


class Servant:
    """One such process, and our end of its socket."""

    def __init__(self, module: str, settings: Sequence[object], task: str, *, network: bool = False) -> None:
        """Start it to call `serve` of a module, with socket, lifeline, account and settings. Raises ShortageError."""
        self._task = task
        self._is_ready = False
        self._ending = ""
        life, self._life = os.pipe()
        self.channel, theirs = socket.socketpair()
        #: Its account, which it takes itself: this Python may lie where only root can reach it.
        self._lease = lease(None)
        uid = -1 if self._lease is None else self._lease.account.uid
        try:
            self._child = start_own(
                f"pyctrigger.{module}",
                (theirs.fileno(), life, uid, *settings),
                network=network,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(), life),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._close()
            reason = getattr(error, "strerror", None) or str(error)
            raise ShortageError(f"no process to {task} can be started: {reason}") from error
        finally:
            theirs.close()
            os.close(life)

    def wait_until_ready(self) -> None:
        """Wait until it has said so. Raises ShortageError."""
        if self._is_ready:
            return
        reason = ""
        try:
            self._is_ready = self.receive(len(READY), time.monotonic() + _START_TIMEOUT) == READY
        except TimeoutError:
            reason = "it was not ready in time"
        except NoAnswerError:
            pass
        if not self._is_ready:
            raise ShortageError(f"the process to {self._task} did not start: {reason or self.end()}")

    def receive(self, size: int, deadline: float | None) -> bytes:
        """Returns exactly so many bytes. Raises TimeoutError, and NoAnswerError if it has ended."""
        received = bytearray()
        while len(received) < size:
            self.channel.settimeout(seconds_left(deadline))
            try:
                piece = self.channel.recv(min(size - len(received), _PIECE))
            except socket.timeout as error:
                raise TimeoutError from error
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise NoAnswerError("it has ended")
            received += piece
        return bytes(received)

    def receive_frame(self, most: int, deadline: float | None) -> bytes:
        """Returns what it says next, with its length before it. Raises TimeoutError, NoAnswerError."""
        length = int.from_bytes(self.receive(4, deadline), "little")
        if not 0 < length <= most:
            raise NoAnswerError("it is none")
        return self.receive(length, deadline)

    def kill(self) -> None:
        """Kill it; it still has to be ended."""
        kill(self._child)

    def end(self) -> str:
        """End it, whatever it does. Returns how it had ended by itself."""
        if not self._ending:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(0.5)
            kill(self._child)
            died = self._child.wait()
            self._close()
            assert self._child.stderr is not None
            os.set_blocking(self._child.stderr.fileno(), False)
            with self._child.stderr as stream:
                self._ending = describe_death(died, stream.read(_MOST_STDERR) or b"")
        return self._ending

    def _close(self) -> None:
        self.channel.close()
        os.close(self._life)
        if self._lease is not None:
            self._lease.end()


def seconds_left(deadline: float | None) -> float | None:
    """Returns how long one may still wait; None: for ever. Raises TimeoutError."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


# -- in the process itself, if it has a network -----------------------------------------------------------------------


def preload(*names: str) -> None:
    """Import what may be needed later: whoever has no rights may not be able to read it any more."""
    for name in ("encodings.idna", "ssl", *names):
        with contextlib.suppress(ImportError):  # not every release has it; what needs it will say so
            importlib.import_module(name)


def give_up_rights(life: int, uid: int, memory: int) -> None:
    """Take the account `uid` (-1: keep that of the command), bound the memory, and never get more rights again."""
    import resource

    die_with_host(life)
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory)):
        hard = resource.getrlimit(kind)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (allowed, allowed))
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):  # before the account is taken, which may not be able to load ctypes
            call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if uid >= 0:
        become(uid, uid)


def receive_exactly(channel: socket.socket, size: int) -> bytes:
    """Returns so many bytes, or none if the other side has gone."""
    received = bytearray()
    while len(received) < size:
        piece = channel.recv(min(size - len(received), _PIECE))
        if not piece:
            return b""
        received += piece
    return bytes(received)


def receive_frame(channel: socket.socket, most: int) -> bytes:
    """Returns what is said next, with its length before it; nothing if that is nothing, or more than `most` bytes."""
    length = int.from_bytes(receive_exactly(channel, 4), "little")
    return receive_exactly(channel, length) if 0 < length <= most else b""


def send_frame(channel: socket.socket, said: bytes) -> None:
    """Say something, with its length before it."""
    channel.sendall(len(said).to_bytes(4, "little") + said)
