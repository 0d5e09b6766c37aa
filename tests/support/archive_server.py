"""HTTP servers of archives: nginx, and one of our own, which keeps a log and is as bad as a test wants it."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from confinement import wait_for
from local_servers import free_port, listens, nginx_command
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Asked(NamedTuple):
    """A request, and how many bytes of content it was given."""

    method: str
    path: str
    range: str
    given: int


class ArchiveServer(ThreadingHTTPServer):
    """Serves the files of a directory on this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, top: Path, *, has_ranges: bool = True, delay: float = 0.0, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.top = top
        self.has_ranges = has_ranges
        #: Seconds before each answer, as a network has them.
        self.delay = delay
        self.log: list[Asked] = []
        #: By path, what happens instead; it returns whether that was all.
        self.faults: dict[str, Callable[[Any], bool]] = {}

    def url(self, name: str) -> str:
        """The URL of a file."""
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def asked_for(self, name: str) -> list[Asked]:
        """All requests for a file."""
        return [each for each in self.log if each.path == f"/{name}"]

    def handle_error(self, *_: object) -> None:
        """Nobody reads that: clients go whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ArchiveServer

    timeout = 60

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server = self.server
        time.sleep(server.delay)
        fault = server.faults.get(self.path)
        if fault is not None and fault(self):
            return
        try:
            content = (server.top / self.path.lstrip("/")).read_bytes()
        except OSError:
            self.send(404, b"")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "") if server.has_ranges else None
        if found is None:
            self.send(200, content)
            return
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        self.send(206, content[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int = -1) -> None:
        """A whole answer; its length may be a lie."""
        given = len(content) if self.command == "GET" else 0
        self.server.log.append(Asked(self.command, self.path, self.headers.get("Range") or "", given))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length < 0 else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """There is a log that tests read."""


@contextmanager
def archive_server(top: Path, **options: Any) -> Iterator[ArchiveServer]:
    """One of our own."""
    with ArchiveServer(top, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def nginx(top: Path, state: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """The distribution's, or ours where it has none: the beginning of its URLs, and what counts its answers."""
    program = find_tool("nginx")
    if program is None:
        with archive_server(top) as server:
            yield server.url(""), lambda: len(server.log)
        return
    port = free_port()
    state.mkdir()
    command = nginx_command(program, state, f"server {{ listen 127.0.0.1:{port}; root {top}; autoindex on; }}")
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(port))
        yield f"http://127.0.0.1:{port}/", lambda: (state / "access.log").read_bytes().count(b"\n")
    finally:
        child.terminate()
        child.wait()
