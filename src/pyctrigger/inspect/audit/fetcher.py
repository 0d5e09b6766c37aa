"""Opens archives behind URLs, in a process of its own that has a network and no rights, and parses none of them.

What is read here and there, a zip, is read by ranges: the reader gets a socket, and asks for what it needs. All else is
fetched whole, into a file without a name. fsspec knows the protocols; it is asked for bytes only, and may be killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from ...interpreter.servant import (
    READY,
    NoAnswerError,
    Servant,
    give_up_rights,
    preload,
    receive_exactly,
    receive_frame,
    seconds_left,
    send_frame,
)
from .archive_report import parse_answer
from .budget import HAVE_BACKEND, RAISE_SIZE, ArchiveError, ArchiveLimits
from .fetch_errors import describe, may_pass
from .formats import is_streamed
from .streams import FAILED, MOST_OF_A_RANGE, REQUEST

_Got = TypeVar("_Got")
#: Bytes that are asked for first, and at the end of a zip, where its directory is. What is no longer is fetched whole.
_BLOCK = 1 << 16
#: Bytes that are asked for at once of what is fetched whole.
_PIECE = 4 << 20
#: Bytes of address space: a server may say anything.
_MOST_MEMORY = 4 << 30
#: Bytes that one zip may have read of it: its own, a few times (hashes are a second look), and some for gaps.
_TIMES_ITS_SIZE, _FOR_GAPS = 8, 64 << 20
#: Seconds to wait for a connection, and for the next bytes of it.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10.0, 30.0
#: Seconds before the second and the third try of what may pass by itself.
_PAUSES = (0.2, 1.0)
_LARGEST_ANSWER = 1 << 16
_LONGEST_URL = 1 << 16
_OPENED, _FAILED = b"o", b"f"


class Fetcher(Servant):
    """One process that fetches, an archive at a time."""

    def __init__(self, limits: ArchiveLimits) -> None:
        super().__init__("inspect.audit.fetcher", (limits,), "fetch archives", network=True)
        self._limits = limits

    def fetch(self, url: str) -> int:
        """Returns a descriptor to give to a reader.

        Raises ArchiveError, TimeoutError, NoAnswerError where it ends or says anything else, and ShortageError.
        """
        asked = url.encode("utf-8", "surrogateescape")
        if len(asked) > _LONGEST_URL:
            raise ArchiveError("limit", f"has a URL of more than {_LONGEST_URL} bytes")
        self.wait_until_ready()
        deadline = time.monotonic() + self._limits.timeout if self._limits.timeout else None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send_frame(self.channel, asked)
        self.channel.settimeout(seconds_left(deadline))
        try:
            said, descriptors, _, _ = socket.recv_fds(self.channel, 1, 1)
        except socket.timeout as error:
            raise TimeoutError from error
        except ConnectionResetError as error:
            raise NoAnswerError("it has ended") from error
        if said == _OPENED and len(descriptors) == 1:
            os.set_inheritable(descriptors[0], False)
            return descriptors[0]
        for descriptor in descriptors:
            os.close(descriptor)
        failure = said == _FAILED and parse_answer(self.receive_frame(_LARGEST_ANSWER, deadline), self._limits)
        if not failure or not failure["failure"]:
            raise NoAnswerError("it has ended")
        words = failure["failure"]
        raise ArchiveError(words["kind"], words["message"], words.get("mend", ""))


# -- in the process ----------------------------------------------------------------------------------------------------


def serve(channel_number: int, life: int, uid: int, limited: list[Any]) -> None:
    """Fetch one archive after the other until the other side has gone, with the account `uid`."""
    preload("aiohttp", "fsspec.implementations.http", "fsspec.implementations.chained")
    limits = ArchiveLimits(*limited)
    give_up_rights(life, uid, _MOST_MEMORY)
    channel = socket.socket(fileno=channel_number)
    channel.sendall(READY)
    while url := receive_frame(channel, _LONGEST_URL):
        try:
            archive = _Archive(url.decode("utf-8", "surrogateescape"), limits)
            descriptor = archive.open()
        except Exception as error:  # noqa: BLE001 - one archive must not end the work on all others
            channel.sendall(_FAILED)
            send_frame(channel, _told(describe(error)))
            continue
        socket.send_fds(channel, [_OPENED], [descriptor])
        os.close(descriptor)
        archive.serve_ranges()
        archive.close()


def _told(error: ArchiveError) -> bytes:
    failure = {"kind": error.kind, "message": error.message}
    if error.hint:
        failure["mend"] = error.hint
    return json.dumps({"format": None, "failure": failure}).encode("ascii")


class _Archive:
    """What is behind one URL."""

    def __init__(self, url: str, limits: ArchiveLimits) -> None:
        from fsspec.core import url_to_fs

        if "::" in url:
            raise ArchiveError("unsupported", "is a chain of file systems, which may keep copies", HAVE_BACKEND)
        self._limits = limits
        self._is_http = url.startswith(("http://", "https://"))
        is_s3 = url.startswith(("s3://", "s3a://"))
        options = _http_options() if self._is_http else _s3_options() if is_s3 else {}
        self._system, self._path = url_to_fs(url, **options)
        if is_s3:
            self._system.retries = 1
        self._file: Any = None
        self._size = 0
        self._left = 0
        #: Parts that were read, by their first byte: the first and the last one.
        self._blocks: dict[int, bytes] = {}
        #: What was read last of the rest, and where it begins.
        self._window = 0, b""
        self._whole: BinaryIO | None = None
        self._ranges: socket.socket | None = None

    def open(self) -> int:
        """Returns a descriptor of all of it, or of the socket through which ranges of it are asked for."""
        self._file = _persist(lambda: self._system.open(self._path, "rb", block_size=_BLOCK, cache_type="none"))
        size = getattr(self._file, "size", None)
        if size is None:
            return self._fetch_whole()
        self._size = int(size)
        if self._size > self._limits.size:
            raise ArchiveError("limit", f"is larger than {self._limits.size} bytes", RAISE_SIZE)
        head = self._read_range(0, min(_BLOCK, self._size)) if self._size else b""
        if len(head) == self._size:
            return _unnamed_file(head)
        if is_streamed(head):
            return self._fetch_whole()
        self._blocks[0] = head
        self._window = 0, head
        self._left = self._size * _TIMES_ITS_SIZE + _FOR_GAPS
        self._ranges, theirs = socket.socketpair()
        return theirs.detach()

    def serve_ranges(self) -> None:
        """Answer the reader's questions until it closes its end, if it has a socket."""
        if self._ranges is None:
            return
        with self._ranges as channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            channel.sendall(self._size.to_bytes(8, "little"))
            while request := receive_exactly(channel, REQUEST.size):
                start, length = REQUEST.unpack(request)
                try:
                    piece = self._read(start, min(length, MOST_OF_A_RANGE))
                except Exception as error:  # noqa: BLE001 - the reader has to be told, whatever it is
                    channel.sendall(FAILED)
                    send_frame(channel, describe(error).message.encode())
                else:
                    send_frame(channel, piece)

    def close(self) -> None:
        """Close what it was read from."""
        for each in (self._file, self._whole):
            if each is not None:
                with contextlib.suppress(Exception):
                    each.close()

    def _read(self, start: int, length: int) -> bytes:
        """Returns a part: not beyond the end, where there is nothing."""
        end = min(start + length, self._size)
        if start >= end:
            return b""
        tail = max(0, self._size - _BLOCK)
        if start >= tail and tail not in self._blocks:
            self._blocks[tail] = self._read_range(tail, self._size)
        for at, block in (*self._blocks.items(), self._window):
            if at <= start and end <= at + len(block):
                return block[start - at : end - at]
        return self._read_ahead(start, end)

    def _read_ahead(self, start: int, end: int) -> bytes:
        """Returns a part, and keeps what is after it: twice as much each time, as long as no gap is large."""
        before, block = self._window
        gap = start - (before + len(block))
        ahead = min(2 * len(block), MOST_OF_A_RANGE) if 0 <= gap < _BLOCK else _BLOCK
        self._window = start, self._read_range(start, min(self._size, max(end, start + ahead)))
        return self._window[1][: end - start]

    def _read_range(self, start: int, end: int) -> bytes:
        if self._whole is None:
            self._left -= end - start
            if self._ranges is not None and self._left < 0:
                raise ArchiveError("limit", f"was read more than {_TIMES_ITS_SIZE} times")
            try:
                piece = _persist(lambda: self._seek_and_read(start, end))
            except ValueError:  # this server has no ranges
                self._whole = open(self._fetch_whole(), "rb")  # noqa: SIM115 - until `close`
            else:
                if len(piece) != end - start:
                    raise ConnectionError(f"gave {len(piece)} bytes of {end - start}")
                return piece
        self._whole.seek(start)
        return self._whole.read(end - start)

    def _seek_and_read(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return bytes(self._file.read(end - start))

    def _fetch_whole(self) -> int:
        """Returns a descriptor of a file without a name that has all of it."""
        return _persist(self._try_to_fetch_whole)

    def _try_to_fetch_whole(self) -> int:
        # By one request where that is possible.
        options = {"block_size": 0, "size": self._size or None} if self._is_http else {}
        source = self._system.open(self._path, "rb", **options)
        with source, tempfile.TemporaryFile(prefix="pyctrigger-") as file:
            while piece := source.read(_PIECE):
                if file.tell() + len(piece) > self._limits.size:
                    raise ArchiveError("limit", f"is larger than {self._limits.size} bytes", RAISE_SIZE)
                file.write(piece)
            file.flush()
            return os.dup(file.fileno())


def _http_options() -> dict[str, Any]:
    from aiohttp import ClientTimeout

    timeout = ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_READ_TIMEOUT)
    # What is compressed on its way could be of any size.
    client = {"timeout": timeout, "auto_decompress": False, "trust_env": True}
    return {"client_kwargs": client, "headers": {"Accept-Encoding": "identity"}}


def _s3_options() -> dict[str, Any]:
    """Returns options of s3fs; who asks, and where, is for the environment and the files of an account to say."""
    once: dict[str, Any] = {"total_max_attempts": 1}  # it is tried again here
    client = {"connect_timeout": _CONNECT_TIMEOUT, "read_timeout": _READ_TIMEOUT, "retries": once}
    return {"config_kwargs": client}


def _unnamed_file(content: bytes) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pyctrigger")
    else:
        with tempfile.TemporaryFile(prefix="pyctrigger-") as file:
            descriptor = os.dup(file.fileno())
    with open(descriptor, "wb", closefd=False) as written:
        written.write(content)
    return descriptor


def _persist(act: Callable[[], _Got]) -> _Got:
    """Do something with a server, three times at most if the trouble may pass."""
    for pause in _PAUSES:
        try:
            return act()
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(pause)
    return act()
