"""A run's end of the socket to the process that asks a store: that may have been taken over by what it was sent."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.store.container import Packing, StoredCode, pack
from pyctrigger.store.remote import frames
from pyctrigger.store.remote.asking import RemoteBackend, RemoteSettings, RemoteStore
from pyctrigger.store.remote.frames import ABSENT, FOUND, MISS, TROUBLE, Answer
from pyctrigger.store.remote.trouble import REASONS, Trouble
from unit.store.shelves import PUBLIC, code, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOM = 10_000
#: What the other side says for each key that it is asked for.
Talk = Callable[[bytes], bytes]


class Asking:
    """A backend whose other side is ours."""

    def __init__(self, timeout: float) -> None:
        self.remote = RemoteStore(RemoteSettings("redis://u:secret@host/", (), "", timeout))
        self.remote.signers = [PUBLIC]
        self.asked: list[bytes] = []
        held: Any = self.remote
        held.connect = self._connect
        self.backend = RemoteBackend(self.remote)
        self.talk: Talk = lambda key: frames.pack_answer(Answer(ABSENT))
        self._threads: list[threading.Thread] = []
        self.is_closed = False

    def _connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self._threads.append(threading.Thread(target=self._serve, args=[theirs]))
        self._threads[-1].start()
        return ours

    def _serve(self, channel: socket.socket) -> None:
        with channel:
            while head := channel.recv(4, socket.MSG_WAITALL):
                body = channel.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL)
                for want in frames.wants_of(body):
                    self.asked.append(want.key)
                    try:
                        channel.sendall(self.talk(want.key))
                    except OSError:
                        return

    def close(self) -> list[str]:
        """Returns what is said of it at the end."""
        self.is_closed = True
        self.backend.close()
        for thread in self._threads:
            thread.join()
        notices = self.remote.notices()
        self.remote.close()
        return notices


@pytest.fixture
def asking() -> Iterator[Asking]:
    """With time enough."""
    found = Asking(30)
    yield found
    if not found.is_closed:
        found.close()


def found(number: int, packing: Packing = Packing.NONE) -> bytes:
    """The answer for a number's key."""
    return frames.pack_answer(Answer(FOUND, 0, pack(code(number), packing)))


KEYS = {key_of(number): number for number in range(100)}


def test_what_comes_is_in_its_place(asking: Asking) -> None:
    """Asked ahead or not, once for several users, and named with its signer."""
    asking.talk = lambda key: found(KEYS[key]) if KEYS[key] % 2 else frames.pack_answer(Answer(ABSENT))
    ahead = list(KEYS)[:50]
    asking.backend.ask([(key, ROOM) for key in (*ahead, *ahead)])
    got = asking.backend.get(list(KEYS), ROOM)
    assert [code(number)._replace(signer=PUBLIC) if number % 2 else None for number in range(100)] == got
    assert got[:50] == asking.backend.get(ahead, ROOM)
    asking.backend.forget(ahead)
    assert got[:50] == asking.backend.get(ahead, ROOM)
    assert list(KEYS) == asking.asked
    asking.backend.forget(ahead)
    assert got[:50] == asking.backend.get(ahead, ROOM)
    assert [*KEYS, *ahead] == asking.asked
    assert [] == asking.close()
    assert not asking.backend._answers
    assert not asking.backend._users


SLOW = "store redis://host: it took longer than it saved by `timeout` seconds; the rest was compiled"
LOST = "store redis://host: the process that asked it ended; the rest was compiled"
#: What the other side says to the second key, and what is said at the end.
LIES: dict[str, tuple[bytes, str]] = {
    "nothing more": (b"", SLOW),
    "no frame": (b"\xff" * 100, LOST),
    "packed code": (found(1, Packing.ZLIB), LOST),
    "another key's": (found(2), LOST),
    "another signer's": (frames.pack_answer(Answer(FOUND, 1, pack(code(1)))), LOST),
    "flipped code": (found(1)[:-1] + b"?", LOST),
    "too much": (frames.pack_answer(Answer(FOUND, 0, bytes(2 * ROOM))), LOST),
    "what isn't asked": (frames.pack_answer(Answer(frames.KEPT)), LOST),
    "words": (b"store secret", LOST),
    "a trouble": (
        frames.pack_answer(Answer(TROUBLE, Trouble.NOT_ALLOWED)),
        "store redis://host: it refuses this user or password; the rest was compiled",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_process_that_was_taken_over(lie: str) -> None:
    """Nothing of it is believed, it isn't asked again, and what came before is used."""
    asking = Asking(0.2 if lie == "nothing more" else 30)
    answer, notice = LIES[lie]
    asking.talk = lambda key: found(0) if KEYS[key] == 0 else answer
    got = asking.backend.get(list(KEYS)[:3], ROOM)
    assert [code(0)._replace(signer=PUBLIC), None, None] == got
    assert asking.backend.is_lost
    assert [None] == asking.backend.get([key_of(50)], ROOM)
    assert [notice] == asking.close()


def test_a_run_waits_no_longer_than_it_may() -> None:
    """Beyond what was saved, which is counted by whoever uses it."""
    asking = Asking(0.2)
    asking.talk = lambda key: b""
    asking.backend.count_saved(0.3)
    begun = time.monotonic()
    assert [None] == asking.backend.get([key_of(1)], ROOM)
    assert 0.5 <= time.monotonic() - begun < 2.0
    begun = time.monotonic()
    assert [None] * 99 == asking.backend.get(list(KEYS)[1:], ROOM)
    assert time.monotonic() - begun < 0.1
    asking.close()


def test_misses_are_counted_by_their_reason(asking: Asking) -> None:
    """And told in one line, over all processes of a run."""
    asking.talk = lambda key: frames.pack_answer(Answer(MISS, KEYS[key] % 2))
    assert [None] * 5 == asking.backend.get(list(KEYS)[:5], ROOM)
    assert [f"store redis://host: not used: 3 {REASONS[0]}, 2 {REASONS[1]}"] == asking.close()


def test_nothing_is_ever_written(asking: Asking) -> None:
    """By a run."""
    assert not asking.backend.is_writable
    asking.backend.put([code(1), StoredCode(key_of(2), None, 1)])
    assert [] == asking.asked
