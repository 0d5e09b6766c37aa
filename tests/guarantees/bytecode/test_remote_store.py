"""Stores of other machines, with real servers: what they give is right or not used, and costs what is allowed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from children import public_directory
from command import Command
from confinement import NOBODY
from conftest import absent
from dask_cluster import node_environment, node_python
from interpreters import find_interpreters, one_per_flavour
from local_servers import free_port
from packages import write_tree
from pyctrigger.namespaces import FREE_IDS
from pyctrigger.store.container import SMALLEST_CONTAINER
from pyctrigger.store.signing import SigningKey, public_text
from store_servers import (
    COUNT,
    REST,
    SOURCES,
    Fleet,
    Nginx,
    Redis,
    Valkey,
    content_of,
    counts,
    fleet,
    running,
    said,
    talker,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

SECRET = "wachtwoord-4711"

#: The state of a connection that is open at both ends, as ``/proc/net/tcp`` writes it.
ESTABLISHED = "01"


@pytest.fixture(scope="module")
def built(newest: Interpreter) -> Iterator[Fleet]:
    """A store that one machine has filled at all levels, to be pushed; and trees of the same sources."""
    with public_directory() as top:
        yield Fleet(Command(top / "state"), newest.path, top, SOURCES, "--optimize", "0,1,2")


@pytest.fixture
def redis(built: Fleet, tmp_path: Path) -> Iterator[Redis]:
    """A Redis that has it all."""
    with running(Redis(tmp_path / "redis")) as server:
        built.push(server.url)
        yield server


#: A server, and options of the run.
KINDS: dict[str, tuple[type[Any], list[str]]] = {
    "redis": (Redis, ["--jobs", "1"]),
    "redis with lanes": (Redis, ["--jobs", "3", "--optimize", "0,1,2"]),
    "redis at level 1": (Redis, ["--jobs", "3", "--optimize", "1"]),
    "valkey with lanes": (Valkey, ["--jobs", "3", "--optimize", "0,1,2"]),
    "nginx": (Nginx, ["--jobs", "1", "--invalidation-mode", "checked-hash"]),
    "nginx with lanes": (Nginx, ["--jobs", "3", "--stateless", "--source-date-epoch", "1000"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_code_comes_from_another_machine(built: Fleet, tmp_path: Path, kind: str) -> None:
    """The bytes are those of a run without it, nothing is said, and nothing is written to it."""
    server_kind, options = KINDS[kind]
    tree = built.tree(kind)
    with running(server_kind(tmp_path / "server")) as server:
        built.push(server.url)
        held = server.held()
        built.use(server.url)
        outcome = built.run(tree, *options)
        write_tree(tree, {"new.py": "new = 1\n"})
        more = built.run(tree, *options)
        assert held == server.held()

    assert (0, 0, COUNT) == counts(outcome)
    assert (0, 1, 0) == counts(more)
    assert [] == said(outcome) + said(more)
    assert content_of(tree) == built.alone(tree, *options)


def with_flipped_bit(sealed: bytes) -> bytes:
    """In what was signed."""
    return sealed[:-9] + bytes([sealed[-9] ^ 1]) + sealed[-8:]


def unsigned(sealed: bytes) -> bytes:
    """Without its seal."""
    return sealed[-SMALLEST_CONTAINER:]


#: What becomes of what a store has, and what a run says of it; {0} for each source or level that it asks for.
LIES: dict[str, tuple[Callable[[Redis], Any], str]] = {
    "swapped": (Redis.rotate, "other key"),
    "cut short": (lambda redis: redis.change(lambda sealed: sealed[:-1]), "truncated"),
    "cut off": (lambda redis: redis.change(lambda sealed: sealed[:50]), "truncated"),
    "empty": (lambda redis: redis.change(lambda _: b""), "unsigned"),
    "flipped": (
        lambda redis: redis.change(with_flipped_bit),
        "flipped",
    ),
    "too long": (lambda redis: redis.change(lambda sealed: sealed + b"\0"), "oversized"),
    "far too long": (lambda redis: redis.change(lambda sealed: sealed + bytes(3 << 20)), "oversized"),
    "unsigned": (lambda redis: redis.change(unsigned), "unsigned"),
    "of a later version": (lambda redis: redis.change(lambda sealed: sealed[:7] + b"2" + sealed[8:]), "unknown format"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_a_counted_miss(built: Fleet, redis: Redis, lie: str) -> None:
    """All is compiled, exit 0, and one line says what wasn't used, and why."""
    deed, reason = LIES[lie]
    deed(redis)
    built.use(redis.url)
    tree = built.tree("lied to")
    outcome = built.run(tree, "--jobs", "1")
    content = content_of(tree)

    assert (0, COUNT, 0) == counts(outcome)
    # What is asked for twice while the first answer is awaited is asked for once.
    (line,) = said(outcome)
    begin, _, rest = line.partition(": not used: ")
    assert (f"store {redis.url}", reason) == (begin, rest.partition(" ")[2])
    assert COUNT >= int(rest.partition(" ")[0]) >= COUNT - 2
    assert content == built.alone(tree, "--jobs", "1")


