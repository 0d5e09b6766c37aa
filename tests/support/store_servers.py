"""Servers that keep bytecode for several machines: Redis, Valkey, nginx, and others as bad as a test wants."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from children import public_directory
from command import Command
from confinement import wait_for
from conftest import absent
from large_trees import bulk
from local_servers import free_port, listens, nginx_command
from packages import pycs_below, write_tree
from pyctrigger.store.local import open_local
from pyctrigger.store.push import Push
from pyctrigger.store.remote.asking import RemoteSettings
from pyctrigger.store.remote.writing import RemoteWriter
from pyctrigger.store.signing import SigningKey, public_text
from stored_sources import STORED
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from command import Outcome

#: What the trees have that are filled from such a store, and how many sources that is.
SOURCES = {**bulk(), **STORED, "q/__init__.py": ""}
COUNT = len(SOURCES)
#: What a run says of a store that it stopped asking.
REST = "the rest was compiled"
#: What nginx serves: files, which it also takes.
_FILES = """
    client_max_body_size 0;
    {before}
    server {{
        listen 127.0.0.1:{port} {options};
        {more}
        root {state}/files;
        location / {{ dav_methods PUT; create_full_put_path on; }}
    }}
"""


def counts(outcome: Outcome) -> tuple[int, int, int]:
    """Its exit code, how many were compiled, and how many came from the store."""
    return outcome.code, outcome.counts["compiled"], outcome.counts["stored"]


def said(outcome: Outcome) -> list[str]:
    """All its notices."""
    return [*outcome.document["notices"], *outcome.run["notices"]]


def tool(name: str) -> str:
    """The path of a program of the distribution's."""
    path = find_tool(name)
    if path is None:
        absent(f"no {name} on this machine")
    return path


class Server:
    """A server that runs, and where it is."""

    def __init__(self, command: list[Any], port: int, state: Path) -> None:
        self.port = port
        self.state = state
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not wait_for(lambda: listens(port)):
            self.stop()
            raise AssertionError(f"{command[0]} does not listen")

    def stop(self) -> None:
        """End it at once."""
        self.child.kill()
        self.child.wait()


class Redis(Server):
    """redis-server, without files."""

    def __init__(self, state: Path, *options: str, port: int | None = None) -> None:
        port = port or free_port()
        state.mkdir(exist_ok=True)
        plain = [] if "--tls-port" in options else ["--port", str(port)]
        if not plain:
            plain = ["--port", "0"]
            options = tuple(str(port) if each == "PORT" else each for each in options)
        super().__init__(
            [*self.program(), *plain, "--bind", "127.0.0.1", "--save", "", "--dir", str(state), *options],
            port,
            state,
        )

    @staticmethod
    def program() -> list[str]:
        """The beginning of its command line."""
        return [tool("redis-server")]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}"

    def held(self) -> object:
        """How much it has, and how often something was written."""
        with self.client() as client:
            return client.dbsize(), self._writes(client)

    def _writes(self, client: Any) -> int:
        calls = client.info("commandstats")
        return sum(calls[name]["calls"] for name in calls if name.startswith(("cmdstat_set", "cmdstat_del")))

    def client(self, **options: Any) -> Any:
        """The library's."""
        import redis

        return redis.Redis("127.0.0.1", self.port, **options)

    def change(self, deed: Callable[[bytes], bytes]) -> None:
        """Put other bytes in the place of all that is there."""
        with self.client() as client:
            for name in sorted(client.keys("*")):
                client.set(name, deed(client.get(name)))

    def rotate(self) -> None:
        """Give each name what the next one has."""
        with self.client() as client:
            names = sorted(client.keys("*"))
            values = client.mget(names)
            client.mset(dict(zip(names, [*values[1:], values[0]])))


class Valkey(Redis):
    """valkey-server: the distribution's, or that of a Debian sid."""

    @staticmethod
    def program() -> list[str]:
        """The beginning of its command line."""
        found = find_tool("valkey-server")
        if found is not None:
            return [found]
        from sid_program import sid_program

        return sid_program("/usr/bin/valkey-server")


class Nginx(Server):
    """nginx, which takes files, and serves them."""

    def __init__(
        self, state: Path, *, options: str = "", more: str = "", before: str = "", within: Sequence[str] = ()
    ) -> None:
        """`more` is for its server, `before` for all of them, and `within` begins its command line."""
        port = free_port()
        self.files = state / "files"
        self.files.mkdir(parents=True)
        self.files.chmod(0o777)
        http = _FILES.format(state=state, port=port, options=options, more=more, before=before)
        self.scheme = "https" if "ssl" in options else "http"
        super().__init__([*within, *nginx_command(tool("nginx"), state, http)], port, state)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.scheme}://127.0.0.1:{self.port}/cache"

    def held(self) -> object:
        """What it has, and how much was written."""
        return sorted(os.listdir(self.files / "cache")), (self.state / "access.log").read_bytes().count(b'"PUT ')

    @property
    def asked(self) -> int:
        """How often it was."""
        return (self.state / "access.log").read_bytes().count(b"\n")


