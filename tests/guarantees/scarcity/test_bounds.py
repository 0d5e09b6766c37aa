"""Every read has a bound before it is made, and what slow sources may take together has one, too."""

from __future__ import annotations

import ast
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pyctrigger
from confinement import SLOW
from interpreters import tag_of
from packages import write_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Command
    from interpreters import Interpreter

GIB = 1 << 30
#: Bytes, and seconds: what the host may hold, and how long whatever it finds may keep it.
MOST_HELD, MOST_SECONDS = 200 << 20, 5.0


class Cost(NamedTuple):
    """What a command took."""

    code: int
    seconds: float
    memory: int
    """Bytes: the most that it, or a child of its, has held."""
    processor: float
    """Seconds, children included."""


#: What a process is started from counts as memory that it held (execve(2) keeps the most of before): so a small one
#: starts it, and the one that runs all tests doesn't.
MEASURING = """
import json, os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024, used.ru_utime + used.ru_stime]))
"""


def cost(command: Command, verb: str, *arguments: str) -> Cost:
    """Run it, and see what it takes. What hangs fails."""
    line: list[Any] = [sys.executable, "-I", "-S", "-c", MEASURING, *command.command_line(verb, arguments)]
    began = time.monotonic()
    measured = subprocess.run(line, stdout=subprocess.PIPE, check=True, timeout=60)
    seconds = time.monotonic() - began
    code, memory, processor = json.loads(measured.stdout)
    return Cost(code, seconds, memory, processor)


@pytest.mark.parametrize("verb", ["verify", "run", "repair"])
@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "recorded"])
def test_a_pyc_larger_than_its_source_can_account_for_is_corrupt(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter, verb: str, is_known: bool
) -> None:
    """Three of 1 GiB, sparse and with a good header, are found and fixed at once, and never read into memory."""
    names = ["a", "b", "c"]
    write_tree(site, {f"{name}.py": f"x = {name!r}\n" for name in names})
    pycs = [site / "__pycache__" / f"{name}.{tag_of(newest)}.pyc" for name in names]
    pyctrigger.json("run", *scope)
    if not is_known:
        shutil.rmtree(pyctrigger.state)
    for pyc in pycs:
        os.truncate(pyc, GIB)

    took = cost(pyctrigger, verb, *scope)

    assert took.seconds < MOST_SECONDS
    assert took.memory < MOST_HELD
    if verb == "verify":
        found = pyctrigger.json("verify", *scope).findings
        assert {("corrupt", str(pyc)) for pyc in pycs} == {(each["kind"], each["pyc"]) for each in found}
    else:
        assert {True} == {pyc.stat().st_size < 1000 for pyc in pycs}
        assert [] == pyctrigger.json("verify", *scope).findings


READERS = {"read", "read1", "readall", "readline", "readlines", "read_text", "read_bytes"}


def unbounded(file: Path) -> Iterator[str]:
    """The calls in a file of ours that read as much as there is."""
    tree = ast.parse(file.read_text())
    opened = {
        item.optional_vars.id
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.optional_vars, ast.Name) and "open" in ast.unparse(item.context_expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            if (node.func.attr in READERS and not node.args and not node.keywords) or (
                called in {"json.load", "marshal.load", "pickle.load", "tomllib.load"}
            ):
                yield called
        if isinstance(node, (ast.For, ast.comprehension)) and getattr(node.iter, "id", None) in opened:
            yield f"for … in {ast.unparse(node.iter)}"


def test_nothing_reads_as_much_as_there_is() -> None:
    """Every read says how much it takes at most, but for those of a target, whose memory is limited."""
    package = Path(pyctrigger.__file__).parent
    files = [file for file in package.rglob("*.py") if "remote" not in file.parts]
    assert [] == [(str(file.relative_to(package)), call) for file in files for call in unbounded(file)]


#: Bytes of a source, of its pyc, and whether that is corrupt for its size alone.
SIZES = [(10, 1 << 20, False), (10, (1 << 20) + 1, True), (2000, 3_000_000, False), (2000, 3_000_001, True)]


@pytest.mark.parametrize(("source", "pyc", "is_corrupt"), SIZES)
def test_where_the_bound_is(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter, source: int, pyc: int, is_corrupt: bool
) -> None:
    """Any source may have 1 MiB, and 1,500 times its own size: bytes after the code do no harm."""
    (site / "m.py").write_text("#" * (source - 1) + "\n")
    pyctrigger.json("run", *scope)
    os.truncate(site / "__pycache__" / f"m.{tag_of(newest)}.pyc", pyc)
    found = pyctrigger.json("verify", "--stateless", *scope).findings  # which looks at headers and sizes only
    assert (["corrupt"] if is_corrupt else []) == [finding["kind"] for finding in found]


def test_the_largest_body_of_a_small_source_is_kept(
    pyctrigger: Command, site: Path, scope: list[str], newest: Interpreter
) -> None:
    """840 bytes of constants that are folded make nearly a megabyte, which is written, read and fresh."""
    lines = "".join(f"x{number}='{number:02}'*2048\n" for number in range(42))
    (site / "m.py").write_text(lines)
    assert 1 == pyctrigger.json("run", *scope).counts["compiled"]
    assert (site / "__pycache__" / f"m.{tag_of(newest)}.pyc").stat().st_size > 150 * len(lines)
    assert [] == pyctrigger.json("verify", *scope).findings


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 100 * GIB)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(path.parent)  # its address has room for 107 bytes
        listening.bind(path.name)


