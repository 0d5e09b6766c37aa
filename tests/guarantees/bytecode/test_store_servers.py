"""Stores of other machines in trouble, and how they are asked: side by side, once, and by nobody but one process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from children import public_directory
from command import Command
from conftest import absent
from environment import CHECKOUT
from pyctrigger.namespaces import FREE_IDS
from pyctrigger.store.remote.by_http import CONNECTIONS
from store_servers import (
    COUNT,
    CUT,
    REST,
    SOURCES,
    Fleet,
    Nginx,
    Redis,
    content_of,
    counts,
    heard,
    running,
    said,
    speaking_http,
    talker,
    tool,
)
from stored_sources import STORED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

SLOW = "it took longer than it saved by `timeout` seconds"


@pytest.fixture(scope="module")
def built(newest: Interpreter) -> Iterator[Fleet]:
    """A store that one machine has filled, to be pushed; and trees of the same sources."""
    with public_directory() as top:
        yield Fleet(Command(top / "state"), newest.path, top, SOURCES)


def bodies(tree: Path) -> dict[str, bytes]:
    """The code in its pycs, without times."""
    return {name: content[16:] for name, content in content_of(tree).items()}


# -- real servers ------------------------------------------------------------------------------------------------------


def stop(server: Any) -> None:
    """It accepts connections, and answers nobody."""
    server.child.send_signal(signal.SIGSTOP)


def kill_on_the_way(server: Any) -> None:
    """Once it has answered some requests."""
    before = asked(server)

    def watch() -> None:
        while asked(server) < before + 16:
            time.sleep(0.005)
        server.child.kill()

    threading.Thread(target=watch, daemon=True).start()


def asked(server: Any) -> int:
    """How often nginx was asked for something."""
    count: int = server.asked
    return count


#: So many answers a second: whatever else is asked for waits for its turn, and what is put doesn't.
SLOWLY = """map $request_method $slow {{ GET all; default ""; }} limit_req_zone $slow zone=all:1m rate={}r/s;"""


def slow_nginx(state: Path, rate: int = 10) -> Nginx:
    """One that gives little at a time."""
    return Nginx(state, before=SLOWLY.format(rate), more="limit_req zone=all burst=10000;")


def very_slow_nginx(state: Path) -> Nginx:
    """One that takes nine seconds for all."""
    return slow_nginx(state, 5)


#: A server, what becomes of it, the seconds that a run may wait, whether something comes first, and what is said.
TROUBLES: dict[str, tuple[Callable[[Path], Any], Callable[[Any], object], float, bool, str]] = {
    "redis is stopped": (Redis, stop, 0.4, False, f"{SLOW}; {REST}"),
    "redis is killed": (Redis, Redis.stop, 30, False, f"connection refused; {REST}"),
    "nginx is stopped": (Nginx, stop, 0.4, False, f"{SLOW}; {REST}"),
    "nginx is killed": (Nginx, Nginx.stop, 30, False, f"connection refused; {REST}"),
    "nginx is killed on the way": (slow_nginx, kill_on_the_way, 30, True, REST),
    "nginx is slow": (very_slow_nginx, lambda server: server, 4.0, True, f"{SLOW}; {REST}"),
}
#: Seconds that a busy machine may add to a run.
SPARE = 6.0


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_server_in_trouble_costs_no_more_than_allowed(built: Fleet, tmp_path: Path, trouble: str, jobs: str) -> None:
    """Exit 0, the same code as without it, and one line; what came before is used."""
    make, deed, timeout, has_some, line = TROUBLES[trouble]
    tree = built.tree("troubled")
    built.configure()
    begun = time.monotonic()
    assert (0, COUNT, 0) == counts(built.run(tree, "--stateless", "--jobs", jobs))
    alone, expected = time.monotonic() - begun, bodies(tree)
    tree = built.tree("troubled")
    with running(make(tmp_path / "server")) as server:
        built.push(server.url)
        built.use(server.url, timeout=timeout)
        deed(server)
        begun = time.monotonic()
        outcome = built.run(tree, "--stateless", "--jobs", jobs)
        taken = time.monotonic() - begun

    code, compiled, stored = counts(outcome)
    assert (0, COUNT) == (code, compiled + stored)
    assert (has_some, True) == (stored > 0, stored < COUNT)
    assert expected == bodies(tree)
    (told,) = said(outcome)
    assert told.startswith(f"store {server.url.removesuffix('/cache')}: ")
    assert told.endswith(line)
    assert taken < alone + min(timeout, 5.0) + SPARE


def test_a_web_server_whose_disk_is_full_gives_what_it_has(built: Fleet, tmp_path: Path) -> None:
    """A push says that it is refused."""
    if os.geteuid():
        absent("needs root")
    state = tmp_path / "server"
    script = 'mount -t tmpfs -o size=64k,mode=777 none "$0" && exec "$@"'
    within = [tool("unshare"), "-m", "sh", "-c", script, str(state / "files")]
    tree = built.tree("full")
    with running(Nginx(state, within=within)) as server:
        with pytest.raises(Exception, match=r"store http://\S+: \d+ server error"):
            built.push(server.url)
        built.use(server.url)
        outcome = built.run(tree, "--stateless")
    code, compiled, stored = counts(outcome)
    assert (0, COUNT, []) == (code, compiled + stored, said(outcome))
    assert 0 < stored < COUNT


# -- what a web server says --------------------------------------------------------------------------------------------


def answer(status: str, content: bytes = b"", length: int | None = None, *more: str) -> bytes:
    """An answer, whose length may be a lie."""
    size = len(content) if length is None else length
    return "\r\n".join([f"HTTP/1.1 {status} x", f"Content-Length: {size}", *more, "", ""]).encode() + content


CHUNKED = b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"
STRANGE = f"it doesn't answer as such a store does; {REST}"
#: What a web server says to each GET, and what a run says of it; `N` is how often.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "there is nothing": (answer("404"), ""),
    "there is nothing, with many words": (answer("404", b"no" * 100_000), ""),
    "there is nothing any more": (answer("410"), ""),
    "who may not list may not know": (answer("403"), "not used: N forbidden"),
    "something else": (answer("200", b"<html>Welcome</html>"), "not used: N unsigned"),
    "nothing at all": (answer("200"), "not used: N unsigned"),
    "far too much": (answer("200", b"x" * (4 << 20)), "not used: N oversized"),
    "more than any memory": (answer("200", b"x" * (4 << 20) + CUT, 1 << 50), "not used: N oversized"),
    "in pieces without end": (CHUNKED + b"10000\r\n" + bytes(1 << 16) + b"\r\n" + CUT, STRANGE),
    "less than it says": (answer("200", CUT, 500), "not used: N unsigned"),
    "a negative length": (answer("200", CUT, -5), "not used: N unsigned"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_a_web_server_says(built: Fleet, name: str) -> None:
    """All is compiled, exit 0, and one line says what wasn't used, if there was something."""
    content, line = ANSWERS[name]
    tree = built.tree("answered")
    with talker(speaking_http(lambda _: content)) as port:
        built.use(f"http://127.0.0.1:{port}")
        outcome = built.run(tree, "--stateless", str(tree / "m.py"), str(tree / "p"))  # small ones
    assert (0, len(STORED), 0) == counts(outcome)
    told = [
        "".join("N" if word.isdigit() else word for word in re.split(r"(?<= )(\d+)(?= )", each))
        for each in said(outcome)
    ]
    assert ([f"store http://127.0.0.1:{port}: {line}"] if line else []) == told