def test_only_trusted_keys_are_believed(built: Fleet, redis: Redis) -> None:
    """A new key is added to the list first, and the old one taken off once nothing is signed with it any more."""
    new = SigningKey.generate()
    old_one, new_one = built.public, public_text(new.public)
    for trusted, stored in (([old_one], COUNT), ([old_one, new_one], COUNT), ([new_one], 0)):
        built.use(redis.url, trusted_keys=trusted)
        outcome = built.run(built.tree("trusting"), "--stateless")
        assert (0, COUNT - stored, stored) == counts(outcome)
        assert bool(stored) != ("unknown signer" in "".join(said(outcome)))
    built.push(redis.url, new)
    assert (0, 0, COUNT) == counts(built.run(built.tree("trusting"), "--stateless"))


def hang(connection: socket.socket) -> None:
    """Read, and never answer."""
    while connection.recv(1 << 16):
        pass


def drip(connection: socket.socket) -> None:
    """Answer a byte at a time, and never to the end."""
    connection.recv(1 << 16)
    for _ in range(1000):
        connection.sendall(b"+")
        time.sleep(0.05)


def flood(connection: socket.socket) -> None:
    """Begin an answer that has no end."""
    connection.recv(1 << 16)
    connection.sendall(b"$99999999999\r\n")
    while True:
        connection.sendall(bytes(1 << 20))


