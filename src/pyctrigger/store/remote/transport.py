"""How a store of another machine is spoken to, in the process that has a network."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Protocol, Union

from .frames import Want
from .trouble import Refusal, Trouble, TroubleError

#: Seconds that one step may take. Whoever asked has given up long before; the process isn't to stay for ever.
STEP_TIMEOUT = 30.0

Gotten = Union[bytes, Refusal, None]


class Transport(Protocol):
    """A way to speak to a store. Everything raises TroubleError where that can't go on."""

    def get(self, wants: Sequence[Want]) -> Iterator[Gotten]:
        """Yields for each name what is there, why it isn't sent, or None."""

    def has(self, names: Sequence[str]) -> Iterator[bool | Refusal]:
        """Yields for each name whether something is there."""

    def put(self, pairs: Sequence[tuple[str, bytes]]) -> Iterator[Refusal | None]:
        """Keep things, each under its name. Yields for each why it isn't kept, or None."""


def trouble_of(error: BaseException) -> TroubleError:
    """Returns what an error means that came from the system, from TLS or from a library."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < 10:
        causes.append(cause)
    for each in reversed(causes):
        if isinstance(each, TroubleError):
            return each
        if isinstance(each, MemoryError):
            return TroubleError(Trouble.MEMORY)
        if isinstance(each, ssl.SSLCertVerificationError):
            return TroubleError(Trouble.CERTIFICATE)
        if isinstance(each, ssl.SSLError):
            return TroubleError(Trouble.ENCRYPTION)
        if isinstance(each, socket.gaierror):
            return TroubleError(Trouble.NO_SUCH_HOST)
        if isinstance(each, (socket.timeout, TimeoutError)) or getattr(each, "errno", 0) == errno.ETIMEDOUT:
            return TroubleError(Trouble.TIMED_OUT)
        if isinstance(each, (ConnectionResetError, BrokenPipeError, EOFError)):
            return TroubleError(Trouble.ENDED)
        if isinstance(each, OSError) and each.errno:
            return TroubleError(Trouble.SYSTEM, each.errno)
    return TroubleError(Trouble.PROTOCOL)
