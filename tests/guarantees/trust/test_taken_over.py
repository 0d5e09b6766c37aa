"""What a worker can do that was taken over: a payload stands where the compiler is, and every deed of it fails.

The interpreter is a copy whose library has another `source_to_code`: from its first source on, and so when it has been
given its account, it runs what that source says, whatever a corrupted memory could make it do.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from children import public_directory
from command import Command
from confinement import NOBODY, command_for, cpython_for, private_mounts, wait_for
from conftest import absent
from packages import pycs_below, write_tree
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE = 64503
LEASED = range(2_000_200_001, 2_147_352_576)
#: It has everything in its memory that a payload needs, as machine code would have it.
TAKEN = """\
import ctypes, errno, os, signal, socket, stat, sys, time
from importlib.machinery import SourceFileLoader
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
real = SourceFileLoader.source_to_code
def source_to_code(self, data, path, *, _optimize=-1):
    if b"#deed" not in data:
        return real(self, data, path, _optimize=_optimize)
    said = "refused"
    try:
        exec(bytes(data).decode(), globals())
        said = "done"
    except (OSError, AssertionError, AttributeError):
        pass
    return compile("said = %r" % said, path, "exec")
SourceFileLoader.source_to_code = source_to_code
"""
#: What it tries; HOST, TREE, OPEN and SOCKET are put in.
DEEDS = {
    "read the host's memory by its file": 'open("/proc/HOST/mem", "rb").close()',
    "read the host's memory by a call": """
        with open("/proc/HOST/maps") as maps:
            there = Piece(int(maps.readline().partition("-")[0], 16), 8)
        here = Piece(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
        call("process_vm_readv", HOST, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    """,
    "trace the host": "call('ptrace', 0x4206, HOST, None, None)",
    "signal the host": "os.kill(HOST, 0)",
    "signal a process of root's": "os.kill(1, 0)",
    "list the host's descriptors": 'os.listdir("/proc/HOST/fd")',
    "take a descriptor of the host's": """
        process = call("syscall", 434, HOST, 0)
        call("syscall", 438, process, 0, 0)
    """,
    "have root's account again": "os.setuid(0)",
    "have a group again": "os.setgroups([0])",
    "make a file in the tree": 'os.close(os.open("TREE/made", os.O_CREAT | os.O_WRONLY, 0o644))',
    "make a directory in the tree": 'os.mkdir("TREE/made.d")',
    "truncate a file in the tree": 'os.truncate("TREE/victim", 0)',
    "write a file in the tree": 'os.close(os.open("TREE/victim", os.O_WRONLY))',
    "link a file in the tree": 'os.link("TREE/victim", "TREE/link")',
    "remove a file in the tree": 'os.unlink("TREE/removed")',
    "rename a file in the tree": 'os.rename("TREE/renamed", "TREE/renamed.2")',
    "change a mode in the tree": 'os.chmod("TREE/victim", 0o666)',
    "make a file where everybody may": 'os.close(os.open("OPEN/made", os.O_CREAT | os.O_WRONLY, 0o644))',
    "make a directory where everybody may": 'os.mkdir("OPEN/made.d")',
    "make a link where everybody may": 'os.symlink("/etc/passwd", "OPEN/link")',
    "remove a file where everybody may": 'os.unlink("OPEN/removed")',
    "truncate a file of everybody's": 'os.truncate("OPEN/victim", 0)',
    "connect to a socket of everybody's": """
        channel = socket.socket(socket.AF_UNIX)
        channel.connect("SOCKET")
        channel.close()
    """,
    "fork past its limit": """
        children = []
        try:
            for _ in range(3):
                child = os.fork()
                if not child:
                    time.sleep(60)
                    os._exit(0)
                children.append(child)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    """,
    "make a namespace": """
        child = os.fork()
        if not child:
            os._exit(0 if libc.unshare(0x10000000) == 0 else 1)
        assert os.waitpid(child, 0)[1] == 0
    """,
}
#: What doesn't fail, and must not outlive the run.
LINGERING = """\
if not os.fork():
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGIO, signal.SIGPROF):
        signal.signal(number, signal.SIG_IGN)
    CLOSE
    time.sleep(300)
    os._exit(0)
"""


class Ground(NamedTuple):
    """A tree, an interpreter that is taken over, and what both lie in."""

    top: Path
    site: Path
    python: Path
    command: Command

    def plant(self, deeds: dict[str, str], owner: int) -> None:
        """A source for each deed, and what it is about."""
        for place in (self.site, self.top / "open"):
            for name in ("victim", "removed", "renamed"):
                (place / name).write_text("whole")
                (place / name).chmod(0o666 if place != self.site else 0o644)
        values = {"TREE": self.site, "OPEN": self.top / "open", "SOCKET": self.top / "socket", "HOST": "os.getppid()"}
        for number, deed in enumerate(deeds.values()):
            text = textwrap.dedent(deed).replace('"/proc/HOST', '"/proc/%d" % os.getppid() + "')
            for name, value in values.items():
                text = text.replace(name, str(value))
            (self.site / f"d{number}.py").write_text(f"#deed\n{text}\n")
        for path in (self.site, *self.site.iterdir()):
            os.chown(path, owner, owner)
            path.chmod(0o755 if path == self.site else 0o644)

    def on(self) -> list[str]:
        """The options."""
        return ["--python", str(self.python), "--site-dir", str(self.site)]

    def remains(self) -> list[int]:
        """The processes that are still there of those that ran under a leased account."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                lines = Path("/proc", name, "status").read_text().splitlines()
                uid = int(next(line.split()[1] for line in lines if line.startswith("Uid:")))
                is_ours = os.fsencode(self.top) in Path("/proc", name, "cmdline").read_bytes()
            except (OSError, StopIteration):
                continue
            if is_ours and uid in LEASED:
                found.append(int(name))
        return found


def copy_of(real: str, prefix: Path) -> Path:
    """An interpreter with a library of links to the real one's, but for the module that is taken over."""
    question = "import os, sys; print(os.path.dirname(os.__file__)); print(*sys.version_info[:2], sep='.')"
    said = subprocess.run([real, "-I", "-S", "-c", question], capture_output=True, check=True, text=True)
    library, version = said.stdout.split()
    own = prefix / "lib" / f"python{version}"
    own.mkdir(parents=True)
    for entry in Path(library).iterdir():
        if entry.name not in ("struct.py", "__pycache__"):
            (own / entry.name).symlink_to(entry)
    (own / "struct.py").write_text(Path(library, "struct.py").read_text() + TAKEN)
    python = prefix / "bin" / f"python{version}"
    python.parent.mkdir()
    shutil.copy(real, python)
    return python


@contextmanager
def ground(mode: int = 0o755) -> Iterator[Ground]:
    """A place where the interpreter's directory has this mode."""
    real = cpython_for(ALICE)
    if real is None:
        absent("a CPython that any account may execute")
    with public_directory() as top:
        place = top / "place"
        python = copy_of(real, place)
        place.chmod(mode)
        (top / "open").mkdir()
        (top / "open").chmod(0o777)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(top / "socket"))
            (top / "socket").chmod(0o666)
            server.listen()
            (top / "site").mkdir()
            yield Ground(top, top / "site", python, Command(top / "state"))


