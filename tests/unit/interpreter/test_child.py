"""Children: the target with one of our programs, our own Python, and how both end."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import pyctrigger
from conftest import absent
from interpreters import tag_of
from processes import wait_until
from pyctrigger.errors import InterpreterError
from pyctrigger.interpreter import child as module
from pyctrigger.interpreter import rights
from pyctrigger.interpreter.child import describe_death, kill, open_file, printable, start, start_own
from pyctrigger.interpreter.confinement import confined
from pyctrigger.interpreter.flavour import installed
from pyctrigger.interpreter.interpreter import Account
from pyctrigger.interpreter.rights import Rights
from scratch_root import ScratchRoot
from unit.interpreter.made_up import open_way_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interpreters import Interpreter

_TELLS = """
import json, os, signal, sys

def serve(*settings):
    ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    place = [os.getsid(0) == os.getpid(), os.getcwd(), sorted(os.environ), sys.path]
    print(json.dumps([settings, sorted(ignored), sorted(blocked), *place]))
"""


def test_our_own_python_has_nothing_of_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But its settings: no signals that are ignored or blocked, no session, directory or environment."""
    (tmp_path / "tells.py").write_text(_TELLS)
    package = os.path.dirname(os.path.dirname(pyctrigger.__file__))
    others = [str(tmp_path), *(each for each in sys.path if os.path.isabs(each) and each != package)]
    monkeypatch.setattr(sys, "path", ["", "relative", package, *others, package])
    handler = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with start_own("tells", ("\udcff", 1, None), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as child:
            said, _ = child.communicate(timeout=60)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, handler)

    own = [signal.SIGPIPE, signal.SIGXFSZ]  # Python's
    place = [True, "/", ["HOME", "LC_ALL", "PATH", "PYPY_GC_NURSERY"], [package, *others]]
    assert [["\udcff", 1, None], own, [], *place] == json.loads(said)


# -- the target --------------------------------------------------------------------------------------------------------

#: A program of ours in two files, as the real ones are.
FIRST = "import json, os, sys\n"
TELLS = """
import resource

def error_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno

sys.stdin.readline()
flags = ("isolated", "no_site", "no_user_site", "dont_write_bytecode")
print(json.dumps({
    "flags": [name for name in flags if getattr(sys.flags, name)],
    "warn": sys.warnoptions,
    "arguments": sys.argv[2:],
    "has_relative": "" in sys.path,
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "ids": [*os.getresuid(), *os.getresgid()],
    "groups": sorted(os.getgroups()),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in NAMES},
    "keeps": error_of(os.read, KEPT, 0) is None,
    "rename": error_of(os.rename, "/absent/a", "/absent/b"),
}))
"""
NAMES = ("AS", "NPROC", "NOFILE", "CORE")
UNCHANGED = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in NAMES]
OUR_IDS = [*os.getresuid(), *os.getresgid()]
USUAL: dict[str, Any] = {
    "flags": ["isolated", "no_site", "no_user_site", "dont_write_bytecode"],
    "warn": ["ignore"],
    "arguments": [],
    "has_relative": False,
    "env": {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "HOME": "/", "PYPY_GC_NURSERY": "4M"},
    "cwd": "/",
    "ids": OUR_IDS,
    "groups": sorted(os.getgroups()),
    "limits": dict(zip(NAMES, UNCHANGED)),
    "keeps": False,
}
LEASED, ALICE = 2_000_200_009, 64601
AS_LEASED = {"ids": [LEASED] * 6, "groups": []}
AS_ALICE = {"ids": [ALICE] * 6, "groups": []}
MEMORY = 1 << 31


def limits(**changes: int) -> dict[str, Any]:
    """Those of this process, with others."""
    return {"limits": {**USUAL["limits"], **changes}}