#: What becomes of each file of a web server.
LIES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda sealed: sealed[:-1], "truncated"),
    "too long": (lambda sealed: sealed + b"x", "oversized"),
    "flipped": (lambda sealed: sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:], "flipped"),
    "another root": (lambda sealed: sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:], "wrong signature"),
    "empty": (lambda _: b"", "unsigned"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_of_a_web_server_is_a_counted_miss(built: Fleet, tmp_path: Path, lie: str) -> None:
    """As one of Redis is."""
    deed, reason = LIES[lie]
    with running(Nginx(tmp_path / "server")) as server:
        built.push(server.url)
        for path in (server.files / "cache").iterdir():
            path.write_bytes(deed(path.read_bytes()))
        built.use(server.url)
        outcome = built.run(built.tree("lied to"), "--stateless", "--jobs", "1")
    assert (0, COUNT, 0) == counts(outcome)
    (line,) = said(outcome)
    assert re.search(rf": not used: \d+ {reason}$", line)


# -- who asks, and how -------------------------------------------------------------------------------------------------


def test_a_web_server_is_asked_over_a_stated_number_of_connections(built: Fleet) -> None:
    """All of them at a time, and no more; each is used again."""
    now, most, opened, changes = [0], [0], [0], threading.Lock()

    def say(_: str) -> bytes:
        with changes:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.15)
        with changes:
            now[0] -= 1
        return answer("404")

    talk = speaking_http(say)

    def count(connection: socket.socket) -> None:
        with changes:
            opened[0] += 1
        talk(connection)

    with talker(count) as port:
        built.use(f"http://127.0.0.1:{port}")
        assert (0, COUNT, 0) == counts(built.run(built.tree("counted"), "--stateless", "--jobs", "1"))
    assert (CONNECTIONS, CONNECTIONS) == (most[0], opened[0])
    stated = (CHECKOUT / "docs/reference/configuration.md").read_text()
    assert f"{CONNECTIONS} connections" in stated


#: What a configuration says, and what a web server is told.
SECRETS: dict[str, tuple[str, str, str | None]] = {
    "nothing": ("", "", None),
    "a user": ("reader@", "geheim", "Basic cmVhZGVyOmdlaGVpbQ=="),
    "a user, with all in the URL": ("reader:geheim@", "", "Basic cmVhZGVyOmdlaGVpbQ=="),
    "a token": ("", "geheim", "Bearer geheim"),
}


