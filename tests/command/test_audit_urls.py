"""`audit` of archives behind URLs: zips by ranges, the rest whole, and whatever a server does is a value."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from archive_server import ArchiveServer, archive_server
from archives import BUILDERS, build_large, failures, noise, without_path
from environment import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command

#: What a reader fetches first, and last.
BLOCK = 1 << 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """With a directory that is empty yet."""
    (tmp_path / "top").mkdir()
    with archive_server(tmp_path / "top") as server:
        yield server


@pytest.mark.parametrize("has_ranges", [True, False], ids=["ranges", "none"])
def test_the_report_is_that_of_files(
    pyctrigger: Command, every_format: dict[str, Path], tmp_path: Path, has_ranges: bool
) -> None:
    """For every format, small ones and ones with a megabyte more, whether the server has ranges or not."""
    top = tmp_path / "top"
    top.mkdir()
    for path in every_format.values():
        shutil.copy(path, top)
    build_large(top / "large.whl")
    with tarfile.open(top / "large.tar.xz", "w:xz", preset=0) as tar:
        (tmp_path / "noise").write_bytes(noise(1 << 20))
        tar.add(tmp_path / "noise", "demo/data.bin")
        tar.add(every_format["demo-1.zip"], "demo/m.pyc")
    names = sorted(os.listdir(top))
    here = pyctrigger.json("audit", *(top / name for name in names))

    with archive_server(top, has_ranges=has_ranges) as server:
        there = pyctrigger.json("audit", *map(server.url, names))

    assert (1, len(BUILDERS) + 2) == (here.code, len(names))
    assert [server.url(name) for name in names] == [each["path"] for each in there.document["archives"]]
    assert list(map(without_path, here.document["archives"])) == list(map(without_path, there.document["archives"]))
    assert (here.code, here.document["summary"]) == (there.code, there.document["summary"])


def test_a_zip_is_read_by_ranges(pyctrigger: Command, server: ArchiveServer) -> None:
    """Of four megabytes only what is looked at: the first block, the directory, what is around each pyc."""
    build_large(server.top / "large.whl")

    outcome = pyctrigger.json("audit", server.url("large.whl"))

    asked = server.asked_for("large.whl")
    assert 1 == outcome.document["summary"]["counts"]["pycs"]
    assert [] == [each for each in asked if each.method == "GET" and not each.range]
    assert sum(each.given for each in asked) <= 4 * BLOCK
    assert len(asked) <= 5


def test_what_is_no_zip_is_fetched_once(pyctrigger: Command, server: ArchiveServer) -> None:
    """And its first block, which tells what it is."""
    with tarfile.open(server.top / "a.tar", "w") as tar:
        info = tarfile.TarInfo("demo/data.bin")
        info.size = 1 << 20
        tar.addfile(info, io.BytesIO(bytes(1 << 20)))

    assert 0 == pyctrigger.json("audit", server.url("a.tar")).code
    size = (server.top / "a.tar").stat().st_size
    assert [0, BLOCK, size] == [each.given for each in server.asked_for("a.tar")]


def test_urls_beside_files(pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer) -> None:
    """In the order in which they are named, each once; a file's URL is read like a file."""
    shutil.copy(every_format["demo-1.zip"], server.top)
    local, wheel = every_format["demo-1.tar.gz"], every_format["demo-1-py3-none-any.whl"]
    named = [server.url("demo-1.zip"), str(local), f"file://{wheel}", server.url("demo-1.zip")]

    outcome = pyctrigger.json("audit", *named)

    assert 0 == outcome.code
    assert named[:3] == [each["path"] for each in outcome.document["archives"]]
    assert ["zip", "tar", "wheel"] == [each["format"] for each in outcome.document["archives"]]


# -- servers that fail -------------------------------------------------------------------------------------------------


def _busy(times: int) -> Any:
    """503 for so many requests."""
    left = [times]

    def fault(handler: Any) -> bool:
        left[0] -= 1
        if left[0] >= 0:
            handler.send(503, b"")
        return left[0] >= 0

    return fault


