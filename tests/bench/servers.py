"""What servers of a store do for each entry: their processor time, and the memory that Redis takes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from local_servers import nginx_command
from timing import own_time

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Entries that Redis is asked for at a time, as by a run.
_BATCH = 64
_ROUNDS = 5
_HTTP = "server {{ listen unix:{place}/socket; root {place}/files; access_log off; keepalive_requests 1000000; }}"

#: Names, and what is kept under them.
Entries = list[tuple[str, bytes]]


class Served(NamedTuple):
    """What a server took."""

    microseconds: float
    """Of its processor time, for each entry that it gave."""
    memory: float = 0
    """Bytes for each entry that it has, if it tells."""


def redis(place: Path, entries: Entries) -> Served | None:
    """Redis, if it is installed."""
    if not (program := shutil.which("redis-server")):
        return None
    command = [program, "--port", "0", "--unixsocket", str(place / "socket"), "--save", "", "--dir", str(place)]
    with _running(command, place / "socket") as server, _connected(place / "socket") as stream:
        before = _memory(stream)
        for name, content in entries:
            stream.write(_command(b"SET", name.encode(), content))
            stream.flush()
            stream.readline()
        memory = (_memory(stream) - before) / len(entries)
        begun = own_time(server.pid)
        for _ in range(_ROUNDS):
            for first in range(0, len(entries), _BATCH):
                batch = entries[first : first + _BATCH]
                stream.write(b"".join(_command(b"GET", name.encode()) for name, _ in batch))
                stream.flush()
                for _, content in batch:
                    assert int(stream.readline()[1:]) == len(content)
                    stream.read(len(content) + 2)
        return Served(1e6 * (own_time(server.pid) - begun) / _ROUNDS / len(entries), memory)


def nginx(place: Path, entries: Entries) -> Served | None:
    """nginx, if it is installed."""
    if not (program := shutil.which("nginx")):
        return None
    (place / "files").mkdir()
    for name, content in entries:
        (place / "files" / name).write_bytes(content)
    place.chmod(0o755)
    command = nginx_command(program, place, _HTTP.format(place=place))
    with _running(command, place / "socket") as server:
        begun = own_time(server.pid)
        with _connected(place / "socket") as stream:
            for _ in range(_ROUNDS):
                for name, content in entries:
                    stream.write(f"GET /{name} HTTP/1.1\r\nHost: store\r\n\r\n".encode())
                    stream.flush()
                    assert b"200" in stream.readline()
                    while stream.readline().strip():
                        pass
                    stream.read(len(content))
        return Served(1e6 * (own_time(server.pid) - begun) / _ROUNDS / len(entries))


@contextmanager
def _running(command: list[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
    nothing = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing)
    try:
        for _ in range(200):
            if path.exists():
                break
            time.sleep(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


@contextmanager
def _connected(path: Path) -> Iterator[BinaryIO]:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        with client.makefile("rwb") as stream:
            yield stream  # type: ignore[misc]


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _memory(stream: BinaryIO) -> int:
    stream.write(_command(b"INFO", b"memory"))
    stream.flush()
    told = stream.read(int(stream.readline()[1:]) + 2).decode()
    return int(told.split("used_memory:")[1].split()[0])