def said_by(ground: Ground) -> dict[str, str]:
    """What the worker answered for each deed: the string in its pyc."""
    answers = {}
    for pyc in pycs_below(ground.site):
        number = int(Path(os.fsdecode(pyc)).name.split(".")[0][1:])
        content = Path(os.fsdecode(pyc)).read_bytes()
        answers[list(DEEDS)[number]] = "done" if b"done" in content else "refused" if b"refused" in content else "?"
    return answers


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["everybody's", "root's alone"])
@pytest.mark.parametrize("owner", [0, ALICE], ids=["root's tree", "a user's tree"])
def test_every_deed_of_a_compiler_fails(as_root: None, owner: int, mode: int) -> None:
    """Over root's tree and a user's, by an interpreter of everybody's and by one that starts as root."""
    with ground(mode) as place:
        place.plant(DEEDS, owner)

        outcome = place.command.json("run", *place.on(), "--jobs", "2")

        assert (0, []) == (outcome.code, outcome.failures), outcome.err
        assert dict.fromkeys(DEEDS, "refused") == said_by(place)
        assert "whole" == (place.site / "victim").read_text() == (place.top / "open/victim").read_text()
        assert [] == place.remains()


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["everybody's", "root's alone"])
def test_every_deed_of_what_compares_fails(as_root: None, mode: int) -> None:
    """The bytecode that is there says that each failed: what compares finds no other code."""
    with ground(mode) as place:
        place.plant(DEEDS, ALICE)
        assert 0 == place.command.json("run", *place.on()).code

        outcome = place.command.json("verify", *place.on(), "--compare-code", "--stateless")

        assert (0, []) == (outcome.code, outcome.findings)
        assert "whole" == (place.site / "victim").read_text() == (place.top / "open/victim").read_text()


