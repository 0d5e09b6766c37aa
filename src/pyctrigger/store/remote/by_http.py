"""A store that speaks HTTP: `GET` and `PUT` of the key's name below the path, as web servers and build caches do.

A few connections side by side, each kept and used again. Redirections aren't followed: the store is where the
configuration says. What is found is never compressed on its way, which could make it any size.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...version import VERSION
from .address import Address
from .frames import Want
from .transport import STEP_TIMEOUT, Gotten, trouble_of
from .trouble import Refusal, Trouble, TroubleError

#: Connections of one process at a time.
CONNECTIONS = 8
#: Bytes of an answer that is no content; more of it isn't read, and the connection is closed.
_MOST_UNREAD = 1 << 16
_ABSENT, _OK = frozenset({404, 410}), frozenset({200, 201, 202, 204})
_CONTENT_TYPE = "application/octet-stream"
_UNAUTHORIZED, _FORBIDDEN = frozenset({401, 407}), 403
#: What a server does to a connection that was unused for too long, or used too often.
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class HttpTransport:
    """A store that speaks HTTP, with or without TLS. A user without a password is a bearer's token."""

    def __init__(self, address: Address, password: str | None) -> None:
        self._address = address
        self._headers = {
            "User-Agent": f"pyctrigger/{VERSION}",
            "Accept-Encoding": "identity",
        }
        if address.user:
            pair = f"{address.user}:{password or ''}".encode()
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair).decode("ascii")
        elif password:
            self._headers["Authorization"] = f"Bearer {password}"
        self._context = ssl.create_default_context() if address.is_encrypted else None
        self._threads = ThreadPoolExecutor(CONNECTIONS)
        self._own = threading.local()

    def get(self, wants: Sequence[Want]) -> Iterator[Gotten]:
        """Yields for each name what is there, why it isn't sent, or None. Raises TroubleError."""
        return self._threads.map(self._get, wants)

    def has(self, names: Sequence[str]) -> Iterator[bool | Refusal]:
        """Yields for each name whether something is there. Raises TroubleError."""
        return self._threads.map(self._has, names)

    def put(self, pairs: Sequence[tuple[str, bytes]]) -> Iterator[Refusal | None]:
        """Keep things, each under its name. Yields for each why it isn't kept, or None. Raises TroubleError."""
        return self._threads.map(self._put, pairs)

    def _get(self, want: Want) -> Gotten:
        return self._ask("GET", want.name, want.largest)

    def _has(self, name: str) -> bool | Refusal:
        got = self._ask("HEAD", name, 0)
        return got if isinstance(got, Refusal) else got is not None

    def _put(self, pair: tuple[str, bytes]) -> Refusal | None:
        got = self._ask("PUT", pair[0], 0, pair[1])
        return None if isinstance(got, bytes) else got or Refusal.SERVER_ERROR

    def _ask(self, method: str, name: str, largest: int, content: bytes | None = None) -> Gotten:
        """Returns what is answered; of what isn't a GET, `b""` if it is there or was kept."""
        target = f"{self._address.path}/{name}{self._address.query}"
        # Some build caches refuse what doesn't say what it is (415).
        headers = self._headers if content is None else {**self._headers, "Content-Type": _CONTENT_TYPE}
        connection, is_used = self._connection()
        try:
            try:
                connection.request(method, target, content, headers)
                answer = connection.getresponse()
            except _CLOSED:
                if not is_used:
                    raise
                self._drop()
                connection, _ = self._connection()
                connection.request(method, target, content, headers)
                answer = connection.getresponse()
            return self._read(answer, largest, is_content=method == "GET")
        except (OSError, http.client.HTTPException, MemoryError) as error:
            self._drop()
            raise trouble_of(error) from None

    def _read(self, answer: http.client.HTTPResponse, largest: int, *, is_content: bool) -> Gotten:
        status = answer.status
        if status == 200 and is_content:
            found = answer.read(largest + 1)
            if len(found) > largest or not answer.isclosed():
                self._drop()  # as `read` doesn't reach the end of what is one byte too long
                return Refusal.TOO_LARGE if len(found) > largest else found
            return found
        if len(answer.read(_MOST_UNREAD)) == _MOST_UNREAD:
            self._drop()
        if status in _OK and not is_content:
            return b""
        if status in _ABSENT:
            return None
        if status in _UNAUTHORIZED:
            raise TroubleError(Trouble.NOT_ALLOWED)
        if status == _FORBIDDEN:  # so object stores answer for what isn't there to who may not list it
            return Refusal.FORBIDDEN
        return Refusal.REDIRECTED if 300 <= status < 400 else Refusal.SERVER_ERROR

    def _connection(self) -> tuple[http.client.HTTPConnection, bool]:
        """Returns this thread's connection, and whether it was used before."""
        found: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if found is not None:
            return found, found.sock is not None
        host, port = self._address.host, self._address.port
        if self._context is None:
            made = http.client.HTTPConnection(host, port, timeout=STEP_TIMEOUT)
        else:
            made = http.client.HTTPSConnection(host, port, timeout=STEP_TIMEOUT, context=self._context)
        self._own.connection = made
        return made, False

    def _drop(self) -> None:
        with contextlib.suppress(OSError):
            self._own.connection.close()
        del self._own.connection