def answering(text: bytes) -> Callable[[socket.socket], None]:
    """Say the same to everything."""

    def talk(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            connection.sendall(text)

    return talk


HTTP = b"HTTP/1.1 "
ELSEWHERE = HTTP + b"302 No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
SLOW, STRANGE = "it took longer than it saved by `timeout` seconds", "it doesn't answer as such a store does"
REFUSED, ERRORS = "it refuses this user or password", "it answers with errors"
#: What a server does, by the beginning of its URL, and what a run says of it.
SERVERS: dict[str, tuple[str, Callable[[socket.socket], None], str]] = {
    "redis hangs": ("redis://", hang, SLOW),
    "redis drips": ("redis://", drip, SLOW),
    "redis ends": ("redis://", lambda connection: connection.close(), "it closed the connection"),
    "redis says nonsense": ("redis://", answering(b"nonsense\r\n"), STRANGE),
    "redis has no TLS": ("rediss://", answering(b"-ERR unknown command\r\n"), "no encrypted connection is possible"),
    "http hangs": ("http://", hang, SLOW),
    "http drips": ("http://", drip, SLOW),
    "http ends": ("http://", lambda connection: connection.close(), "it closed the connection"),
    "http fails": ("http://", answering(HTTP + b"500 No\r\nContent-Length: 2\r\n\r\nno"), ERRORS),
    "http goes elsewhere": (
        "http://",
        answering(ELSEWHERE),
        ERRORS,
    ),
    "http refuses": (
        "http://",
        answering(HTTP + b"401 No\r\nContent-Length: 0\r\n\r\n"),
        REFUSED,
    ),
    "http says nonsense": ("http://", answering(b"nonsense\r\n"), STRANGE),
    "http has no TLS": ("https://", answering(HTTP + b"400 No\r\n\r\n"), "no encrypted connection is possible"),
}
_ALLOWED = 0.4
#: Seconds that a busy machine may add to a run.
_SPARE = 6.0


@pytest.mark.parametrize("name", SERVERS)
def test_a_bad_server_costs_no_more_than_allowed(built: Fleet, name: str) -> None:
    """All is compiled, exit 0, and one line says why; no secret of the URL does."""
    scheme, talk, reason = SERVERS[name]
    tree = built.tree("alone")
    with talker(talk) as port:
        timeout = _ALLOWED if reason.startswith("it took") else 30
        built.use(f"{scheme}user:{SECRET}@127.0.0.1:{port}", timeout=timeout)
        begun = time.monotonic()
        outcome = built.run(tree, "--stateless", "--jobs", "3")
        taken = time.monotonic() - begun

    assert (0, COUNT, 0) == counts(outcome)
    (line,) = said(outcome)
    assert f"store {scheme}127.0.0.1:{port}: {reason}; {REST}" == line.partition("; not used: ")[0]
    assert (reason == ERRORS) == ("not used" in line)
    assert SECRET not in outcome.out + outcome.err
    assert taken < _ALLOWED + _SPARE
    shutil.rmtree(tree)


def test_a_server_that_sends_without_end(built: Fleet) -> None:
    """Nothing of it is kept that is longer than any pyc can be."""
    with talker(flood) as port:
        built.use(f"redis://127.0.0.1:{port}")
        outcome = built.run(built.tree("flooded"), "--stateless", "--jobs", "1")
    assert (0, COUNT, 0) == counts(outcome)
    (line,) = said(outcome)
    assert re.fullmatch(rf"store redis://127\.0\.0\.1:{port}: not used: \d+ oversized", line)


def test_nobody_listens(built: Fleet) -> None:
    """Once for all flavours of a run."""
    url = f"redis://127.0.0.1:{free_port()}"
    built.use(url)
    outcome = built.run(built.tree("nobody"), "--stateless")
    assert (0, COUNT, 0) == counts(outcome)
    assert [f"store {url}: connection refused; {REST}"] == said(outcome)
    assert 1 == outcome.err.count("store redis")


def test_a_server_that_is_killed(built: Fleet, redis: Redis) -> None:
    """What it has given is used, and the rest compiled."""
    begun = threading.Event()

    def relay(connection: socket.socket) -> None:
        """Pass on what Redis says, until it is killed."""
        with socket.create_connection(("127.0.0.1", redis.port)) as other:
            passed = 0
            while data := connection.recv(1 << 16):
                other.sendall(data)
                other.settimeout(0.2)
                try:
                    while answer := other.recv(1 << 10):
                        passed += len(answer)
                        connection.sendall(answer)
                        if passed > 6_000:
                            begun.set()
                            redis.stop()
                            connection.close()
                            return
                except socket.timeout:
                    continue
                connection.close()
                return

    with talker(relay) as port:
        built.use(f"redis://127.0.0.1:{port}")
        tree = built.tree("killed")
        outcome = built.run(tree, "--stateless", "--jobs", "1")
    content = content_of(tree)

    assert begun.is_set()
    code, compiled, stored = counts(outcome)
    assert (0, COUNT) == (code, compiled + stored)
    assert 0 < stored < COUNT
    assert [f"store redis://127.0.0.1:{port}: it closed the connection; {REST}"] == said(outcome)
    assert content == built.alone(tree, "--jobs", "1")


def test_a_full_server_takes_nothing_more_and_gives_what_it_has(built: Fleet, tmp_path: Path) -> None:
    """A push says so; a run has what there is."""
    with running(Redis(tmp_path / "redis", "--maxmemory-policy", "noeviction")) as redis:
        built.push(redis.url)
        with redis.client() as client:
            client.config_set("maxmemory", "1")
        with pytest.raises(Exception, match=r"store redis://\S+: \d+ server error"):
            built.push(redis.url)
        built.use(redis.url)
        assert (0, 0, COUNT) == counts(built.run(built.tree("full"), "--stateless"))


@pytest.mark.parametrize("kind", [Redis, Valkey])
def test_who_may_only_read(built: Fleet, tmp_path: Path, kind: type[Redis]) -> None:
    """A run needs no other right than GET; and whoever has no password is refused."""
    with running(kind(tmp_path / "server")) as server:
        built.push(server.url)
        judge_reader(built, server)


def judge_reader(built: Fleet, server: Redis) -> None:
    """Let a user of a filled server read, and nobody else."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", f">{SECRET}", "~pyctrigger:*", "+get", "+select")
        client.execute_command("ACL", "SETUSER", "default", "off")
    password = built.top / "password"
    password.write_text(f"{SECRET}\n")
    password.chmod(0o600)
    url = server.url.replace("//", "//reader@")
    built.use(url, password_file=str(password))
    assert (0, 0, COUNT) == counts(built.run(built.tree("reader"), "--stateless"))

    with pytest.raises(Exception, match="it refuses this user or password"):
        built.push(url, password_file=str(password))
    built.use(url)
    outcome = built.run(built.tree("stranger"), "--stateless")
    assert (0, COUNT, 0) == counts(outcome)
    assert [f"store {server.url}: it refuses this user or password; {REST}"] == said(outcome)
    password.chmod(0o644)
    built.use(url, password_file=str(password))
    outcome = built.run(built.tree("careless"), "--stateless")
    assert (0, COUNT, 0) == counts(outcome)
    (line,) = said(outcome)
    assert f"password file {password} is open to others" in line


def test_a_store_needs_a_key_that_is_trusted(built: Fleet, redis: Redis) -> None:
    """It isn't even asked."""
    built.use(redis.url, trusted_keys=[])
    outcome = built.run(built.tree("keyless"), "--stateless")
    assert (0, COUNT, 0) == counts(outcome)
    expected = "it was not asked: without trusted keys nothing in it can be believed (set trusted_keys in [store])"
    assert [f"store {redis.url}: {expected}"] == said(outcome)


def test_what_not_everybody_may_read_is_not_asked_for(built: Fleet, redis: Redis) -> None:
    """Nor what is in a directory that not everybody may enter."""
    built.use(redis.url)
    tree = built.tree("private")
    (tree / "m.py").chmod(0o640)
    (tree / "bulk3").chmod(0o750)
    closed = 1 + len(list((tree / "bulk3").iterdir()))
    with redis.client() as client:
        client.config_resetstat()
        assert (0, closed, COUNT - closed) == counts(built.run(tree, "--stateless", "--jobs", "1"))
        asked = client.info("commandstats")["cmdstat_get"]["calls"]
    assert asked <= COUNT - closed


def test_root_lets_another_account_ask(built: Fleet) -> None:
    """Whoever takes the process over that has the connection has no account of anybody's."""
    if os.geteuid():
        absent("needs root")
    accounts: list[int] = []

    def look(connection: socket.socket) -> None:
        theirs, ours = (f":{name[1]:04X}" for name in (connection.getpeername(), connection.getsockname()))
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            # Any other connection may have the same port at one end; one that was closed has no account.
            if fields[1].endswith(theirs) and fields[2].endswith(ours) and fields[3] == ESTABLISHED:
                accounts.append(int(fields[7]))
        connection.close()

    with talker(look) as port:
        built.use(f"redis://127.0.0.1:{port}")
        assert (0, COUNT, 0) == counts(built.run(built.tree("watched"), "--stateless", "--jobs", "1"))
    assert accounts
    assert all(FREE_IDS[0][0] <= each <= FREE_IDS[0][1] for each in accounts)


def test_trees_of_other_accounts_and_roots(built: Fleet, redis: Redis) -> None:
    """They are asked for as well, if everybody may read them: by whoever acts as their owner, and from outside."""
    if os.geteuid():
        absent("needs root")
    built.use(redis.url)
    tree = built.tree("theirs")
    for path in [tree, *tree.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    assert (0, 0, COUNT) == counts(built.run(tree, "--jobs", "1"))
    assert {NOBODY} == {path.stat().st_uid for path in tree.rglob("*.pyc")}

    root = built.top / "root"
    built.tree("root/opt/site")
    place = ["--python", built.python, "--config", str(built.top / "config.toml"), "--stateless"]
    staged = built.command.json("run", *place, "--root", str(root), "--site-dir", "/opt/site")
    assert (0, 0, COUNT) == counts(staged)


def test_a_hook_says_one_line_and_never_fails(built: Fleet) -> None:
    """For all flavours of a call there is one time, too."""
    pythons = [each.path for each in one_per_flavour(find_interpreters()) if "pypy" not in each.path][-3:]
    tree = built.tree("hooked")
    places = [word for python in pythons for word in ("--python", python)]
    with talker(hang) as port:
        built.use(f"http://127.0.0.1:{port}", timeout=0.5)
        words = [
            *places,
            "--site-dir",
            str(tree),
            "--state-dir",
            f"{tree}-state",
            "--config",
            str(built.top / "config.toml"),
        ]
        outcome = built.command.text("run", "--hook", *words, str(tree))
    assert 0 == outcome.code
    assert [f"pyctrigger: store http://127.0.0.1:{port}: {SLOW}; {REST}"] == [
        line for line in outcome.err.splitlines() if "store" in line
    ]
    assert len(pythons) * COUNT == len(content_of(tree))


def test_a_repair_asks_nobody(built: Fleet, redis: Redis) -> None:
    """What it writes it has compiled."""
    built.use(redis.url)
    with redis.client() as client:
        client.config_resetstat()
        assert (0, COUNT, 0) == counts(built.run(built.tree("repaired"), "--stateless", verb="repair"))
        assert "cmdstat_get" not in client.info("commandstats")


def test_an_ordinary_account_asks_as_well(tmp_path: Path) -> None:
    """Its process has no account of its own, and the same bounds."""
    if os.geteuid():
        absent("needs root")
    python = node_python()
    with fleet(Command(tmp_path / "state"), python) as theirs, running(Nginx(tmp_path / "nginx")) as nginx:
        theirs.push(nginx.url)
        theirs.use(nginx.url)
        (theirs.top / "config.toml").chmod(0o644)
        tree = theirs.tree("ordinary")
        for path in [tree, *tree.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)
        theirs.command.program[0] = python
        account: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
        outcome = theirs.run(tree, "--stateless", env=node_environment(theirs.top), **account)
    assert (0, 0, len(theirs.sources)) == counts(outcome), said(outcome)


def test_no_secret_is_told_or_kept(built: Fleet, tmp_path: Path) -> None:
    """Not in output, state, arguments or environment of any process; neither is where the password file's is."""
    password = built.top / "secret"
    password.write_text(f"{SECRET}-too\n")
    password.chmod(0o600)
    seen: list[bytes] = []

    def watch(connection: socket.socket) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen.append((process / name).read_bytes())
                except OSError:
                    continue
        connection.close()

    (built.top / "config.toml").chmod(0o600)
    outcomes = []
    with talker(watch) as port:
        for url, keys in (
            (f"redis://{SECRET}:{SECRET}@127.0.0.1:{port}", {}),
            (f"http://{SECRET}@127.0.0.1:{port}/{SECRET}?key={SECRET}", {"password_file": str(password)}),
        ):
            built.use(url, **keys)
            tree = built.tree("secret tree")
            outcomes.append(built.run(tree, "-vv"))
            outcomes.append(built.run(tree, verb="explain"))
            outcomes.append(built.command.json("history", "--state-dir", f"{tree}-state"))
            shutil.rmtree(tree)
            kept = [path.read_bytes() for path in Path(f"{tree}-state").rglob("*") if path.is_file()]
            assert kept
            assert not any(SECRET.encode() in each for each in kept)
            shutil.rmtree(f"{tree}-state")
        for wrong in (f"redis://{SECRET}@host/x", f"http://{SECRET}@ho st/", f"ftp://{SECRET}@host/"):
            built.use(wrong)
            outcomes.append(built.run(built.tree("wrong")))
            assert 2 == outcomes[-1].code
    assert any(b"pyctrigger" in each for each in seen)
    assert not any(SECRET.encode() in each for each in seen)
    assert not any(SECRET in each.out + each.err for each in outcomes)


# -- networks and authorities of the test's own ------------------------------------------------------------------------

#: Makes a network whose packets go nowhere; then names are asked for there, too.
NOWHERE = """
set -e
ip link set lo up
ip tuntap add dev hole mode tun
ip address add 10.71.0.1/24 dev hole
ip link set hole up
mount --bind "$0" /etc/resolv.conf
exec "$@"
"""


@pytest.mark.parametrize("host", ["10.71.0.2", "store.example"])
@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_black_hole_costs_no_more_than_allowed(built: Fleet, tmp_path: Path, host: str, jobs: str) -> None:
    """Also one that is asked for the address, and over all lanes together."""
    if os.geteuid():
        absent("needs root")
    (tmp_path / "resolv.conf").write_text("nameserver 10.71.0.3\noptions timeout:30\n")
    before = built.command.program
    built.command.program = [
        tool("unshare"), "--net", "--mount", "sh", "-c", NOWHERE, str(tmp_path / "resolv.conf"), *before,
    ]  # fmt: skip
    tree = built.tree("nowhere")
    try:
        built.configure()
        begun = time.monotonic()
        assert (0, COUNT, 0) == counts(built.run(tree, "--stateless", "--jobs", jobs))
        without = time.monotonic() - begun
        tree = built.tree("nowhere")
        built.use(f"http://{host}:8080/", timeout=1.0)
        begun = time.monotonic()
        outcome = built.run(tree, "--stateless", "--jobs", jobs)
        taken = time.monotonic() - begun
    finally:
        built.command.program = before
    assert (0, COUNT, 0) == counts(outcome)
    (line,) = said(outcome)
    assert line.startswith(f"store http://{host}:8080: it took longer than it saved by `timeout` seconds")
    assert 1.0 < taken < without + 1.0 + _SPARE


def certify(place: Path) -> Path:
    """Make a certificate for 127.0.0.1 that is its own authority, and a directory of authorities with it."""
    openssl = tool("openssl")
    cert = place / "cert.pem"
    names: list[Any] = [
        "-keyout",
        place / "key.pem",
        "-out",
        cert,
        "-subj",
        "/CN=store",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names], capture_output=True, check=True)
    hashed = subprocess.run([openssl, "x509", "-hash", "-noout", "-in", cert], capture_output=True, check=True)
    authorities = place / "authorities"
    authorities.mkdir()
    shutil.copy(cert, authorities / f"{hashed.stdout.decode().strip()}.0")
    return authorities


@pytest.mark.parametrize("kind", ["redis", "nginx"])
def test_tls_with_an_authority_of_the_systems(built: Fleet, tmp_path: Path, kind: str) -> None:
    """Who isn't in the system's list isn't believed to be the store."""
    if os.geteuid():
        absent("needs root")
    tmp_path.chmod(0o755)
    authorities = certify(tmp_path)
    cert, key = f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem"
    if kind == "redis":
        options = ["--tls-port", "PORT", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"]
        server: Any = Redis(tmp_path / "server", *options)
        url = server.url.replace("redis:", "rediss:")
    else:
        server = Nginx(tmp_path / "server", options="ssl", more=f"ssl_certificate {cert}; ssl_certificate_key {key};")
        url = server.url
    place = ssl.get_default_verify_paths().openssl_capath
    before = built.command.program
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    with running(server):
        built.use(url)
        stranger = built.run(built.tree("stranger"), "--stateless")
        built.command.program = [tool("unshare"), "-m", "sh", "-c", script, str(authorities), place, *before]
        try:
            with_keys(built, url, place, authorities)
            outcome = built.run(built.tree("stranger"), "--stateless")
        finally:
            built.command.program = before
    assert (0, COUNT, 0) == counts(stranger)
    assert ["its certificate isn't valid here"] == [each.split(": ")[1].split(";")[0] for each in said(stranger)]
    assert (0, 0, COUNT) == counts(outcome), said(outcome)


def with_keys(built: Fleet, url: str, place: str, authorities: Path) -> None:
    """Push through TLS, in a process that sees the authority."""
    program = (
        "import sys, json; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from pyctrigger.store.signing import SigningKey\n"
        "from pyctrigger.store.local import open_local\n"
        "from pyctrigger.store.push import Push\n"
        "from pyctrigger.store.remote.asking import RemoteSettings\n"
        "from pyctrigger.store.remote.writing import RemoteWriter\n"
        "key = SigningKey.from_pem(sys.stdin.buffer.read())\n"
        "with RemoteWriter(RemoteSettings(sys.argv[2], (), '', 1.0)) as writer:\n"
        "    with open_local(sys.argv[3], writes=False) as store:\n"
        "        Push(store, writer, key).run()\n"
    )
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    words = [tool("unshare"), "-m", "sh", "-c", script, str(authorities), place]
    command = [*words, sys.executable, "-c", program, json.dumps(sys.path), url, str(built.local)]
    subprocess.run(command, input=built.key.to_pem(), check=True, timeout=60)