@contextmanager
def running(server: Server) -> Iterator[Any]:
    """A server, which is stopped at the end."""
    try:
        yield server
    finally:
        server.stop()


def speaking_http(answer: Callable[[str], bytes]) -> Callable[[socket.socket], None]:
    """What a `talker` does to give each request, whose first line is this, an answer; nothing more after none."""

    def talk(connection: socket.socket) -> None:
        received = b""
        while data := connection.recv(1 << 16):
            *requests, received = (received + data).split(b"\r\n\r\n")
            for request in requests:
                said = answer(request.decode("latin-1").partition("\r\n")[0])
                connection.sendall(said)
                if not said or said.endswith(CUT):
                    connection.shutdown(socket.SHUT_RDWR)
                    return

    return talk


def heard(connection: socket.socket) -> bytes:
    """What is said first on a connection.

    Raises ConnectionAbortedError where nothing is: of the connections that are opened side by side, those whose request
    isn't written yet are given up once another one failed.
    """
    if data := connection.recv(1 << 16):
        return data
    raise ConnectionAbortedError("given up before anything was said")


#: What such an answer ends with if the connection does, too.
CUT = b"--and here it ends"


@contextmanager
def talker(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of our own: does this with each connection. Yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def serve(connection: socket.socket) -> None:
            try:
                talk(connection)
            except OSError:
                pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=serve, args=[connection], daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in held:
                each.close()


class Fleet:
    """Trees of the same sources, and a store of another machine that has all their code, signed."""

    def __init__(self, command: Command, python: str, top: Path, sources: dict[str, str], *options: str) -> None:
        self.command, self.python, self.top, self.sources = command, python, top, sources
        self.key = SigningKey.generate()
        self.public = public_text(self.key.public)
        self.local = top / "store"
        self.configure(url=str(self.local))
        assert 0 == self.run(self.tree("builder"), *options).code
        shutil.rmtree(top / "builder")
        shutil.rmtree(top / "builder-state")

    def configure(self, **keys: Any) -> None:
        """Write the configuration with these keys of [store]."""
        told = "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
        (self.top / "config.toml").write_text(f"[store]\n{told}")

    def use(self, url: str, **keys: Any) -> None:
        """Have runs ask this store, with the key, and more time than a busy machine may need."""
        self.configure(**{"url": url, "trusted_keys": [self.public], "timeout": 30, **keys})

    def push(self, url: str, key: SigningKey | None = None, **keys: str) -> None:
        """Send all that was compiled."""
        settings = RemoteSettings(url, (), keys.get("password_file", ""), 1.0)
        with RemoteWriter(settings) as writer, open_local(str(self.local), writes=False) as store:
            pushed = Push(store, writer, key or self.key, again=True).run()
        assert (pushed.sent, 0, 0) == (pushed.sent or -1, pushed.withheld, pushed.damaged)

    def tree(self, name: str) -> Path:
        """A tree of the sources, which nothing is known of."""
        for each in (name, f"{name}-state"):
            shutil.rmtree(self.top / each, ignore_errors=True)
        tree = write_tree(self.top / name, self.sources)
        for path in [tree, *tree.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        return tree

    def run(self, tree: Path, *options: str, verb: str = "run", **more: Any) -> Outcome:
        """A run over it, with state of its own."""
        scope = ["--python", self.python, "--site-dir", str(tree)]
        if "--stateless" not in options:
            scope += ["--state-dir", f"{tree}-state"]
        return self.command.json(verb, *scope, "--config", str(self.top / "config.toml"), *options, **more)

    def alone(self, tree: Path, *options: str) -> dict[str, bytes]:
        """What is in the pycs of a tree in the same place, if a run without a store writes them."""
        for name in content_of(tree):
            (tree / name).unlink()
        shutil.rmtree(f"{tree}-state", ignore_errors=True)
        self.configure()
        assert 0 == self.run(tree, *options).code
        return content_of(tree)


def content_of(tree: Path) -> dict[str, bytes]:
    """All pycs of a tree."""
    pycs = [os.fsdecode(path) for path in pycs_below(tree)]
    return {os.path.relpath(path, tree): (tree / path).read_bytes() for path in pycs}


@contextmanager
def fleet(command: Command, python: str, sources: dict[str, str] | None = None) -> Iterator[Fleet]:
    """One below a directory that everybody may enter: other sources aren't asked for."""
    with public_directory() as top:
        yield Fleet(command, python, top, bulk() if sources is None else sources)
