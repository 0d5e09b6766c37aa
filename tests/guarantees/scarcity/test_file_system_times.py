"""What a file system's times can't show is looked at again: whole seconds, every second one, a clock that is behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from confinement import private_mounts
from conftest import absent
from manifests import all_records
from pyctrigger.state.records.record import UNSEEN
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Command
    from interpreters import Interpreter

#: What makes each file system. The second one keeps whole seconds as the first, the last what every other does.
MAKERS = {
    "ext2": ["mkfs.ext2", "-q", "-F", "-I", "128"],
    "ext4-128": ["mkfs.ext4", "-q", "-F", "-I", "128"],
    "ext4-256": ["mkfs.ext4", "-q", "-F", "-I", "256"],
    "vfat": ["mkfs.vfat"],
}
#: The command, with a clock that is seconds before that of every file system, as beside a server whose clock is behind.
AHEAD = """
import sys, time
true = time.time_ns
time.time_ns = lambda: true() + 3_000_000_000
from pyctrigger.cli import main
sys.exit(main())
"""


@pytest.fixture(params=MAKERS)
def mounted(request: pytest.FixtureRequest, tmp_path: Path, pyctrigger: Command) -> Iterator[Path]:
    """A directory on a file system of one kind, as this process sees it; the command sees it as `/mnt`."""
    kind = request.param.partition("-")[0]
    if kind == "vfat" and "vfat" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel knows no vfat")  # nothing that could be installed
    maker = find_tool(MAKERS[request.param][0])
    if os.geteuid() != 0 or maker is None:
        absent(f"needs root and {MAKERS[request.param][0]}")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run([maker, *MAKERS[request.param][1:], image], check=True, capture_output=True)
    with private_mounts(f"mount -o loop -t {kind} '{image}' /mnt") as inside:
        pyctrigger.program = [*inside, *pyctrigger.program]
        yield Path(inside[1].partition("=")[2]).parent.parent / "root/mnt"


@pytest.fixture
def on_mnt(oldest: Interpreter) -> list[str]:
    """The scope of these tests."""
    return ["--python", oldest.path, "--site-dir", "/mnt"]


def wait_for_a_second_to_begin() -> None:
    """What follows has nearly a whole second before it."""
    time.sleep(1 - time.time() % 1)


def times(path: Path) -> tuple[int, int, int]:
    """What distinguishes two states of a file of the same size."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def change_unseen(pyctrigger: Command, source: Path, texts: tuple[str, str], scope: list[str]) -> None:
    """Change a source just after a run, within the second if the file system keeps no more than that."""
    coarse = source.stat().st_ctime_ns % 1_000_000_000 == 0
    for _ in range(60):
        wait_for_a_second_to_begin()
        source.write_text(texts[0])
        before = times(source)
        pyctrigger.text("run", *scope)
        source.write_text(texts[1])
        if (times(source) == before) == coarse:
            return
    pytest.fail("a run over one source takes a second on this machine")


def imported(pyctrigger: Command, python: str) -> bytes:
    """What the target's import makes of the source."""
    program = "import sys; sys.path.insert(0, '/mnt'); import a; print(a.a)"
    command = [*pyctrigger.program[: pyctrigger.program.index("--") + 1], python, "-B", "-c", program]
    return subprocess.run(command, check=False, capture_output=True).stdout


@pytest.mark.parametrize(
    ("texts", "value"),
    [(("a = 1\n", "a = 2\n"), b"2\n"), (("a = (\n", "a = 3\n"), b"3\n")],
    ids=["other-code", "mended"],
)
def test_a_change_within_the_same_second_is_seen(
    pyctrigger: Command, mounted: Path, on_mnt: list[str], oldest: Interpreter, texts: tuple[str, str], value: bytes
) -> None:
    """Same size, same times, other content: the next run compiles it, also where the first one is no Python."""
    source = mounted / "a.py"
    source.write_text("")
    change_unseen(pyctrigger, source, texts, on_mnt)

    hook = pyctrigger.json("run", "--hook", *on_mnt, "/mnt/a.py")

    assert value == imported(pyctrigger, oldest.path)
    assert [] == hook.failures
    assert 0 == pyctrigger.text("verify", *on_mnt).code


def test_what_is_old_enough_is_recorded_as_seen(pyctrigger: Command, mounted: Path, on_mnt: list[str]) -> None:
    """Two seconds later nothing is left to look at again, and nothing is written."""
    (mounted / "a.py").write_text("a = 1\n")
    time.sleep(2.1)
    pyctrigger.text("run", *on_mnt)
    time.sleep(2.1)
    pyctrigger.text("run", *on_mnt)
    manifest = next(pyctrigger.state.glob("*/manifest.sqlite"))
    assert not any(UNSEEN in (record.source, record.pyc) for record in all_records(manifest))


@pytest.mark.parametrize("mounted", ["ext4-128"], indirect=True)
def test_a_clock_that_is_behind_ours_makes_nothing_old(
    pyctrigger: Command, mounted: Path, on_mnt: list[str], oldest: Interpreter
) -> None:
    """A server's clock that is three seconds behind: what is new there looks old here, and is believed no more."""
    source = mounted / "a.py"
    source.write_text("")
    at = pyctrigger.program.index(sys.executable)
    pyctrigger.program = [*pyctrigger.program[: at + 1], "-c", AHEAD]
    change_unseen(pyctrigger, source, ("a = 1\n", "a = 2\n"), on_mnt)

    pyctrigger.text("run", *on_mnt)

    assert imported(pyctrigger, oldest.path) == b"2\n"