@pytest.mark.parametrize("secret", SECRETS)
def test_who_asks_a_web_server(built: Fleet, tmp_path: Path, secret: str) -> None:
    """A user and a password, or a token; and what is asked for is below the path, before the query."""
    user, password, expected = SECRETS[secret]
    heads: list[str] = []

    def note(connection: socket.socket) -> None:
        heads.append(heard(connection).decode("latin-1"))
        connection.sendall(answer("401"))

    keys = {}
    if password:
        keys["password_file"] = str(tmp_path / "password")
        (tmp_path / "password").write_text(f"{password}\n")
        (tmp_path / "password").chmod(0o600)
    with talker(note) as port:
        built.use(f"http://{user}127.0.0.1:{port}/a/b/?c=d", **keys)
        assert (0, COUNT, 0) == counts(built.run(built.tree("asked"), "--stateless", "--jobs", "1"))
    assert heads
    for head in heads:
        request, *lines = head.split("\r\n")
        assert re.fullmatch(r"GET /a/b/[0-9a-f]{64}\?c=d HTTP/1\.1", request)
        told = dict(line.split(": ", 1) for line in lines if line)
        assert (expected, "identity") == (told.get("Authorization"), told["Accept-Encoding"])


def test_what_is_put_says_that_it_is_bytes(built: Fleet, tmp_path: Path) -> None:
    """Some build caches refuse what says nothing."""
    strict = "map $request_method$content_type $is_refused { PUT 1; default 0; }"
    server = Nginx(tmp_path / "server", before=strict, more="if ($is_refused) { return 415; }")
    with running(server):
        built.push(server.url)
        assert server.held()


@pytest.mark.parametrize("scheme", ["redis", "http"])
def test_what_fails_is_not_tried_again(built: Fleet, scheme: str) -> None:
    """Neither by us, nor by the library: each try would cost what a run may wait."""
    tries: list[bytes] = []

    def end(connection: socket.socket) -> None:
        tries.append(heard(connection))
        connection.close()

    with talker(end) as port:
        built.use(f"{scheme}://127.0.0.1:{port}")
        assert (0, COUNT, 0) == counts(built.run(built.tree("tried"), "--stateless", "--jobs", "1"))
    assert tries
    assert len(set(tries)) == len(tries)
    assert scheme == "http" or len(tries) == 1


def test_the_process_that_asks_has_no_rights(built: Fleet) -> None:
    """An account of nobody's, no way to more, bounded memory, and no file that it could write."""
    if os.geteuid():
        absent("needs root")
    seen: list[tuple[dict[str, str], str, list[str]]] = []

    def look(connection: socket.socket) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                lines = (process / "status").read_text().splitlines()
                status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                uid = int(status["Uid"].split()[0])
                if (
                    FREE_IDS[0][0] <= uid <= FREE_IDS[0][1]
                    and b"store.remote.serving" in (process / "cmdline").read_bytes()
                ):
                    open_files = [os.readlink(each) for each in (process / "fd").iterdir()]
                    seen.append((status, (process / "limits").read_text(), open_files))
            except (OSError, KeyError):
                continue
        connection.close()

    with talker(look) as port:
        built.use(f"redis://127.0.0.1:{port}")
        assert (0, COUNT, 0) == counts(built.run(built.tree("powerless"), "--stateless", "--jobs", "1"))
    assert seen
    for status, limits, open_files in seen:
        assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
        assert ("1", "0000000000000000") == (status["NoNewPrivs"], status["CapEff"])
        assert str(4 << 30) in next(line for line in limits.splitlines() if "Max address space" in line)
        assert [] == [each for each in open_files if not each.startswith(("socket:", "pipe:", "/dev/null"))]


#: What only the process that asks has to do with.
APART = {"ssl", "_ssl", "http.client", "redis", "cryptography", "zstandard", "compression.zstd", "backports.zstd"}


@pytest.mark.parametrize("kind", [Redis, Nginx])
def test_network_and_parsing_are_another_processs(built: Fleet, tmp_path: Path, kind: type[Any]) -> None:
    """The one that has a caller's rights doesn't even load what speaks TLS, HTTP or Redis, unpacks or verifies."""
    loaded = tmp_path / "loaded"
    program = f"""
import atexit, json, os, sys
own = os.getpid()
@atexit.register
def tell():
    if os.getpid() == own:
        with open({str(loaded)!r}, "w") as file:
            json.dump(list(sys.modules), file)
from pyctrigger.cli.main import main
sys.exit(main())
"""
    before = built.command.program
    with running(kind(tmp_path / "server")) as server:
        built.push(server.url)
        built.use(server.url)
        built.command.program = [sys.executable, "-c", program]
        try:
            outcome = built.run(built.tree("apart"), "--stateless", "--jobs", "1")
        finally:
            built.command.program = before
    assert (0, 0, COUNT) == counts(outcome)
    modules = set(json.loads(loaded.read_text()))
    assert "pyctrigger.store.remote.asking" in modules
    assert set() == modules & APART