def links_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


KINDS: list[Callable[[Path], None]] = [fifo, endless, sparse, unix_socket, links_in_a_circle]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["run", "verify", "status", "purge"])
def test_whatever_has_the_name_of_what_is_read(
    pyctrigger: Command,
    site: Path,
    scope: list[str],
    newest: Interpreter,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Path], None],
    verb: str,
) -> None:
    """In the place of a source, a pyc, a `__pycache__`, a link's goal: nothing hangs, and the others are compiled."""
    monkeypatch.chdir(site)
    write_tree(site, {"good.py": "x = 1\n", "m.py": "x = 2\n", "package/a.py": "x = 3\n"})
    (site / "__pycache__").mkdir()
    for path in (
        site / "source.py",
        site / "__pycache__" / f"m.{tag_of(newest)}.pyc",
        site / "package/__pycache__",
        site / "goal",
    ):
        kind(path)
    (site / "link.py").symlink_to("goal")

    took = cost(pyctrigger, verb, *scope, *(["-y"] if verb == "purge" else []))

    assert took.seconds < MOST_SECONDS
    assert took.memory < MOST_HELD
    assert (verb == "run") == (site / "__pycache__" / f"good.{tag_of(newest)}.pyc").exists()


@pytest.mark.parametrize("kind", [*KINDS, Path.mkdir])
def test_whatever_has_the_name_of_the_configuration(
    pyctrigger: Command,
    site: Path,
    scope: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Path], None],
) -> None:
    """It is refused with its path, at once."""
    monkeypatch.chdir(tmp_path)
    configuration = tmp_path / "pyctrigger.toml"
    kind(configuration)
    took = cost(pyctrigger, "run", *scope, "--config", str(configuration))
    assert took.code in (2, 77)
    assert took.seconds < MOST_SECONDS
    assert took.memory < MOST_HELD


# -- time -----------------------------------------------------------------------------------------------------------

#: Seconds that a source may take here.
LIMIT = 1


@pytest.fixture
def limited(tmp_path: Path, scope: list[str]) -> list[str]:
    """Arguments for a run with one worker and a short limit."""
    return limited_to(tmp_path, scope, LIMIT)


def limited_to(tmp_path: Path, scope: list[str], seconds: float) -> list[str]:
    """The same, with this limit."""
    configuration = tmp_path / "limits.toml"
    configuration.write_text(f"[defaults]\nfile_timeout = {seconds}\njobs = 1\n")
    configuration.chmod(0o644)
    return [*scope, "--config", str(configuration)]


def attempts(took: Cost) -> int:
    """How many times a slow source was tried, by the processor time that this takes: somewhat more or less."""
    return round(took.processor / LIMIT)