#: Options of a start, and what is another way than usual in the child.
STARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ours": ({}, {}),
    "with arguments": ({"arguments": ["a", "b c"]}, {"arguments": ["a", "b c"]}),
    "seeded": (
        {"seeded": True},
        {"flags": USUAL["flags"][1:], "env": {**USUAL["env"], "PYTHONHASHSEED": "0"}},
    ),
    "with a descriptor": ({"keep": True}, {"keeps": True}),
    "a worker": ({"memory": MEMORY}, limits(AS=MEMORY, NOFILE=64, CORE=0)),
    "a worker without a limit of memory": ({"memory": 0}, limits(NOFILE=64, CORE=0)),
    "leased": ({"rights": Rights(Account(LEASED, LEASED), LEASED)}, AS_LEASED),
    "a leased worker": (
        {"rights": Rights(Account(LEASED, LEASED), LEASED), "memory": MEMORY},
        {**AS_LEASED, **limits(AS=MEMORY, NOFILE=64, CORE=0)},
    ),
    "starts as root": ({"rights": Rights(None, LEASED), "memory": 0}, limits(NOFILE=64, CORE=0)),
    "Alice's": ({"rights": Rights(Account(ALICE, ALICE), is_foreign=True)}, AS_ALICE),
    "Alice's worker": (
        {"rights": Rights(Account(ALICE, ALICE), is_foreign=True), "memory": 0},
        {**AS_ALICE, **limits(NOFILE=64, CORE=0)},
    ),
    "Alice's, leased": (
        {"rights": Rights(Account(LEASED, LEASED), LEASED, is_foreign=True), "memory": 0},
        {**AS_LEASED, **limits(NPROC=64, NOFILE=64, CORE=0)},
    ),
    "a root's": (
        {"rights": Rights(Account(LEASED, LEASED), LEASED, "/")},
        {**AS_LEASED, **limits(NPROC=64, NOFILE=64, CORE=0)},
    ),
    "a root's, without a lease": ({"rights": Rights(None, -1, "/")}, limits(NOFILE=64, CORE=0)),
}


@pytest.fixture
def tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A program that tells what it has, and a descriptor that it has if it is to be kept."""
    with open(os.devnull, "rb") as kept:
        (tmp_path / "first.py").write_text(FIRST)
        (tmp_path / "tells.py").write_text(TELLS.replace("KEPT", str(kept.fileno())).replace("NAMES", str(NAMES)))
        monkeypatch.setitem(module.PROGRAMS, "tells", (str(tmp_path / "first"), str(tmp_path / "tells")))
        yield kept.fileno()


@pytest.fixture(scope="module")
def public() -> str:
    """A CPython that every account can start."""
    found = [path for path in installed() if "python" in path and rights._is_open(os.path.realpath(path))]
    if not found:
        absent("no interpreter that every account can start")
    return found[0]


def tell(executable: str, **options: Any) -> dict[str, Any]:
    """What it tells."""
    with start(executable, "tells", **options) as child:
        assert [io.FileIO] * 3 == [type(each) for each in (child.stdin, child.stdout, child.stderr)]  # without buffers
        said, stderr = child.communicate(b"\n", timeout=60)
    assert b"" == stderr
    told: dict[str, Any] = json.loads(said)
    return told


def error_of_rename(_: Account | None) -> int | None:
    """What a rename fails with, of something that isn't there."""
    try:
        os.rename("/absent/a", "/absent/b")
    except OSError as error:
        return error.errno
    return None


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("name", STARTS)
def test_what_a_child_starts_with(public: str, tells: int, name: str) -> None:
    """Nothing of ours or of a user's, the account and the limits that it is to have, and no descriptor but its own."""
    given, changes = STARTS[name]
    before = len(os.listdir("/proc/self/fd"))
    told = tell(public, **{**given, "keep": [tells] if given.get("keep") else []})
    assert {**USUAL, "rename": confined(error_of_rename), **changes} == told
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("as_root", "tells")
def test_a_script_may_change_names(tmp_path: Path, public: str) -> None:
    """As one that makes a lock or a log before it starts its interpreter."""
    script = open_way_to(tmp_path) / "python"
    script.write_text(f'#!/bin/sh\nexec {public} "$@"\n')
    script.chmod(0o755)
    for options in ({}, {"rights": Rights(None, -1, "/")}):
        assert errno.ENOENT == tell(str(script), **options)["rename"]


@pytest.mark.usefixtures("as_root")
def test_a_child_of_a_root_is_inside(tmp_path: Path) -> None:
    """From its first instruction on, in the root's own directory."""
    root = ScratchRoot(tmp_path / "root")
    root.add_program(os.path.realpath("/bin/sh"), "/bin/sh")
    root.put("/python", "#!/bin/sh\npwd -P; echo /p*\n").chmod(0o755)
    with start("/python", "probe", rights=Rights(None, -1, str(root.top))) as child:
        assert (b"/\n/python\n", b"") == child.communicate(timeout=60)


