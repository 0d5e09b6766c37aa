"""`store push`: what this installation compiled goes to a store of other machines, signed, and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from children import public_directory
from local_servers import free_port
from packages import write_tree
from pyctrigger.interpreter.probe import probe
from pyctrigger.store.container import StoredCode
from pyctrigger.store.key import keys_of
from pyctrigger.store.local import open_local
from store_servers import Nginx, Redis, Valkey, running, talker

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Command, Outcome
    from interpreters import Interpreter

SOURCES = {f"p/m{number}.py": f"x = {number}\n" * (1 + 100 * (number % 3)) for number in range(30)}


class Farm:
    """A machine that compiles and pushes, and others that read."""

    def __init__(self, command: Command, python: Interpreter, top: Path) -> None:
        self.command, self.python, self.top = command, python, top
        self.public = self.new_key("key.pem")
        self.configure()

    def new_key(self, name: str) -> str:
        """Make a key; what is printed."""
        made = self.command.text("store", "keygen", str(self.top / name))
        assert 0 == made.code
        return made.out.strip()

    def configure(self, key: str = "key.pem", **keys: Any) -> None:
        """The builder's configuration."""
        self._write("builder", url=f"{self.top}/store", signing_key=f"{self.top}/{key}", **keys)

    def trust(self, url: str, *keys: str, **more: Any) -> None:
        """The readers' configuration."""
        self._write("reader", url=url, trusted_keys=list(keys), timeout=30, **more)

    def _write(self, who: str, **keys: Any) -> None:
        told = "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
        (self.top / f"{who}.toml").write_text(f"[store]\n{told}")

    def run(self, who: str, name: str, verb: str = "run", *options: str) -> Outcome:
        """A run of one of them over a tree of its own."""
        tree = self.top / name
        if not tree.exists():
            write_tree(tree, SOURCES)
        scope = ["--python", self.python.path, "--site-dir", str(tree), "--state-dir", f"{tree}-state"]
        return self.command.json(verb, *scope, "--config", str(self.top / f"{who}.toml"), *options)

    def push(self, url: str, *options: str) -> Outcome:
        """Push, as JSON."""
        return self.command.json("store", "push", url, *options, "--config", str(self.top / "builder.toml"))

    def pushed(self, url: str, *options: str) -> dict[str, Any]:
        """What a push that ends well says."""
        outcome = self.push(url, *options)
        assert 0 == outcome.code, outcome.document["errors"]
        sent: dict[str, Any] = outcome.document["push"]
        return sent


@pytest.fixture
def farm(pyctrigger: Command, newest: Interpreter) -> Iterator[Farm]:
    """One that has compiled the sources."""
    with public_directory() as top:
        made = Farm(pyctrigger, newest, top)
        assert len(SOURCES) == made.run("builder", "built").counts["compiled"]
        yield made


SERVERS: dict[str, Callable[[Path], Any]] = {"redis": Redis, "valkey": Valkey, "nginx": Nginx}


@pytest.mark.parametrize("kind", SERVERS)
def test_what_one_machine_compiled_others_find(farm: Farm, kind: str) -> None:
    """All of it, once; and bytecode that came from there names the store and the signer."""
    with running(SERVERS[kind](farm.top / "server")) as server:
        told = farm.pushed(server.url)
        shown = server.url.removesuffix("/cache")
        assert (shown, farm.public, len(SOURCES)) == (told["to"], told["signer"], told["sent"])
        assert (0, 0, 0) == (told["present"], told["withheld"], told["damaged"])
        again = farm.pushed(server.url)
        assert (0, 0, len(SOURCES)) == (again["sent"], again["bytes"], again["present"])

        farm.trust(server.url, farm.public)
        read = farm.run("reader", "read").counts
        assert (0, len(SOURCES)) == (read["compiled"], read["stored"])
        tree = farm.top / "read"
        scope = ["--python", farm.python.path, "--site-dir", str(tree), "--state-dir", f"{tree}-state"]
        origin = f"its code came from the store {shown}, signed by {farm.public}"
        assert origin in farm.command.text("explain", *scope, str(tree / "p/m1.py")).out
    assert 0 == farm.run("reader", "read", "verify", "--compare-code").code