def test_equal_content_is_tried_once(pyctrigger: Command, site: Path, limited: list[str]) -> None:
    """Eight names, links and copies, of one slow source cost one time-out, all of them are named, and the next run
    costs none.

    A name more doesn't either, an edit and a repair cost one.
    """
    write_tree(site, {"slow.py": SLOW})
    for number in range(7):
        (os.link, shutil.copyfile)[number % 2](site / "slow.py", site / f"slow{number}.py")
    assert 1 == attempts(cost(pyctrigger, "run", *limited))
    assert 0 == attempts(cost(pyctrigger, "run", *limited))
    shutil.copyfile(site / "slow.py", site / "later.py")
    assert 0 == attempts(cost(pyctrigger, "run", *limited))
    findings = pyctrigger.json("verify", *limited).findings
    assert 9 == len([each for each in findings if each["kind"] == "uncompilable"])
    assert 1 == attempts(cost(pyctrigger, "repair", *limited))


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_directory_of_slow_sources_has_a_time(
    pyctrigger: Command, site: Path, tmp_path: Path, scope: list[str], jobs: str
) -> None:
    """Thirty different ones: a hook tries six, compiles all others, names the rest once and leaves it pending.

    The next one goes on with it. Lanes leave what is slow to the host.
    """
    write_tree(site, {f"slow{number}.py": f"y = {number}\n{SLOW}" for number in range(30)})
    write_tree(site, {f"quick{number}.py": f"y = {number}\n" for number in range(20)})
    limit = LIMIT * 0.3
    limited = limited_to(tmp_path, scope, limit)
    tried: set[str] = set()
    for _ in range(2):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = pyctrigger.json("run", "--hook", "--jobs", jobs, *limited, str(site))
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 10 * limit + 2
        (rest,) = [each for each in run.failures if each["message"].startswith("not tried, nor ")]
        slow = [each for each in run.failures if each is not rest]
        assert {"timeout"} == {each["kind"] for each in run.failures}
        assert 6 <= len({each["path"] for each in slow} - tried) <= 7
        tried |= {each["path"] for each in slow}
        assert 20 == len(list((site / "__pycache__").glob("quick*.pyc")))
        assert 1 == pyctrigger.json("status", *limited).run["status"]["pending"]


def with_fitting_headers(command: Command, site: Path, scope: list[str], sources: dict[str, str], tag: str) -> None:
    """Sources that have a pyc with their mtime and size in it, and other code."""
    write_tree(site, {"quick.py": "x = 1\n"})
    command.json("run", *scope)
    pyc = (site / "__pycache__" / f"quick.{tag}.pyc").read_bytes()
    for name, text in sources.items():
        write_tree(site, {f"{name}.py": text})
        status = (site / f"{name}.py").stat()
        facts = struct.pack("<II", int(status.st_mtime), status.st_size)
        (site / "__pycache__" / f"{name}.{tag}.pyc").write_bytes(pyc[:8] + facts + pyc[16:])


def test_a_look_at_slow_sources_has_a_time(
    pyctrigger: Command, site: Path, tmp_path: Path, scope: list[str], newest: Interpreter
) -> None:
    """Of thirty whose code is to be compared, six are tried; the rest is named once, as not examined."""
    slow = {f"slow{number}": f"y = {number}\n{SLOW}" for number in range(30)}
    with_fitting_headers(pyctrigger, site, scope, slow, tag_of(newest))
    limit = LIMIT * 0.3
    used = resource.getrusage(resource.RUSAGE_CHILDREN)

    look = pyctrigger.json("verify", "--compare-code", *limited_to(tmp_path, scope, limit))

    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime < 10 * limit + 2
    tried = [each for each in look.findings if each["kind"] == "uncompilable"]
    assert 6 <= len(tried) <= 7
    (rest,) = look.run["unexamined"]
    assert f"not tried, nor {29 - len(tried)} others: slow sources have used up their time" == rest["message"]
    assert 3 == look.code


def test_a_look_tries_equal_content_once(
    pyctrigger: Command, site: Path, limited: list[str], scope: list[str], newest: Interpreter
) -> None:
    """Eight copies of one slow source cost one time-out, and none where a run has remembered it."""
    with_fitting_headers(pyctrigger, site, scope, {f"slow{number}": SLOW for number in range(8)}, tag_of(newest))
    took = cost(pyctrigger, "verify", "--compare-code", *limited)
    assert 0.5 * LIMIT < took.processor < 2 * LIMIT
    pyctrigger.json("run", *limited)
    assert cost(pyctrigger, "verify", "--compare-code", *limited).processor < 0.5 * LIMIT
    found = pyctrigger.json("verify", "--compare-code", *limited).findings
    assert {"uncompilable"} == {each["kind"] for each in found}
    assert 8 == len(found)