OPEN = "read and execute it and its standard library, or name another interpreter with --python PATH"
ALICES = Rights(Account(ALICE, ALICE), is_foreign=True)
USUAL_HINT = "name another interpreter with --python PATH"
#: A name in a closed directory, the rights, what is said of it, and the hint.
NO_STARTS = [
    ("absent", Rights(), ": No such file or directory", USUAL_HINT),
    ("file", Rights(), ": Permission denied", USUAL_HINT),
    ("a\0b", Rights(), ": embedded null byte", USUAL_HINT),
    ("python", Rights(None, -1, "/absent"), ": the system doesn't let it drop its rights", USUAL_HINT),
    ("python", ALICES, " as account 64601: Permission denied", f"let that account {OPEN}"),
    ("python", Rights(Account(LEASED, LEASED), LEASED), ": Permission denied", f"let everybody {OPEN}"),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("name", "given", "problem", "hint"), NO_STARTS)
def test_what_cant_be_started(tmp_path: Path, name: str, given: Rights, problem: str, hint: str) -> None:
    """With the reason, the account, and what would help; no descriptor stays open."""
    tmp_path.chmod(0o700)
    (tmp_path / "file").touch(0o644)
    (tmp_path / "python").write_text("#!/bin/sh\n")
    (tmp_path / "python").chmod(0o755)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(InterpreterError) as caught:
        start(f"{tmp_path}/{name}", "probe", rights=given)
    assert (f"{tmp_path}/{name} can't be started{problem}", hint) == (caught.value.message, caught.value.hint)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_shortage_isnt_the_interpreters() -> None:
    """Another interpreter would change nothing."""
    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(InterpreterError) as caught:
            start("/bin/true", "probe")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ("/bin/true can't be started: Too many open files", "raise the resource limits (see ulimit -a)") == (
        caught.value.message,
        caught.value.hint,
    )


#: Also with the hash of a source that says SRC, for whoever compares hashes, and for nobody.
MAKE = """
import importlib.util, marshal, py_compile, sys
source, pyc = sys.argv[1:]
py_compile.compile(source)
code, proof = compile("print('PYC')", "", "exec"), importlib.util.source_hash(b"print('SRC')\\n")
for flags in 1, 3:
    with open(f"{pyc[:-4]}.{flags}", "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + bytes([flags, 0, 0, 0]) + proof + marshal.dumps(code))
"""


def _with(pyc: Path, begin: int, other: bytes) -> bytes:
    """Its bytes, but for these from there on."""
    data = pyc.read_bytes()
    return data[:begin] + other + data[begin + len(other) :]


#: What is done to bytecode that says PYC, of a source that says SRC; what says it in the end, and its descriptors.
BYTECODE: dict[str, tuple[Callable[[Path, Path], object], str, int]] = {
    "as it was made": (lambda source, pyc: None, "PYC", 2),
    "another mtime": (lambda source, pyc: os.utime(source, (7, 7)), "SRC", 2),
    "another size": (lambda source, pyc: source.write_text("print('SRC, now')\n"), "SRC, now", 2),
    "by hash": (lambda source, pyc: pyc.write_bytes(pyc.with_suffix(".1").read_bytes()), "PYC", 2),
    "by unchecked hash": (lambda source, pyc: pyc.write_bytes(pyc.with_suffix(".3").read_bytes()), "PYC", 2),
    "another hash": (lambda source, pyc: pyc.write_bytes(_with(pyc, 4, b"\1")), "SRC", 2),
    "another unchecked hash": (lambda source, pyc: pyc.write_bytes(_with(pyc, 4, b"\3")), "SRC", 2),
    "another magic number": (lambda source, pyc: pyc.write_bytes(_with(pyc, 0, b"\0\0")), "SRC", 2),
    "empty": (lambda source, pyc: pyc.write_bytes(b""), "SRC", 2),
    "none": (lambda source, pyc: pyc.unlink(), "SRC", 1),
    "a link": (lambda source, pyc: pyc.symlink_to(pyc.rename(pyc.with_name("elsewhere"))), "SRC", 1),
    "a FIFO": (lambda source, pyc: os.mkfifo(pyc.rename(f"{pyc}~").with_name(pyc.name)), "SRC", 1),
    "a directory": (lambda source, pyc: os.mkdir(pyc.rename(f"{pyc}~").with_name(pyc.name)), "SRC", 1),
}