def _status(status: int) -> Any:
    return lambda handler: handler.send(status, b"") or True


def _cut(handler: Any) -> bool:
    """The connection ends in the middle of the content."""
    handler.send(206, b"PK\x03\x04", {"Content-Range": "bytes 0-99/100"}, length=100)
    handler.close_connection = True
    return True


def _no_http(handler: Any) -> bool:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    handler.close_connection = True
    return True


def _elsewhere(handler: Any) -> bool:
    handler.send(302, b"", {"Location": "/good.zip"})
    return True


FAULTS: dict[str, tuple[Any, str]] = {
    "gone": (_status(404), "HTTP 404: "),
    "forbidden": (_status(403), "HTTP 403: "),
    "busy": (_busy(10**6), "HTTP 503: "),
    "cut": (_cut, "ContentLengthError|ClientPayloadError|payload"),
    "no-http": (_no_http, "."),
    "busy-twice": (_busy(2), ""),
    "elsewhere": (_elsewhere, ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_server_does_is_a_value(
    pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer, name: str
) -> None:
    """Of that archive alone, in one line; what passes by itself is tried again."""
    shutil.copy(every_format["demo-1.zip"], server.top / "good.zip")
    shutil.copy(every_format["demo-1.zip"], server.top / name)
    fault, message = FAULTS[name]
    server.faults[f"/{name}"] = fault

    outcome = pyctrigger.json("audit", "--jobs", "1", server.url(name), server.url("good.zip"))

    (kind, said), good = failures(outcome)
    assert ("", "") == good
    assert (("io", 3) if message else ("", 0)) == (kind, outcome.code)
    if message:
        assert re.search(message, said)
        assert "\n" not in said


def test_what_cannot_be_reached_is_named(pyctrigger: Command) -> None:
    """Each for its own reason, with what to do about it where that is known."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}/a.whl"

        outcome = pyctrigger.text("audit", closed, "nope://x/y", "simplecache::http://x/y", "file:///none", "s3://a/b")

    assert (3, "5 archives, 0 with bytecode, 5 not examined") == (outcome.code, outcome.out.partition(" in ")[0])
    refused, unknown, chain, file, backend, hint = outcome.err.splitlines()
    assert f"{closed}: io: Connection refused" == refused
    assert unknown.startswith(
        "nope://x/y: unsupported: can't be fetched: Protocol not known: nope; install the package"
    )
    assert chain.startswith("simplecache::http://x/y: unsupported: is a chain of file systems")
    assert "file:///none: io: No such file or directory" == file
    assert "hint: io: check that the file or URL exists, and that this account may read it" == hint
    assert backend.startswith("s3://a/b: unsupported: can't be fetched: ")


def test_a_url_that_is_too_long_is_not_fetched(
    pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer
) -> None:
    """One byte less is asked for; and those after it are what they are."""
    shutil.copy(every_format["demo-1.zip"], server.top / "good.zip")
    beginning = server.url("")
    longest = beginning + "x" * ((1 << 16) - len(beginning))

    outcome = pyctrigger.json("audit", "--jobs", "1", longest, longest + "x", server.url("good.zip"))

    asked, refused, good = failures(outcome)
    assert ("limit", "has a URL of more than 65536 bytes") == refused
    assert ("io", ("", "")) == (asked[0], good)
    assert 3 == outcome.code


def test_a_silent_server_costs_its_own_time(
    pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer
) -> None:
    """That which one archive may take; the next one is fetched by a new process."""
    shutil.copy(every_format["demo-1.zip"], server.top / "good.zip")
    is_over = threading.Event()

    def say_nothing(handler: Any) -> bool:
        handler.close_connection = True
        return is_over.wait(120)

    server.faults["/slow.zip"] = say_nothing
    since = time.monotonic()

    outcome = pyctrigger.json("audit", "--jobs", "1", "--timeout", "2", server.url("slow.zip"), server.url("good.zip"))

    assert [("timeout", "was not fetched within 2 s"), ("", "")] == failures(outcome)
    assert time.monotonic() - since < 60
    is_over.set()


def test_what_is_too_large_is_not_fetched(pyctrigger: Command, server: ArchiveServer) -> None:
    """Neither what says so, nor what doesn't."""
    (server.top / "large.tar.gz").write_bytes(b"\x1f\x8b" + bytes(3 << 20))

    def endless(handler: Any) -> bool:
        handler.send_response(200)
        handler.send_header("Accept-Ranges", "none")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        while handler.command == "GET":
            handler.wfile.write(bytes(1 << 16))
        return True

    server.faults["/endless.tar.gz"] = endless
    outcome = pyctrigger.json("audit", "--max-size", "1MiB", server.url("large.tar.gz"), server.url("endless.tar.gz"))

    assert [("limit", "is larger than 1048576 bytes")] * 2 == failures(outcome)
    assert 0 == sum(each.given for each in server.asked_for("large.tar.gz"))


def test_a_lost_fetcher_costs_its_archive(
    pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer
) -> None:
    """It is named, and the next one is examined."""
    shutil.copy(every_format["demo-1.zip"], server.top / "good.zip")

    def deadly(handler: Any) -> bool:
        port = handler.client_address[1]
        for process in psutil.Process().children(recursive=True):
            try:
                if port in [each.laddr.port for each in process.net_connections() if each.raddr]:
                    process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        return False

    server.faults["/deadly.zip"] = deadly
    outcome = pyctrigger.json("audit", "--jobs", "1", server.url("deadly.zip"), server.url("good.zip"))

    assert [("crash", "ended the process that fetched it: killed by SIGKILL"), ("", "")] == failures(outcome)


@pytest.mark.usefixtures("as_root")
def test_a_fetcher_has_no_rights(pyctrigger: Command, every_format: dict[str, Path], server: ArchiveServer) -> None:
    """Neither root's, nor a way to them."""
    shutil.copy(every_format["demo-1.zip"], server.top / "good.zip")
    seen: list[tuple[str, str, bool]] = []

    def look(handler: Any) -> bool:
        port = handler.client_address[1]
        for process in psutil.Process().children(recursive=True):
            try:
                if port in [each.laddr.port for each in process.net_connections() if each.raddr]:
                    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
                    seen.append((status["NoNewPrivs"], status["CapEff"], "0" in status["Uid"].split()))
            except psutil.Error:
                continue
        return False

    server.faults["/good.zip"] = look
    assert 0 == pyctrigger.json("audit", server.url("good.zip")).code
    assert {("1", "0000000000000000", False)} == set(seen)


ASKED = pytest.mark.parametrize("options", [[], ["--scheduler", "127.0.0.1:1"]], ids=["here", "cluster"])


def audit_with(libraries: Path, options: list[str]) -> subprocess.CompletedProcess[str]:
    """The command with what it needs, and the libraries of a directory, but without our environment's."""
    for name in ("filelock", "platformdirs", "tomli"):
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            (libraries / name).symlink_to(Path(spec.origin).parent)
    program = f"import sys; sys.path[:0] = [{str(CHECKOUT / 'src')!r}, {str(libraries)!r}]\n"
    program += "from pyctrigger.cli import main; sys.exit(main())"
    command = [sys.executable, "-S", "-c", program, "audit", *options, "http://127.0.0.1:1/y"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@ASKED
def test_without_the_extra(tmp_path: Path, options: list[str]) -> None:
    """A line that names the command to install it."""
    child = audit_with(tmp_path, options)

    assert (3, 1) == (child.returncode, child.stderr.count("\n"))
    assert "pip install 'pyctrigger[cluster]'" in child.stderr


@ASKED
def test_with_a_broken_extra(tmp_path: Path, options: list[str]) -> None:
    """A line that says how its process ended."""
    for name in ("fsspec", "aiohttp", "dask", "distributed"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('is broken')\n")

    child = audit_with(tmp_path, options)

    assert (3, 1) == (child.returncode, child.stderr.count("\n"))
    assert "did not start: " in child.stderr
    assert "RuntimeError: is broken" in child.stderr