def test_poisoned_code_is_found_with_its_signer_and_repaired(farm: Farm) -> None:
    """As after the key has become known: whoever had it pushed other code for a source."""
    keys = keys_of(probe(farm.python.path).interpreter)
    assert keys is not None
    with open_local(str(farm.top / "store")) as store:
        first, second = (code for code in store.get(list(store.keys())[:2]) if isinstance(code, StoredCode))
    with open_local(str(farm.top / "forged"), create=True) as store:
        store.put([first._replace(key=second.key, origin=store.origin)])
    farm.configure(key="key.pem")
    (farm.top / "builder.toml").write_text((farm.top / "builder.toml").read_text().replace("/store", "/forged"))
    with running(Redis(farm.top / "server")) as server:
        assert 1 == farm.pushed(server.url)["sent"]
        farm.trust(server.url, farm.public)
        assert 1 == farm.run("reader", "read").counts["stored"]
        assert 0 == farm.run("reader", "read", "verify").code

        found = farm.run("reader", "read", "verify", "--compare-code")
        assert 1 == found.code
        (finding,) = found.findings
        assert ("mismatched", server.url, farm.public) == (finding["kind"], finding["store"], finding["signer"])
        assert f"the store {server.url}, signed by {farm.public}" in finding["reason"]
        farm.trust(server.url, farm.new_key("new.pem"))
        assert 1 == farm.run("reader", "read", "repair").counts["compiled"]
        assert 0 == farm.run("reader", "read", "verify", "--compare-code").code


def test_after_a_revocation_a_repair_leaves_nothing_of_that_signer(farm: Farm) -> None:
    """What was right is compiled as well: until then records name him, and a run believes them."""
    with running(Redis(farm.top / "server")) as server:
        farm.pushed(server.url)
        farm.trust(server.url, farm.public)
        assert len(SOURCES) == farm.run("reader", "read").counts["stored"]
        farm.trust(server.url, farm.new_key("new.pem"))
        tree = farm.top / "read"
        scope = ["--python", farm.python.path, "--site-dir", str(tree), "--state-dir", f"{tree}-state"]
        named = [farm.public in farm.command.text("explain", *scope, str(tree / "p/m1.py")).out]
        assert len(SOURCES) == farm.run("reader", "read").counts["fresh"]
        repaired = farm.run("reader", "read", "repair")
        assert (0, 0) == (repaired.code, repaired.counts["stored"])
        named.append(farm.public in farm.command.text("explain", *scope, str(tree / "p/m1.py")).out)
        stored = farm.run("reader", "read", "status").document["runs"][0]["status"]["stored"]
    assert [True, False] == named
    assert 0 == stored


def test_keys_are_rotated_by_the_list(farm: Farm) -> None:
    """Readers trust both for a while; what the old one signed is sent again; then it is taken off the list."""
    new = farm.new_key("new.pem")
    with running(Redis(farm.top / "server")) as server:
        farm.pushed(server.url)
        farm.trust(server.url, new)
        distrusting = farm.run("reader", "first")
        assert (len(SOURCES), 0) == (distrusting.counts["compiled"], distrusting.counts["stored"])
        assert f"{len(SOURCES)} unknown signer" in str(distrusting.document)

        farm.configure(key="new.pem")
        assert 0 == farm.pushed(server.url)["sent"]
        told = farm.pushed(server.url, "--again")
        assert (len(SOURCES), new) == (told["sent"], told["signer"])
        assert len(SOURCES) == farm.run("reader", "second").counts["stored"]


def test_only_what_was_compiled_here_and_all_may_read_is_sent(farm: Farm) -> None:
    """What came with somebody else's store isn't, nor what is private; though the store keeps both."""
    closed = write_tree(farm.top / "closed", {"secret.py": "password = 'x'\n"}) / "secret.py"
    closed.chmod(0o600)
    assert 1 == farm.run("builder", "closed").counts["compiled"]
    with open_local(str(farm.top / "store")) as store:
        (code, *_) = (each for each in store.get(list(store.keys())) if isinstance(each, StoredCode))
        store.put([code._replace(key=bytes(32), origin=b"of somebody else")])
    with running(Redis(farm.top / "server")) as server:
        told = farm.pushed(server.url)
        assert (len(SOURCES), 2) == (told["sent"], told["withheld"])
        with server.client() as client:
            kept = b"".join(client.mget(client.keys("*")))
    assert len(SOURCES) == kept.count(b"pyctsea1")


@pytest.mark.parametrize("kind", [Redis, Valkey])
def test_what_a_server_refuses_ends_the_push(farm: Farm, kind: type[Redis]) -> None:
    """A user that may only read can't write; the message names the server, and no secret."""
    words = ("on", ">geheim", "~pyctrigger:*", "+get", "+exists", "-set")
    with running(kind(farm.top / "server", "--user", "reader", *words)) as server:
        password = farm.top / "password"
        password.write_text("geheim\n")
        password.chmod(0o600)
        farm.configure(password_file=str(password))
        outcome = farm.push(server.url.replace("//", "//reader@"))
        assert (3, 0) == (outcome.code, outcome.document["push"]["sent"])
        (error,) = outcome.document["errors"]
        assert error["message"].startswith(f"store {server.url}: ")
        assert "geheim" not in str(outcome.document)

        password.chmod(0o644)
        refused = farm.push(server.url.replace("//", "//reader@"))
        assert 0 != refused.code
        assert f"password file {password} is open to others" in str(refused.document["errors"])
        with server.client() as client:
            assert [] == client.keys("*")


