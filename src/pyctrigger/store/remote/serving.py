"""The process that asks a store of another machine: names, network, TLS, signatures and packing are its alone.

It is this Python started afresh, without rights, and it is told what it needs to know through its socket. It forks for
each process of the run that asks, and each fork has connections of its own. What is found is checked in full, and what
is handed on is never packed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial

from ...errors import PyctriggerError
from ...forking import fork
from ...interpreter.remote.powerless import bound
from ...interpreter.servant import give_up_rights, preload, receive_frame
from ..container import SMALLEST_CONTAINER, StoredCode, pack, unpack
from ..seal import LARGEST_SEAL, SealFlaw, Seals
from ..signing import verifier_of
from . import frames
from .address import Address
from .frames import ABSENT, FOUND, KEPT, MISS, TROUBLE, Answer, Want
from .transport import Gotten, Transport, trouble_of
from .trouble import REASONS, Refusal, Trouble, TroubleError

#: Bytes of address space: a store may send anything. Threads reserve most of it.
_MOST_MEMORY = 4 << 30
#: Processes, and threads, of the account, if it has one of its own.
_MOST_PROCESSES = 1024
_LARGEST_SETTINGS = 1 << 16
#: Keys for which a server may answer nothing but errors.
_MOST_REFUSALS = 8
_TRYING = (Refusal.REDIRECTED, Refusal.SERVER_ERROR)
_NUMBERS = {reason: number for number, reason in enumerate(REASONS)}


def serve(channel_number: int, life: int, uid: int) -> None:
    """Fork for each socket that comes, until nobody is there to send one."""
    preload(
        "concurrent.futures.thread",
        "zlib",
        "compression.zstd",
        "backports.zstd",
    )
    channel = socket.socket(fileno=channel_number)
    settings = json.loads(receive_frame(channel, _LARGEST_SETTINGS))
    address = Address(*settings["address"])
    signers = [bytes.fromhex(each) for each in settings["trusted"]]
    transport, seals = _prepare(address, settings["password"], signers)
    give_up_rights(life, uid, _MOST_MEMORY)
    bound(_MOST_PROCESSES if uid >= 0 else 0)
    if sys.platform.startswith("linux") and os.getpgrp() == os.getpid():
        with contextlib.suppress(OSError):
            fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())  # the forks, too, end with the run
    forks: list[int] = []
    while True:
        said, descriptors, *_ = socket.recv_fds(channel, 1, 1)
        forks = [each for each in forks if not _has_ended(each)]
        if not said:
            break
        for descriptor in descriptors:
            child = fork()
            if not child:
                try:
                    channel.close()
                    _answer_all(socket.socket(fileno=descriptor), transport, seals, signers)
                finally:
                    os._exit(0)
            forks.append(child)
            os.close(descriptor)
    # Who ends us waits until nothing runs under our account, and whoever inherits our forks may be in no hurry.
    for each in forks:
        os.kill(each, signal.SIGKILL)
        os.waitpid(each, 0)


def _has_ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def _prepare(
    address: Address, password: str | None, signers: list[bytes]
) -> tuple[Callable[[], Transport], Seals | None]:
    """Returns what makes a transport, and what checks signatures, if the library is there.

    Both are used once, over nothing of a stranger's: what they import late can't be read later.
    """
    make: Callable[[], Transport]
    if address.is_redis:
        from .by_redis import RedisTransport

        preload("redis", "redis.connection", "redis.backoff", "redis.retry")
        make = partial(RedisTransport, address, password)
    else:
        from .by_http import HttpTransport

        make = partial(HttpTransport, address, password)
    seals = None
    with contextlib.suppress(Exception):  # whoever makes one for use will say so
        make()
    with contextlib.suppress(PyctriggerError, ValueError):
        seals = Seals(signers)
        for signer in signers[:1]:
            verifier_of(signer)(bytes(64), b"")
    return make, seals


def _answer_all(
    channel: socket.socket, make: Callable[[], Transport], seals: Seals | None, signers: list[bytes]
) -> None:
    """Answer one process of the run until it has gone, or nothing can be asked any more."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            shelf = _Shelf(make(), seals, signers)
            while body := receive_frame(channel, frames.LARGEST_REQUEST):
                for answer in shelf.answers(body):
                    channel.sendall(frames.pack_answer(answer))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:  # noqa: BLE001 - whatever a library says, the run has to be told
            found = trouble_of(error)
            channel.sendall(frames.pack_answer(Answer(TROUBLE, found.trouble, number=found.number)))


class _Shelf:
    """A store, asked and checked."""

    def __init__(self, transport: Transport, seals: Seals | None, signers: list[bytes]) -> None:
        self._signers = signers
        self._transport = transport
        self._seals = seals
        self._refusals = 0

    def answers(self, body: bytes) -> Iterator[Answer]:
        """Yields the answers to a request. Raises TroubleError."""
        if body[:1] == frames.HAS:
            for there in self._transport.has([key.hex() for key in frames.keys_of(body)]):
                yield _refused(there) if isinstance(there, Refusal) else Answer(KEPT if there else ABSENT)
            return
        if body[:1] == frames.PUT:
            for refusal in self._transport.put([(key.hex(), content) for key, content in frames.pairs_of(body)]):
                yield Answer(KEPT) if refusal is None else _refused(refusal)
            return
        if self._seals is None:
            raise TroubleError(Trouble.NO_SIGNATURES)
        wants = frames.wants_of(body)
        for want, gotten in zip(wants, self._transport.get([_sealed(each) for each in wants])):
            self._refusals = self._refusals + 1 if gotten in _TRYING else 0
            if self._refusals > _MOST_REFUSALS:
                raise TroubleError(Trouble.FAILING)
            yield self._answer(self._seals, want, gotten)

    def _answer(self, seals: Seals, want: Want, gotten: Gotten) -> Answer:
        if gotten is None:
            return Answer(ABSENT)
        if isinstance(gotten, Refusal):
            return _refused(gotten)
        opened = seals.open(gotten, want.key, SMALLEST_CONTAINER + want.largest)
        if isinstance(opened, SealFlaw):
            return Answer(MISS, _NUMBERS[opened.value])
        container, signer = opened
        found = unpack(container, want.key, want.largest)
        if not isinstance(found, StoredCode):
            return Answer(MISS, _NUMBERS[found.value])
        # Nothing packed is handed on, and of what is, only what was understood.
        return Answer(FOUND, self._signers.index(signer), container if container[0] == 0 else pack(found))


def _refused(refusal: Refusal) -> Answer:
    return Answer(MISS, _NUMBERS[refusal.value])


def _sealed(want: Want) -> Want:
    """Returns what is asked of the store itself."""
    return want._replace(largest=LARGEST_SEAL + SMALLEST_CONTAINER + want.largest)