@pytest.mark.parametrize("close", ["os.closerange(0, 64)", "pass"], ids=["pipes closed", "pipes held"])
@pytest.mark.parametrize("owner", [0, ALICE], ids=["root's tree", "a user's tree"])
def test_nothing_outlives_the_run(as_root: None, owner: int, close: str) -> None:
    """Not even in its own session, with every signal ignored; and nothing waits for its pipes."""
    with ground() as place:
        place.plant({"linger": LINGERING.replace("CLOSE", close)}, owner)
        began = time.monotonic()

        outcome = place.command.json("run", *place.on(), "--jobs", "1")

        assert (0, 1) == (outcome.code, outcome.counts["compiled"])
        assert time.monotonic() - began < 60
        assert wait_for(lambda: [] == place.remains())


#: What whoever shares its account can do to a worker, each in a process of its own.
MEDDLING = {
    "signal it": "os.kill(WORKER, 0)",
    "read its memory": "open('/proc/WORKER/mem', 'rb').close()",
    "trace it": "call('ptrace', 0x4206, WORKER, None, None)",
    "take its pipes": "call('syscall', 438, call('syscall', 434, WORKER, 0), 1, 0)",
    "open its pipes": "os.close(os.open('/proc/WORKER/fd/1', os.O_WRONLY))",
}


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["everybody's", "root's alone"])
def test_nobody_meddles_with_a_worker(as_root: None, mode: int) -> None:
    """Neither the owner of what it compiles, nor `nobody`."""
    head = TAKEN.partition("real =")[0]
    with ground(mode) as place:
        place.plant({"wait": "time.sleep(100)\n"}, ALICE)
        python = cpython_for(ALICE)
        assert python
        with place.command.start("run", *place.on(), "--jobs", "1") as child:
            try:
                assert wait_for(lambda: bool(place.remains()))
                (worker,) = place.remains()
                done = [
                    (uid, deed)
                    for uid in (ALICE, NOBODY)
                    for deed, code in MEDDLING.items()
                    if not subprocess.run(
                        [python, "-c", head + code.replace("WORKER", str(worker))],
                        user=uid,
                        group=uid,
                        extra_groups=[],
                        cwd="/",
                        env={},
                        check=False,
                        capture_output=True,
                    ).returncode
                ]
            finally:
                child.kill()
    assert [] == done


def test_a_worker_that_dies_with_its_pipes_held_is_missed(as_root: None) -> None:
    """The host looks at the process: the source is named, and the next one is compiled."""
    deed = "if os.fork():\n    os._exit(7)\nos.setsid()\ntime.sleep(300)\n"
    with ground() as place:
        place.plant({"die": deed}, 0)
        write_tree(place.site, {"good.py": "x = 1\n"})
        began = time.monotonic()

        outcome = place.command.json("run", *place.on(), "--jobs", "1")

        assert [("crash", "the compiler ended: exit status 7")] == [
            (each["kind"], each["message"]) for each in outcome.failures
        ]
        assert (1, 1) == (outcome.code, outcome.counts["compiled"])
        assert time.monotonic() - began < 60
        assert wait_for(lambda: [] == place.remains())


@pytest.mark.parametrize(
    "answer",
    [
        'b"\\xff\\xff\\xff\\xff" + bytes(100)',
        'b"\\x00\\x00\\x00\\x10" + bytes(100)',
        "bytes(1 << 20)",
        'b"\\x05\\x00\\x00\\x00\\x03none"',
        'b"\\x01\\x00\\x00\\x00\\x02" * 100000',
    ],
    ids=["too long", "longer than it can be", "empty", "a codec again and again", "endless"],
)
def test_an_answer_that_is_none_is_one_failure(as_root: None, answer: str) -> None:
    """And no memory of the host's: the length of a frame is looked at before the frame."""
    with ground() as place:
        place.plant({"lie": f"import __main__\nwhile True:\n    os.write(__main__.OUTPUT, {answer})\n"}, 0)
        write_tree(place.site, {"good.py": "x = 1\n"})

        outcome = place.command.json("run", *place.on(), "--jobs", "1")

        assert [f"{place.site}/d0.py"] == [each["path"] for each in outcome.failures]
        assert (1, 1) == (outcome.code, outcome.counts["compiled"])


def test_what_a_killed_host_left_is_ended_by_the_next(as_root: None) -> None:
    """Its lease stays behind, and says under which account something may run."""
    with ground() as place:
        place.plant({"linger": LINGERING.replace("CLOSE", "pass") + "time.sleep(60)\n"}, 0)
        with place.command.start("run", *place.on(), "--jobs", "1") as child:
            assert wait_for(lambda: len(place.remains()) > 1)
            child.kill()
        assert wait_for(lambda: bool(place.remains()))
        left = place.remains()
        write_tree(place.site, {"d0.py": "x = 1\n"})

        assert 0 == place.command.json("run", *place.on()).code

        assert left
        assert wait_for(lambda: [] == place.remains())


