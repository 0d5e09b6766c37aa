"""A store that speaks Redis' protocol: Redis, Valkey and others; each key is a string of that name.

The library's retries and health checks are off, and it is asked over one connection, for many keys at a time. What it
may receive is bounded below it: it would read whatever length a server says.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from .address import Address
from .frames import Want
from .transport import STEP_TIMEOUT, Gotten, trouble_of
from .trouble import Refusal, Trouble, TroubleError

#: What names begin with: others may use the same server, and an access list can name it.
PREFIX = "pyctrigger:"
#: Bytes beyond what was asked for, which the library may read ahead, and that greetings take.
_SLACK = 1 << 17


class RedisTransport:
    """A store that speaks Redis' protocol, with or without TLS."""

    def __init__(self, address: Address, password: str | None) -> None:
        try:
            import redis
        except ImportError:
            raise TroubleError(Trouble.NO_REDIS) from None
        self._redis = redis
        self._allowance = _Allowance()
        self._connection = _connection_for(address, password, self._allowance)
        self._is_used = False

    def get(self, wants: Sequence[Want]) -> Iterator[Gotten]:
        """Yields for each name what is there, why it isn't sent, or None. Raises TroubleError."""
        left = list(wants)
        while left:
            try:
                for reply in self._ask([("GET", PREFIX + want.name) for want in left], [want.largest for want in left]):
                    want = left.pop(0)
                    if isinstance(reply, bytes) and len(reply) > want.largest:
                        yield Refusal.TOO_LARGE
                    else:
                        yield reply if reply is None or isinstance(reply, bytes) else Refusal.SERVER_ERROR
            except _TooMuchError:
                left.pop(0)
                yield Refusal.TOO_LARGE

    def has(self, names: Sequence[str]) -> Iterator[bool | Refusal]:
        """Yields for each name whether something is there. Raises TroubleError."""
        for reply in self._ask([("EXISTS", PREFIX + name) for name in names]):
            yield reply == 1 if isinstance(reply, int) else Refusal.SERVER_ERROR

    def put(self, pairs: Sequence[tuple[str, bytes]]) -> Iterator[Refusal | None]:
        """Keep things, each under its name. Yields for each why it isn't kept, or None. Raises TroubleError."""
        for reply in self._ask([("SET", PREFIX + name, content) for name, content in pairs]):
            yield Refusal.SERVER_ERROR if isinstance(reply, Exception) else None

    def _ask(self, commands: Sequence[tuple[Any, ...]], bounds: Sequence[int] = ()) -> Iterator[Any]:
        """Yields the reply to each command, or the error that it is; `bounds` are bytes. Raises TroubleError."""
        largest = iter(bounds or [0] * len(commands))
        first = next(largest)
        errors = self._redis.exceptions
        is_used, self._is_used = self._is_used, True
        try:
            try:
                self._send(commands)
                reply = self._reply(first)
            except (errors.ConnectionError, OSError) as error:
                # A server closes what was unused for long.
                if not is_used or isinstance(error, errors.AuthenticationError):
                    raise
                self._connection.disconnect()
                self._send(commands)
                reply = self._reply(first)
            yield reply
            for each in largest:
                yield self._reply(each)
        except _TooMuchError:
            self._disconnect()
            raise
        except (errors.RedisError, OSError, MemoryError) as error:
            self._disconnect()
            if isinstance(error, (errors.AuthenticationError, errors.NoPermissionError)):
                raise TroubleError(Trouble.NOT_ALLOWED) from None
            if isinstance(error, errors.BusyLoadingError):
                raise TroubleError(Trouble.FAILING) from None
            found = trouble_of(error)
            is_end = isinstance(error, errors.ConnectionError) and found.trouble is Trouble.PROTOCOL
            raise (TroubleError(Trouble.ENDED) if is_end else found) from None

    def _send(self, commands: Sequence[tuple[Any, ...]]) -> None:
        self._allowance.left = _SLACK
        self._connection.connect()
        self._connection.send_packed_command(self._connection.pack_commands(commands))

    def _reply(self, largest: int) -> Any:
        """Returns the next reply. An error is returned, unless all others would be the same."""
        self._allowance.left = largest + _SLACK
        errors = self._redis.exceptions
        try:
            return self._connection.read_response()
        except (errors.AuthenticationError, errors.NoPermissionError, errors.BusyLoadingError):
            raise
        except errors.ResponseError as error:
            return error

    def _disconnect(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.disconnect()


class _TooMuchError(Exception):
    """A server sends more than was asked for."""


class _Allowance:
    """How many bytes may still be received."""

    def __init__(self) -> None:
        self.left = _SLACK


class _BoundedSocket:
    """A socket that receives no more than its allowance."""

    def __init__(self, whole: socket.socket, allowance: _Allowance) -> None:
        self._whole = whole
        self._allowance = allowance

    def recv(self, size: int, *flags: int) -> bytes:
        """Receive some bytes. Raises _TooMuchError if they are too many."""
        data = self._whole.recv(size, *flags)
        self._count(len(data))
        return data

    def recv_into(self, buffer: Any, *arguments: int) -> int:
        """The same, into a buffer."""
        size = self._whole.recv_into(buffer, *arguments)
        self._count(size)
        return size

    def _count(self, size: int) -> None:
        self._allowance.left -= size
        if self._allowance.left < 0:
            raise _TooMuchError

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def _connection_for(address: Address, password: str | None, allowance: _Allowance) -> Any:
    from redis.backoff import NoBackoff
    from redis.connection import Connection, SSLConnection
    from redis.retry import Retry

    kind: Any = SSLConnection if address.is_encrypted else Connection

    class BoundedConnection(kind):  # type: ignore[misc]
        """The library's, over a socket that is bounded."""

        def _connect(self) -> Any:
            return _BoundedSocket(super()._connect(), allowance)

    options = {"ssl_cert_reqs": "required", "ssl_check_hostname": True} if address.is_encrypted else {}
    return BoundedConnection(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.user or None,
        password=password,
        socket_timeout=STEP_TIMEOUT,
        socket_connect_timeout=STEP_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        protocol=2,
        **options,
    )
