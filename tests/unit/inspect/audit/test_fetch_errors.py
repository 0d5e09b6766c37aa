"""What errors of those who fetch mean."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from pyctrigger.inspect.audit.budget import HAVE_BACKEND, HAVE_CREDENTIALS, MAKE_READABLE, ArchiveError
from pyctrigger.inspect.audit.fetch_errors import describe, may_pass


class AnsweredError(Exception):
    """An answer as aiohttp tells it."""

    def __init__(self, status: object, message: str = "") -> None:
        super().__init__(message)
        self.status, self.message = status, message


class ClientError(Exception):
    """One as botocore tells it."""

    def __init__(self, response: object) -> None:
        super().__init__("An error occurred")
        self.response = response


class NoCredentialsError(Exception):
    """botocore's."""


class ConnectTimeoutError(Exception):
    """botocore's."""


def answered(status: object, message: object = "Slow down") -> ClientError:
    """As botocore does it."""
    return ClientError({"Error": {"Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}})


def caused(error: BaseException, cause: BaseException) -> BaseException:
    """An error, because of another one."""
    error.__cause__ = cause
    return error


#: An error; kind, message and hint; and whether another try may end better.
ERRORS: dict[str, tuple[BaseException, tuple[str, str, str], bool]] = {
    "ours": (ArchiveError("limit", "is too large", "raise it"), ("limit", "is too large", "raise it"), False),
    "memory": (MemoryError(), ("memory", "needs more memory than one archive may use", ""), False),
    "no backend": (ImportError("Install s3fs"), ("unsupported", "can't be fetched: Install s3fs", HAVE_BACKEND), False),
    "no protocol": (
        ValueError("Protocol not known: x"),
        ("unsupported", "can't be fetched: Protocol not known: x", HAVE_BACKEND),
        False,
    ),
    "aiohttp, gone": (caused(FileNotFoundError("u"), AnsweredError(404, "No")), ("io", "HTTP 404: No", ""), False),
    "aiohttp, busy": (caused(FileNotFoundError("u"), AnsweredError(503, "Yes")), ("io", "HTTP 503: Yes", ""), True),
    "botocore, busy": (caused(OSError(errno.EIO, "x"), answered(503)), ("io", "HTTP 503: Slow down", ""), True),
    "botocore, refused": (caused(PermissionError("x"), answered(403, "No")), ("io", "HTTP 403: No", ""), False),
    "botocore, without a message": (answered(403, None), ("io", "HTTP 403: str", ""), False),
    "no answer of anybody's": (ClientError({"status": 1}), ("io", "ClientError: An error occurred", ""), False),
    "no number": (answered("503"), ("io", "ClientError: An error occurred", ""), False),
    "nobody": (NoCredentialsError("Unable"), ("io", "Unable", HAVE_CREDENTIALS), False),
    "slow": (caused(OSError("x"), ConnectTimeoutError("http://h")), ("io", "did not answer in time", ""), False),
    "a file that isn't there": (FileNotFoundError("bucket/key"), ("io", os.strerror(errno.ENOENT), ""), False),
    "the system's": (OSError(errno.ECONNREFUSED, "x"), ("io", "Connection refused", ""), False),
    "a reset": (ConnectionResetError("x"), ("io", "x", ""), True),
    "anything": (KeyError("a\n b\x00"), ("io", "KeyError: 'a\\n b\\x00'", ""), False),
    "a secret": (
        ValueError("no https://user:secret@host/path@1, s3://key@h"),
        ("io", "ValueError: no https://host/path@1, s3://h", ""),
        False,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_an_error_means(name: str) -> None:
    """As a value, in words that are the same everywhere."""
    error, expected, passes = ERRORS[name]
    told = describe(error)
    assert expected == (told.kind, told.message, told.hint)
    assert passes == may_pass(error)


def test_without_rights_a_library_may_be_out_of_reach(monkeypatch: Any) -> None:
    """Then nobody is told to install it."""
    monkeypatch.setattr(os, "__file__", "/none/os.py")
    told = describe(ImportError("Install s3fs"))
    assert ("unsupported", MAKE_READABLE) == (told.kind, told.hint)
