"""A store of another machine, as a run asks it: through a confined process, and never for longer than that is worth.

remote = RemoteStore(url, settings...)     for a run: the process that asks, and what was waited for
backend = RemoteBackend(remote)            for each process of the run
backend.ask(keys, largest of each); backend.get(keys, largest); backend.forget(keys)
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...errors import PyctriggerError, ShortageError
from ...interpreter.servant import Servant, send_frame
from ..container import LARGEST_PAYLOAD, Flaw, StoredCode, unpack
from ..key_files import read_password, read_trusted
from . import frames
from .address import parse_address
from .balance import Balance, Counted
from .frames import ABSENT, FOUND, MISS, MOST_WANTS, TROUBLE, Answer, NoFrameError, Want
from .trouble import REASONS, Told, Trouble

#: Seconds between two looks at how long all processes of the run have waited.
_LOOK = 0.01
_PIECE = 1 << 18
_NEVER = Told(Trouble.LOST)


class RemoteSettings(NamedTuple):
    """What a configuration says of such a store."""

    url: str
    trusted_keys: Sequence[str]
    password_file: str
    timeout: float


class RemoteStore:
    """A store of another machine, for all processes of a run. Raises OSError where there is no memory for it."""

    def __init__(self, settings: RemoteSettings, *, reads: bool = True) -> None:
        """Without `reads` it is only written, and no key is needed."""
        self._reads = reads
        self._settings = settings
        self._address = parse_address(settings.url)
        self.balance = Balance(settings.timeout)
        self._servant: Servant | None = None
        #: How many keys are trusted.
        self.signers: list[bytes] = []
        #: Why it can't be asked, if that was found out here.
        self.problem = ""

    @property
    def name(self) -> str:
        """What it is called, without any secret."""
        return self._address.shown

    @property
    def descriptors(self) -> list[int]:
        """What a forked process of the run has to keep open."""
        own = [] if self._servant is None else [self._servant.channel.fileno()]
        return [self.balance.fileno(), *own]

    def start(self) -> bool:
        """Start the process that asks, unless it was; returns whether it was once. Waits for nothing."""
        if self._servant is None and not self.problem and self.balance.trouble is None:
            try:
                self._servant = self._start()
            except PyctriggerError as error:
                self.problem = error.message + (f" ({error.hint})" if error.hint else "")
        return self._servant is not None

    def _start(self) -> Servant:
        settings, address = self._settings, self._address
        if self._reads:
            self.signers = list(dict.fromkeys(read_trusted(settings.trusted_keys)))
        if self._reads and not self.signers:
            raise ShortageError(
                "without trusted keys nothing in it can be believed", hint="set trusted_keys in [store]"
            )
        if len(self.signers) > 255:
            raise ShortageError("too many keys are trusted", hint="name at most 255 trusted_keys in [store]")
        password = address.password
        if settings.password_file:
            password = read_password(settings.password_file).decode("utf-8", "surrogateescape")
        servant = Servant("store.remote.serving", (), "ask the store", network=True)
        told = {
            "address": address._replace(password=None),
            "password": password,
            "trusted": [each.hex() for each in self.signers],
        }
        try:
            send_frame(servant.channel, json.dumps(told).encode())
        except OSError:
            servant.end()
            raise ShortageError("the process to ask it did not start") from None
        return servant

    def connect(self) -> socket.socket | None:
        """Returns a socket to the process that asks; None if there is none."""
        if not self.start() or self._servant is None:
            return None
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._servant.channel, [b"+"], [theirs.fileno()])
            except OSError:
                ours.close()
                self.balance.give_up(_NEVER)
                return None
        return ours

    def notices(self) -> list[str]:
        """Returns what is to be said of it, at the end of a run: one line at most."""
        said = []
        if self.problem:
            said.append(f"it was not asked: {self.problem}")
        elif trouble := self.balance.trouble:
            said.append(f"{trouble.words}; the rest was compiled")
        if flaws := self.balance.counted().flaws:
            named = ", ".join(f"{count} {reason}" for reason, count in sorted(flaws.items()))
            said.append(f"not used: {named}")
        return [f"store {self.name}: {'; '.join(said)}"] if said else []

    def close(self) -> None:
        """End the process that asks."""
        if self._servant is not None:
            with contextlib.suppress(OSError):
                self._servant.channel.shutdown(socket.SHUT_WR)
            self._servant.end()
            self._servant = None
        self.balance.close()


class RemoteBackend:
    """A store of another machine, for one process of a run. It is asked ahead, and read from only."""

    is_writable = is_private = has_company = False
    origin = bytes(16)

    def __init__(self, remote: RemoteStore) -> None:
        self._remote = remote
        #: What it is called.
        self.name = remote.name
        self._channel: socket.socket | None = None
        self._is_over = False
        self._received = bytearray()
        self._unsent = bytearray()
        #: Keys whose answers are to come, in their order; those that came; and for how many sources each was asked.
        self._pending: deque[Want] = deque()
        self._answers: dict[bytes, StoredCode | None] = {}
        self._users: Counter[bytes] = Counter()
        self._counted = Counted()
        self._saved = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether nothing is asked any more in this run."""
        if not self._is_over and self._remote.balance.trouble is not None:
            self._end(None)
        return self._is_over

    def ask(self, wants: Iterable[tuple[bytes, int]]) -> None:
        """Ask for keys ahead of their turn, and bytes of a payload at most. Each has to be forgotten once."""
        if self.is_lost:
            return
        new = [Want(key, largest) for key, largest in wants if self._count_user(key) == 1]
        if not new:
            return
        if self._channel is None:
            self._channel = self._remote.connect()
            if self._channel is None:
                self._end(None)
                return
            self._channel.setblocking(False)
        self._pending.extend(new)
        for begin in range(0, len(new), MOST_WANTS):
            self._unsent += frames.get_request(new[begin : begin + MOST_WANTS])
        self._send()

    def _count_user(self, key: bytes) -> int:
        self._users[key] += 1
        return self._users[key]

    def forget(self, keys: Iterable[bytes]) -> None:
        """Drop the answers for keys that were asked for."""
        for key in keys:
            self._users[key] -= 1
            if self._users[key] <= 0:
                del self._users[key]
                self._answers.pop(key, None)

    def get(self, keys: Sequence[bytes], largest: int = LARGEST_PAYLOAD) -> list[StoredCode | Flaw | None]:
        """Returns for each key what was sent, or None. Waits for what comes, if that is worth it. Raises nothing."""
        missing = [key for key in keys if key not in self._users]
        self.ask([(key, largest) for key in missing])
        found: list[StoredCode | Flaw | None] = [self._await(key) for key in keys]
        self.forget(key for key in missing if key in self._users)
        return found

    def discard(self, count: int, reason: str) -> None:
        """Count so many codes that were given, and can't be used, as misses."""
        self._counted.flaws[reason] += count

    def put(self, codes: Iterable[StoredCode]) -> None:
        """Nothing: a run never writes to another machine."""

    def count_saved(self, seconds: float) -> None:
        """Count what compiling would have taken of what is used."""
        self._saved += seconds

    def take_notices(self) -> list[str]:
        """Returns nothing: what there is to say is said once for a run."""
        return []

    def close(self) -> None:
        """Add what was counted to what the whole run counts."""
        self._end(None)
        self._remote.balance.add(self._counted)
        self._counted = Counted()

    def _await(self, key: bytes) -> StoredCode | None:
        while key not in self._answers and not self._is_over and key in self._users:
            if not self._take_answer():
                self._receive()
        return self._answers.get(key)

    def _receive(self) -> None:
        """Wait until something comes, and count that."""
        assert self._channel is not None
        poller = select.poll()
        poller.register(self._channel, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if not poller.poll(0):
            self._wait(poller)
        if self._is_over:
            return
        self._send()
        try:
            piece = self._channel.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        self._received += piece
        if not piece and not self._take_answer():
            self._end(_NEVER)

    def _wait(self, poller: select.poll) -> None:
        balance = self._remote.balance
        if self._saved:
            balance.saved(self._saved)
            self._saved = 0.0
        since = time.monotonic()
        left = balance.waited(since)
        while left > 0 and not self.is_lost:
            ready = poller.poll(max(1.0, min(_LOOK, left) * 1000))
            now = time.monotonic()
            left = balance.waited(since)
            since = now
            if ready:
                return
        self._end(Told(Trouble.TOO_SLOW))

    def _send(self) -> None:
        """Send as much as the socket takes."""
        if self._channel is not None and self._unsent:
            try:
                del self._unsent[: self._channel.send(self._unsent)]
            except BlockingIOError:
                pass
            except OSError:
                self._unsent.clear()  # it has ended, as reading will show

    def _take_answer(self) -> bool:
        """Take in the next answer, if it is whole. Returns whether it was, or nothing more can come."""
        if not self._pending:
            return False
        want = self._pending[0]
        try:
            answer = frames.take_answer(self._received, want.largest, len(self._remote.signers))
            if answer is None:
                return False
            if answer.state == TROUBLE:
                self._end(frames.told(answer))
                return True
            self._pending.popleft()
            code = self._code(want, answer)
        except NoFrameError:
            self._end(_NEVER)
            return True
        if want.key in self._users:
            self._answers[want.key] = code
        return True

    def _code(self, want: Want, answer: Answer) -> StoredCode | None:
        """Returns the code of an answer, and counts it. Raises NoFrameError."""
        if answer.state == MISS:
            self._counted.flaws[REASONS[answer.detail]] += 1
            return None
        if answer.state == ABSENT:
            self._counted.absent += 1
            return None
        if answer.state != FOUND:
            raise NoFrameError
        # Nothing is unpacked here: only what isn't packed is taken.
        code = unpack(answer.content, want.key, want.largest) if not answer.content[0] else None
        if not isinstance(code, StoredCode):
            raise NoFrameError
        self._counted.hits += 1
        return code._replace(signer=self._remote.signers[answer.detail])

    def _end(self, told: Told | None) -> None:
        """Ask nothing more; if something is told, no other process of the run does."""
        if told is not None:
            self._remote.balance.give_up(told)
        self._is_over = True
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._pending.clear()
        self._received.clear()
        self._unsent.clear()
