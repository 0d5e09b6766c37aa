"""`audit --scheduler`: a real Dask cluster examines what a real HTTP server has; its answer is that of one machine."""

from __future__ import annotations

import io
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from archive_server import archive_server, nginx
from archives import BUILT_AT, sdist_of, wheel_of
from command import Command
from confinement import NOBODY
from conftest import absent
from dask_cluster import DaskCluster, dask_cluster, node_environment, node_python, tls_environment
from system_tools import find_tool
from terminal import Screen, heard

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVES = 3000
#: Of 3.11.
MAGIC = (3495).to_bytes(2, "little") + b"\r\n"


def write_archives(top: Path, count: int) -> list[str]:
    """Small archives, all of them different: wheels and sdists; some are damaged, some have stale bytecode."""
    top.mkdir()
    names = []
    for number in range(count):
        source = f"x = {number}\n".encode()
        magic = MAGIC if number % 7 else b"\x01\x0d\r\n"
        pyc = magic + bytes(4) + struct.pack("<II", BUILT_AT + (number % 11 == 0) * 10**5, len(source)) + b"code"
        names.append(f"demo-{number}" + (".tar.gz" if number % 3 == 0 else ".whl"))
        build = sdist_of if number % 3 == 0 else wheel_of
        data = build({"demo/m.py": source, "demo/__pycache__/m.cpython-311.pyc": pyc})
        (top / names[-1]).write_bytes(data if number % 100 else data[: len(data) // 2])
    return names


def reports(outcome: Any) -> list[dict[str, Any]]:
    """What is said of each archive, wherever it is."""
    return [{key: each[key] for key in each if not key.startswith("path")} for each in outcome.document["archives"]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """For those that leave it as it is: two nodes."""
    with dask_cluster(2) as cluster:
        yield cluster


def test_the_answer_is_the_local_one_though_a_node_dies(pyctrigger: Command, tmp_path: Path) -> None:
    """Three thousand archives, three nodes, one of them killed in the middle: same report, same order, same code."""
    names = write_archives(tmp_path / "top", ARCHIVES)
    here = pyctrigger.json("audit", "--python", sys.executable, *(tmp_path / "top" / name for name in names))
    with nginx(tmp_path / "top", tmp_path / "nginx") as (url, count), dask_cluster(3) as cluster:
        urls = [f"{url}{name}" for name in names]
        killed: list[int] = []
        is_over = threading.Event()

        def kill() -> None:
            while count() <= ARCHIVES // 3 and not is_over.wait(0.05):
                pass
            cluster.nodes[1].send_signal(signal.SIGKILL)
            killed.append(count())

        thread = threading.Thread(target=kill)
        thread.start()
        there = pyctrigger.json("audit", "--python", sys.executable, "--scheduler", cluster.address, *urls)
        is_over.set()
        thread.join()

    assert ARCHIVES // 3 < killed[0] < ARCHIVES  # of two requests for each
    assert urls == [each["path"] for each in there.document["archives"]]
    assert reports(here) == reports(there)
    assert (here.code, here.document["summary"]) == (there.code, there.document["summary"])
    assert (3, ARCHIVES // 100) == (there.code, there.document["summary"]["failed"])


def test_text_is_the_local_one(
    pyctrigger: Command, cluster: DaskCluster, every_format: dict[str, Path], tmp_path: Path
) -> None:
    """Line by line, also of what can't be reached or isn't known; but for the time that it took."""
    top = tmp_path / "top"
    top.mkdir()
    for path in every_format.values():
        shutil.copy(path, top)
    with archive_server(top) as server:
        urls = [*map(server.url, (*sorted(os.listdir(top)), "none.whl")), "file:///none", "nope://x/y"]
        here, there = (pyctrigger.text("audit", *where, "-v", *urls) for where in ((), _on(cluster)))

    assert (3, here.err) == (there.code, there.err)
    assert 4 == there.err.count("\n")
    assert here.out.rpartition(" in ")[0] == there.out.rpartition(" in ")[0]


def _on(cluster: DaskCluster) -> tuple[str, str]:
    return "--scheduler", cluster.address


def test_a_poisonous_archive_costs_itself(pyctrigger: Command, tmp_path: Path) -> None:
    """One that ends each node that fetches it: it ends two, and the third one goes on without it."""
    names = write_archives(tmp_path / "top", 60)
    poison = names[31]
    with archive_server(tmp_path / "top") as server, dask_cluster(3) as cluster:

        def end_node(handler: Any) -> bool:
            port = handler.client_address[1]
            for node in cluster.nodes:
                if node.poll() is None and port in _ports_below(node.pid):
                    node.send_signal(signal.SIGKILL)
                    node.wait()
            return False

        server.faults[f"/{poison}"] = end_node
        outcome = pyctrigger.json("audit", "--scheduler", cluster.address, *map(server.url, names))
        alive = [node for node in cluster.nodes if node.poll() is None]

    failed = {each["path"]: each["failure"] for each in outcome.document["archives"] if each["failure"]}
    damaged = failed.pop(server.url(names[0]))
    assert "damaged" == damaged["kind"]
    assert {server.url(poison): {"kind": "crash", "message": "ended the nodes that examined it"}} == failed
    assert (3, 1) == (outcome.code, len(alive))


def _ports_below(pid: int) -> set[int]:
    found = set()
    for process in psutil.Process(pid).children(recursive=True):
        try:
            found |= {each.laddr.port for each in process.net_connections() if each.laddr}
        except psutil.Error:
            continue
    return found


def test_what_a_bomb_costs(pyctrigger: Command, cluster: DaskCluster, tmp_path: Path) -> None:
    """A reader, at most: the nodes stay, and the others are examined."""
    names = write_archives(tmp_path / "top", 8)
    with tarfile.open(tmp_path / "top/bomb.tar.xz", "w:xz", preset=0) as tar:
        info = tarfile.TarInfo("demo/m.pyc")
        info.size = 70 << 20
        tar.addfile(info, io.BytesIO(bytes(info.size)))
    with archive_server(tmp_path / "top") as server:
        outcome = pyctrigger.json("audit", *_on(cluster), server.url("bomb.tar.xz"), *map(server.url, names))

    assert ["limit", "damaged", *[None] * 7] == [
        each["failure"] and each["failure"]["kind"] for each in outcome.document["archives"]
    ]
    assert [None, None] == [node.poll() for node in cluster.nodes]


def test_progress_is_shown(cluster: DaskCluster, tmp_path: Path) -> None:
    """Of all archives, which are known from the beginning; and nothing is left of it."""
    names = write_archives(tmp_path / "top", 300)
    leader, terminal = pty.openpty()
    with archive_server(tmp_path / "top", delay=0.01) as server:
        command = [sys.executable, "-m", "pyctrigger", "audit", *_on(cluster), *map(server.url, names)]
        environment = {**os.environ, "TERM": "xterm"}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment) as child:
            os.close(terminal)
            said = heard(leader)
    screen = Screen(80)
    screen.show(said)
    assert 3 == child.returncode
    assert [frame for frame in screen.frames if " of 300" in frame]


# -- who is asked, and who isn't -----------------------------------------------------------------------------------


def test_no_node_is_root(as_root: None, pyctrigger: Command) -> None:
    """It would unpickle as root whatever it is sent: that node is named, and nothing is examined."""
    with dask_cluster(0) as cluster:
        cluster.add_node(as_root=True)
        outcome = pyctrigger.text("audit", "--scheduler", cluster.address, "http://127.0.0.1:1/x")

    assert (77, "") == (outcome.code, outcome.out)
    assert ": this node runs as root; start it under an account without rights" in outcome.err
    assert 1 == outcome.err.count("\n")


def test_no_scheduler(pyctrigger: Command) -> None:
    """Not everything could be examined, and why."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        outcome = pyctrigger.text("audit", "--scheduler", address, "http://127.0.0.1:1/x")

    assert (3, "") == (outcome.code, outcome.out)
    assert outcome.err.startswith(f"pyctrigger: {address}: no scheduler answers: ")
    assert "; is it running?" in outcome.err
    assert 1 == outcome.err.count("\n")


#: Deals out one URL, without patience; and says first when it is connected.
_HASTY = """
import os, sys
from pyctrigger.inspect.audit.cluster import dealer
dealer._NODE_TIMEOUT = 0.5
dealer.give_up_rights = lambda *_: None
try:
    with dealer._Cluster(sys.argv[1], {}) as cluster:
        print("connected", flush=True)
        sys.stdin.readline()
        list(cluster.answers(["http://127.0.0.1:1/x"], [], None))
except dealer._EndedError as error:
    print(*error.args, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(("is_stopped", "said"), [(False, "empty"), (True, "unreachable")], ids=["empty", "silent"])
def test_nobody_works(is_stopped: bool, said: str) -> None:
    """No node comes, or a scheduler falls silent: for so long that nothing is to be expected."""
    with dask_cluster(0) as cluster:
        command = [sys.executable, "-W", "ignore", "-c", _HASTY, cluster.address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin
            assert child.stdout
            assert "connected\n" == child.stdout.readline()
            if is_stopped:
                cluster.processes[0].send_signal(signal.SIGSTOP)
            child.stdin.write("\n")
            child.stdin.flush()
            assert said == child.stdout.readline().split()[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--scheduler", "tcp://192.0.2.1:8786", "http://x/y"], "is neither TLS nor on this machine"),
        (["--scheduler", "127.0.0.1:8786", "x.whl"], "isn't a URL"),
        (["--scheduler", "127.0.0.1:8786", "--jobs", "2", "http://x/y"], "--jobs: each thread of a node reads one"),
        (["--scheduler", "127.0.0.1", "http://x/y"], "is no address"),
    ],
    ids=["network", "file", "jobs", "no-port"],
)
def test_wrong_usage(pyctrigger: Command, arguments: list[str], reason: str) -> None:
    """Said at once, with what to write instead."""
    outcome = pyctrigger.text("audit", *arguments)

    assert (2, "") == (outcome.code, outcome.out)
    assert reason in outcome.err
    assert "; " in outcome.err


@contextmanager
def readable_place() -> Iterator[Path]:
    """A directory that the nodes can enter."""
    with tempfile.TemporaryDirectory(prefix="pyctrigger-certificates-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def _certify(openssl: str, place: Path) -> None:
    """A certificate that is its own authority; its key is for the nodes alone."""
    names = ["-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem"), "-subj", "/CN=pyctrigger"]
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names], capture_output=True, check=True)
    shutil.copy(place / "cert.pem", place / "ca.pem")
    for name in ("cert.pem", "ca.pem", "key.pem"):
        (place / name).chmod(0o600 if name == "key.pem" else 0o644)
        if not os.geteuid():
            os.chown(place / name, NOBODY, NOBODY)


def test_tls() -> None:
    """With the certificates of Dask's configuration; without them nobody answers."""
    openssl = find_tool("openssl")
    if openssl is None:
        absent("no openssl")
    place = node_python()
    with readable_place() as certificates:
        _certify(openssl, certificates)
        with dask_cluster(1, certificates=certificates) as cluster:
            environment = node_environment(cluster.place)
            (cluster.place / "x.zip").write_bytes(wheel_of({}))
            (cluster.place / "x.zip").chmod(0o644)
            command = [place, "-m", "pyctrigger", "audit", *_on(cluster), f"file://{cluster.place}/x.zip"]
            account: dict[str, Any] = {} if os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            trusted, stranger = (
                subprocess.run(
                    command, env=variables, cwd=cluster.place, capture_output=True, text=True, check=False, **account
                )
                for variables in ({**environment, **tls_environment(certificates)}, environment)
            )

    assert (0, "") == (trusted.returncode, trusted.stderr)
    assert trusted.stdout.startswith("1 archive, 0 with bytecode in ")
    assert (3, "") == (stranger.returncode, stranger.stdout)
    assert "name its certificates in Dask's configuration" in stranger.stderr