def test_a_full_server_ends_the_push_and_the_next_one_sends_the_rest(farm: Farm) -> None:
    """What was sent stays, and counts."""
    with running(Redis(farm.top / "server", "--maxmemory-policy", "noeviction")) as server, server.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 5000)
        outcome = farm.push(server.url)
        assert 3 == outcome.code
        client.config_set("maxmemory", "100mb")
        there = len(client.keys("*"))
        assert there < len(SOURCES)
        told = farm.pushed(server.url)
        assert (there, len(SOURCES)) == (told["present"], told["sent"] + told["present"])


def hang_up(connection: socket.socket) -> None:
    """Take a request, and end."""
    connection.recv(1000)
    connection.close()


def test_a_server_that_is_gone_or_hangs_up_is_named(farm: Farm) -> None:
    """With what the system says."""
    port = free_port()
    outcome = farm.push(f"redis://127.0.0.1:{port}")
    assert (3, "error") == (outcome.code, outcome.document["outcome"])
    assert f"store redis://127.0.0.1:{port}: connection refused" == outcome.document["errors"][0]["message"]
    with talker(hang_up) as port:
        for scheme in ("http", "redis"):
            outcome = farm.push(f"{scheme}://127.0.0.1:{port}")
            assert 3 == outcome.code
            assert f"store {scheme}://127.0.0.1:{port}: it closed the connection" in str(outcome.document["errors"])


#: A URL, lines of the builder's configuration in the place of its own, and a part of what is said.
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("/srv/store", {}, "store push needs a URL: it isn't the URL of a store"),
    ("ftp://host", {}, "store push needs a URL: it isn't the URL of a store"),
    ("redis://host/x", {}, "store push needs a URL: after a host of Redis comes the number of a database"),
    ("redis://:geheim@ho st", {}, "store push needs a URL: it has characters that no URL has"),
    ("redis://user:geheim@host", {}, "everybody sees a command line, and this one has a password in it"),
    ("redis://host", {"signing_key": ""}, "no signing key is configured"),
    ("redis://host", {"signing_key": "/none/key.pem"}, "signing key /none/key.pem: No such file or directory"),
    ("redis://host", {"url": ""}, "no store is configured"),
    ("redis://host", {"url": "redis://other"}, "the store that is configured is on another machine"),
    ("redis://host", {"url": "/none/store"}, "store /none/store doesn't exist yet"),
]


@pytest.mark.parametrize(("url", "keys", "reason"), MISTAKES, ids=[f"{number}" for number in range(len(MISTAKES))])
def test_what_is_wrong_is_said_before_anything_is_asked(
    pyctrigger: Command, tmp_path: Path, url: str, keys: dict[str, Any], reason: str
) -> None:
    """Each with a hint, and without the secret in a URL."""
    key, config = tmp_path / "key.pem", tmp_path / "config.toml"
    assert 0 == pyctrigger.text("store", "keygen", str(key)).code
    told = {"url": str(tmp_path / "store"), "signing_key": str(key), **keys}
    config.write_text("[store]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items()))
    outcome = pyctrigger.text("store", "push", url, "--config", str(config))
    assert (2, "") == (outcome.code, outcome.out)
    assert reason in outcome.err
    assert "; " in outcome.err
    assert "geheim" not in outcome.err


def test_again_is_for_a_push(pyctrigger: Command) -> None:
    outcome = pyctrigger.text("store", "status", "--again")
    assert (2, "pyctrigger: --again is for store push; leave it out\n") == (outcome.code, outcome.err)


def test_no_secret_of_a_url_is_in_the_processes_that_push(farm: Farm) -> None:
    """What it was called with is the caller's own matter; but nothing that it starts is called with it."""
    seen: list[bytes] = []

    def look(connection: socket.socket) -> None:
        connection.recv(1000)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = subprocess.check_output(["cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ"], stderr=-3)
            except subprocess.CalledProcessError:
                continue
            if b"geheim" in line:
                seen.append(line)
        connection.close()

    password = farm.top / "password"
    password.write_text("geheim\n")
    password.chmod(0o600)
    farm.configure(password_file=str(password))
    with talker(look) as port:
        assert 3 == farm.push(f"http://127.0.0.1:{port}").code
    assert [] == seen