@pytest.mark.parametrize("case", BYTECODE)
def test_bytecode_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest: Interpreter, case: str) -> None:
    """It is taken if it is of the file as it is, and the target decides whether it can run it."""
    change, expected, descriptors = BYTECODE[case]
    source, tag = tmp_path / "says.py", tag_of(newest)
    pyc = tmp_path / f"__pycache__/says.{tag}.pyc"
    source.write_text("print('PYC')\n")
    os.utime(source, (10**9, 10**9))
    subprocess.run([newest.path, "-I", "-c", MAKE, str(source), str(pyc)], check=True)
    source.write_text("print('SRC')\n")
    os.utime(source, (10**9, 10**9))
    change(source, pyc)
    monkeypatch.setitem(module.PROGRAMS, "says", (str(source.with_suffix("")),))
    given: list[str] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, line: list[str], **options: Any) -> None:
            given.append(line[-1])
            super().__init__(line, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    before = len(os.listdir("/proc/self/fd"))
    with start(newest.path, "says", tag=tag) as child:
        said, stderr = child.communicate(timeout=60)
    assert (f"{expected}\n".encode(), b"") == (said, stderr)
    assert ([descriptors], before) == ([len(each.split("/")) for each in given], len(os.listdir("/proc/self/fd")))
    asked: list[dict[str, Any]] = [{}, {"tag": "another-1"}, {"tag": tag, "seeded": True}]
    for options in asked:
        given.clear()
        with start(newest.path, "says", **options) as child:
            child.communicate(timeout=60)
        assert "/" not in given[0]


@pytest.mark.usefixtures("as_root")
def test_somebody_elses_bytecode_of_a_program_is_left(tmp_path: Path, newest: Interpreter) -> None:
    """Whoever owns the source can write it anyway; nobody else can."""
    source, tag = tmp_path / "says.py", tag_of(newest)
    source.write_text("print('SRC')\n")
    subprocess.run([newest.path, "-I", "-m", "py_compile", str(source)], check=True)
    os.chown(tmp_path / f"__pycache__/says.{tag}.pyc", 1234, -1)
    assert module._open_pyc(str(source.with_suffix("")), tag) is None


def test_files_of_all_programs_are_there() -> None:
    """Opened for reading only."""
    for name in {name for names in module.PROGRAMS.values() for name in names}:
        with open(open_file(name), "rb") as file:
            assert file.read(30).startswith(b'"""')
        descriptor = open_file(name)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")
        os.close(descriptor)


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_session", [True, False])
def test_a_killed_child_takes_its_session_with_it(has_session: bool) -> None:
    """One that hasn't made it yet is killed alone."""
    command = ["/bin/sh", "-c", "exec 2>&-; sleep 60 & echo $!; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=has_session) as child:
        assert child.stdout is not None
        other = int(child.stdout.readline())
        kill(child)
    assert -signal.SIGKILL == child.returncode
    if has_session:
        wait_until(lambda: not is_running(other))
    assert is_running(other) is not has_session
    if not has_session:
        os.kill(other, signal.SIGKILL)


def is_running(process: int) -> bool:
    """Whether it is there, and has not ended."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def test_a_child_that_has_ended_is_not_killed() -> None:
    """Its number may be another's by now."""
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & exec true"], start_new_session=True)
    child.wait()
    kill(child)
    os.killpg(child.pid, signal.SIGKILL)  # it has left one, which is still there


@pytest.mark.parametrize(
    ("returncode", "stderr", "fault", "expected"),
    [
        (0, b"", None, "exit status 0"),
        (3, b" \n", None, "exit status 3"),
        (3, b" no\n\tway\n", None, "exit status 3, it said: no way"),
        (-9, b"", None, "killed by SIGKILL"),
        (-11, b"x", None, "killed by SIGSEGV, it said: x"),
        (-63, b"", None, "killed by signal 63"),
        (-9, b"", "a fault", "a fault"),
        (0, b"x", "a fault", "a fault, it said: x"),
    ],
)
def test_a_death_in_words(returncode: int, stderr: bytes, fault: str | None, expected: str) -> None:
    """A signal has its name, if it has one; a fault comes before what the system says."""
    assert expected == describe_death(returncode, stderr, fault)
    assert "exit status 1" == describe_death(1)


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        (b"", ""),
        (b"\x1b[31mred\0\r\n  two\xff \xc3\xa9", "?[31mred? two\ufffd \xe9"),
        (b"b" * 10 + b"a" * 300, "a" * 300),
        (b"b" * 299, "b" * 299),
    ],
)
def test_what_a_child_said_fits_a_message(stderr: bytes, expected: str) -> None:
    """The end of it, on one line, without control characters."""
    assert (expected, expected[-4:]) == (printable(stderr), printable(stderr, 4))
