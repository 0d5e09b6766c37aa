"""What an error of fsspec's, or of what it asks with, means: whether it may pass by itself, and how it is told."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from .budget import HAVE_BACKEND, HAVE_CREDENTIALS, MAKE_READABLE, ArchiveError

_PASSING_STATUS = frozenset({429, 500, 502, 503, 504})
_PASSING = frozenset(
    {
        "ServerDisconnectedError",
        "ClientPayloadError",
        "ClientOSError",
        "ConnectionResetError",
        "ConnectionClosedError",  # botocore's
    }
)
#: botocore's, where nobody has said who asks.
_ANONYMOUS = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"})
#: What may be a secret in the URL of an endpoint.
_USER_OF_URL = re.compile(r"(?<=://)[^/\s]*@")


def may_pass(error: BaseException) -> bool:
    """Whether another try may end better."""
    return any(_status(each) in _PASSING_STATUS or type(each).__name__ in _PASSING for each in _causes(error))


def describe(error: BaseException) -> ArchiveError:
    """Returns what an error means: what was at its origin, in words that are the same on each node."""
    import ssl

    causes = _causes(error)
    origin = causes[-1]
    if isinstance(error, ArchiveError):
        return error
    if isinstance(error, MemoryError):
        return ArchiveError("memory", "needs more memory than one archive may use")
    if isinstance(error, ImportError) and not _is_readable():
        return ArchiveError("unsupported", "can't be fetched: without rights this Python can't be read", MAKE_READABLE)
    if isinstance(error, ImportError) or "Protocol not known" in str(error):
        return ArchiveError("unsupported", f"can't be fetched: {_words(error)}", HAVE_BACKEND)
    if type(origin).__name__ in _ANONYMOUS:
        return ArchiveError("io", _words(origin), HAVE_CREDENTIALS)
    if status := _status(origin):
        return ArchiveError("io", f"HTTP {status}: {_words(_response(origin)[1] or getattr(origin, 'message', ''))}")
    if any("Timeout" in type(each).__name__ for each in causes):
        return ArchiveError("io", "did not answer in time")
    if isinstance(origin, OSError):
        system = getattr(origin, "os_error", origin)  # aiohttp's own have the system's in them
        number = 0 if isinstance(system, ssl.SSLError) else system.errno or 0
        if not number and isinstance(origin, FileNotFoundError):  # s3fs says nothing but the name
            number = 2
        return ArchiveError("io", os.strerror(number) if number > 0 else _words(system.strerror or origin))
    return ArchiveError("io", f"{type(origin).__name__}: {_words(origin)}")


def _is_readable() -> bool:
    """Whether this process may still read Python and the libraries that it was started with."""
    loaded = [sys.modules[name] for name in ("os", "fsspec") if name in sys.modules]
    return all(os.access(module.__file__ or "", os.R_OK) for module in loaded)


def _causes(error: BaseException) -> list[BaseException]:
    """Returns an error, and what led to it: fsspec says that a file isn't there, whatever happened."""
    found = [error]
    while (cause := found[-1].__cause__) is not None and len(found) < 10:
        found.append(cause)
    return found


def _status(error: BaseException) -> int:
    """Returns the status of an answer that a client made an error of; 0 if it was none."""
    status = getattr(error, "status", 0) or _response(error)[0]
    return status if isinstance(status, int) else 0


def _response(error: BaseException) -> tuple[Any, Any]:
    """Returns status and message of an answer as botocore keeps it; (0, "") if there is none."""
    said = getattr(error, "response", None)
    if not isinstance(said, dict):
        return 0, ""
    return said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0), said.get("Error", {}).get("Message", "")


def _words(said: object) -> str:
    """Returns a text that a server may have a part in, short, on one line, and without users of URLs."""
    text = _USER_OF_URL.sub("", " ".join(str(said).split())) or type(said).__name__
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