def test_two_runs_at_once_have_other_accounts(as_root: None) -> None:
    """An id is leased to one host: what another one took is drawn again."""
    program = (
        "from pyctrigger import namespaces\n"
        "from pyctrigger.interpreter import worker_accounts\n"
        "namespaces.FREE_IDS, namespaces.FREE_IDS_BELOW_64K = ((2000200001, 2000200002),), ()\n"
        "one, two = worker_accounts.lease('/run/pyctrigger'), worker_accounts.lease('/run/pyctrigger')\n"
        "assert {one.account.uid, two.account.uid} == {2000200001, 2000200002}\n"
        "assert worker_accounts.lease('/run/pyctrigger') is None\n"
        "one.end(); two.end(); two.end()\n"
        "assert worker_accounts.lease('/run/pyctrigger') is not None\n"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True)

    assert (0, "") == (child.returncode, child.stderr)


def test_a_trusted_roots_interpreter_has_no_rights_outside(as_root: None) -> None:
    """With --trust-root it runs after chroot, and from its first question on with an account of its own."""
    real = cpython_for(ALICE)
    if real is None:
        absent("a CPython that any account may execute")
    with public_directory() as top:
        seen, python = top / "seen", top / "python"
        os.mkfifo(seen)
        seen.chmod(0o666)
        python.write_text(f'#!/bin/sh\necho $(id -u) $(id -g) >{seen}\nexec {real} "$@"\n')
        python.chmod(0o755)
        write_tree(top / "site", {"good.py": "x = 1\n"})
        witness = os.open(seen, os.O_RDWR | os.O_NONBLOCK)
        try:
            with private_mounts("mount -t tmpfs none /mnt; mkdir -p /mnt/root; mount --bind / /mnt/root") as inside:
                command = Command(top / "state")
                command.program = [*inside, *command.program]

                outcome = command.json(
                    *("run", "--root", "/mnt/root", "--trust-root", "--stateless"),
                    *("--python", str(python), "--site-dir", str(top / "site")),
                )

            assert (0, 1) == (outcome.code, outcome.counts["compiled"]), outcome.err
            ids = os.read(witness, 1 << 16).decode().splitlines()
        finally:
            os.close(witness)
        assert len(ids) >= 2  # the probe, and the worker
        assert [] == [each for each in ids if int(each.split()[0]) not in LEASED or len(set(each.split())) != 1]


#: What can't fail where a worker is its caller: the page on security says so.
UNAVOIDABLE = {
    "read the host's memory by its file",
    "signal the host",
    "list the host's descriptors",
    "make a file in the tree",
    "write a file in the tree",
    "make a file where everybody may",
    "fork past its limit",
}


@pytest.mark.parametrize(
    ("namespace", "more"),
    [((), set()), (("unshare", "--map-root-user"), {"have root's account again"})],
    ids=["not root", "one id"],
)
def test_the_deeds_of_a_worker_that_is_its_caller(as_root: None, namespace: tuple[str, ...], more: set[str]) -> None:
    """The filter of calls is what is left; the root that a namespace of one id has is that caller."""
    setpriv, unshare = find_tool("setpriv"), find_tool("unshare")
    if setpriv is None or unshare is None:
        absent("no setpriv or unshare (Debian package util-linux)")
    with ground() as place:
        made = command_for(ALICE, place.top / "unused")
        if made is None:
            absent("a Python that any account may execute")
        place.plant(DEEDS, ALICE)
        as_alice = [setpriv, "--reuid", str(ALICE), "--regid", str(ALICE), "--clear-groups"]
        if subprocess.run([*as_alice, *namespace, "true"], cwd="/", capture_output=True, check=False).returncode:
            absent("a user namespace for an ordinary account: in a chroot, and in many containers, none is to be had")
        child = subprocess.run(
            [*as_alice, *namespace, *made.program, "run", *place.on(), "--stateless"],
            env={"PATH": os.defpath, "HOME": str(place.top)},
            cwd="/",
            capture_output=True,
            check=False,
        )

        assert 0 == child.returncode, child.stderr
        answers = said_by(place)
        assert UNAVOIDABLE | more >= {deed for deed, answer in answers.items() if answer != "refused"}
        assert set(DEEDS) == set(answers)
