"""One transaction, disturbed at one of its system calls: the process is killed there, or that call fails once.

strace makes both (`--inject`, strace(1)), by the name of the call and how many of that name came before. What the
calls are is recorded first, in an undisturbed run. After each disturbed one the tree, the state, the exit code and
what was said are judged, then one plain run follows, and all is judged again.

strace follows no children here: disturbed is the process that was started, and of that its first thread; or the second
lane that it forks, which stops before its first step and is traced from there on (see warm_program). `Fault` and `Call`
name the process. A killed lane is no failure: its work is done by another, within the same run.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packages import unlike_py_compile, write_tree
from processes import children_of, wait_until
from pyctrigger.state.locations import lock_directory
from warm_program import Call as WarmCall
from warm_program import Ended, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from command import Command
    from interpreters import Interpreter

#: The process that was started: it plans, writes and records. The workers only compile.
PARENT = "parent"
#: The same where there are lanes, which write; and one of these.
HOST, LANE = "host", "lane"
KILL = "KILL"
LEVELS = (0, 1)
#: Seconds. A run takes half of one.
PATIENCE = 60
#: How many lanes there are, and KiB of the sources that make them worth it. The first lane has enough with one, and so
#: gets no more; the last, which is disturbed, has enough with nothing else: it compiles, refreshes and sweeps.
_LANES, _LARGE = 2, (470, 60)
#: Seconds in which a worker notices that its host is gone.
_GRACE = 20.0
#: What the environment has to say so that the calls are the same in each run, and none writes into this checkout.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
#: The first file that is opened when our own code is in charge. What fails before that is Python's to report.
_OUR_START = "/pyctrigger/interruption"

_DISK, _SPACE, _SIGNAL, _DESCRIPTORS = "EIO", "ENOSPC", "EINTR", "EMFILE"
_ALL = (_DISK, _SPACE, _SIGNAL)
#: Which of the four errors a call may end with, by its manual page: Linux's, or POSIX's where that names the disk's
#: errors and Linux's doesn't. What a call says of its arguments decides further, see `errors_of`. Without futex(2):
#: glibc ends a process whose futex fails with EINTR, before anybody's code could see it.
_ERRORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("open", "openat", "openat2"), (*_ALL, _DESCRIPTORS)),
    **dict.fromkeys(("read", "pread64", "readv"), (_DISK, _SIGNAL)),
    **dict.fromkeys(("write", "pwrite64", "writev", "fsync", "fdatasync", "close", "fallocate"), _ALL),
    **dict.fromkeys(("sync_file_range", "msync", "syncfs", "copy_file_range"), (_DISK, _SPACE)),
    **dict.fromkeys(("ftruncate", "truncate", "fstatfs", "statfs"), (_DISK, _SIGNAL)),
    **dict.fromkeys(("stat", "fstat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2"), (_DISK,)),
    **dict.fromkeys(("getdents64", "readlink", "readlinkat", "unlink", "unlinkat", "rmdir", "chdir"), (_DISK,)),
    **dict.fromkeys(("chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat"), (_DISK,)),
    **dict.fromkeys(("fgetxattr", "getxattr", "lgetxattr", "flistxattr", "listxattr"), (_DISK,)),
    **dict.fromkeys(("fsetxattr", "setxattr"), (_DISK, _SPACE)),
    **dict.fromkeys(("link", "linkat", "rename", "renameat", "renameat2"), (_DISK, _SPACE)),
    **dict.fromkeys(("mkdir", "mkdirat", "symlink", "symlinkat"), (_DISK, _SPACE)),
    **dict.fromkeys(("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait"), (_SIGNAL,)),
    **dict.fromkeys(("wait4", "waitid", "flock", "getrandom", "clock_nanosleep", "nanosleep", "connect"), (_SIGNAL,)),
    **dict.fromkeys(("recvfrom", "recvmsg", "sendto", "sendmsg"), (_SIGNAL,)),
    **dict.fromkeys(("pipe", "pipe2", "socket", "socketpair", "dup", "epoll_create1", "eventfd2"), (_DESCRIPTORS,)),
    **dict.fromkeys(("memfd_create", "pidfd_open", "signalfd4", "timerfd_create", "inotify_init1"), (_DESCRIPTORS,)),
    "fcntl": (_SIGNAL, _DESCRIPTORS),
    "accept4": (_SIGNAL, _DESCRIPTORS),
}
#: What isn't as it should be, and is decided otherwise. A run that can't read a package manager's database removes and
#: replaces nothing, says so, and exits with 0. Between the removal of a `__pycache__` and that of the directory around
#: it the latter is empty, and then it could be anybody's: no later run removes it.
UNREADABLE, EMPTY = "a database was unreadable", "an empty directory was left"
_UNDONE, _COUNTED, _STILL = "undone, and ", "counts: ", "after the plain run: "
_UNREADABLE_LINE = b"nothing is removed or replaced, since a package may own it: "
#: One through our own code. Python's hashlib prints one of its own for a part of it that can't be loaded, and goes on.
_OUR_TRACEBACK = re.compile(r'Traceback \(.*File "[^"]*/pyctrigger/', re.DOTALL)
_LINE = re.compile(r"([a-z_0-9]+)\(")
_COUNTS = re.compile(r"([0-9]+) (compiled|refreshed|removed|failed)")


class Stage(enum.IntEnum):
    """How far the process has come."""

    PYTHON = 1
    """Python starts."""
    IMPORTS = 2
    """Our own code is in charge, and imports itself."""
    WORK = 3
    """It has looked at the tree or the state."""


class Call(NamedTuple):
    """A system call of an undisturbed run."""

    number: int
    """How many of its process came before."""
    name: str
    nth: int
    """Which of that name, from 1 on."""
    text: str
    """As strace shows it, with the paths of descriptors."""
    stage: Stage
    process: str = PARENT


class Fault(NamedTuple):
    """A disturbance: at the so-and-so-many-th call of a name a process is killed, or the call fails."""

    name: str
    nth: int
    what: str
    """`KILL`, or the name of an error."""
    process: str = PARENT

    def __str__(self) -> str:
        return " ".join(map(str, self))

    @classmethod
    def read(cls, text: str) -> Fault:
        """The fault that was written so."""
        name, nth, what, process = text.split()
        return cls(name, int(nth), what, process)


class Verdict(NamedTuple):
    """What a fault did."""

    reached: bool
    """Whether the disturbed run came to that call; where time decides about calls, it may not."""
    code: int
    wrong: list[str]
    limit: str
    """The known limit that it ran into, `UNREADABLE` or `EMPTY`, or ""."""


def errors_of(call: Call) -> Iterator[str]:
    """The errors among those four that this call may end with."""
    anonymous = re.match(r"[a-z_0-9]+\([0-9]+<(pipe|socket|anon_inode|UNIX)", call.text) is not None
    for error in _ERRORS.get(call.name, ()):
        if error in (_DISK, _SPACE) and anonymous:
            continue  # no disk
        if error == _SPACE and call.name.startswith("open") and not re.search("O_CREAT|O_TMPFILE", call.text):
            continue
        if call.name == "fcntl" and {_SIGNAL: "F_SETLK", _DESCRIPTORS: "F_DUPFD"}[error] not in call.text:
            continue
        yield error


def faults_of(calls: Iterable[Call]) -> list[Fault]:
    """Everything that may happen at these calls."""
    found = []
    for call in calls:
        if call.name == "execve" and call.number == 0:
            continue  # nothing was started then
        found += [Fault(call.name, call.nth, what, call.process) for what in (KILL, *errors_of(call))]
    return found


def draw(calls: Sequence[Call], count: int, seed: int) -> list[Fault]:
    """So many faults: each kind at each name of a call, and then one of each place in turn, which a path tells apart.

    A loop over the hundreds of files of a package manager would else be most of what is drawn. Those of a host of
    lanes come after the other kinds: it does most of what a process without lanes does, too.
    """
    every = faults_of(calls)
    random.Random(seed).shuffle(every)
    places = {(call.process, call.name, call.nth): _place(call.text) for call in calls}
    kinds = {(fault.process, fault.name, fault.what): fault for fault in reversed(every)}
    ranks: collections.Counter[tuple[str, str, str]] = collections.Counter()
    in_turn = []
    for fault in every:
        place = (fault.process, fault.what, places[fault.process, fault.name, fault.nth])
        in_turn.append((ranks[place], fault))
        ranks[place] += 1
    in_turn.sort(key=lambda each: each[0])
    of_each_kind = sorted(kinds.values(), key=lambda fault: fault.process == HOST)
    return list(dict.fromkeys([*of_each_kind, *(fault for _, fault in in_turn)]))[:count]


def _place(text: str) -> str:
    """A call's name, and what it is about, without numbers and names of files."""
    name = text.partition("(")[0]
    found = re.search(r'[<"](/[^>"]*)/', text)
    return f"{name} {re.sub('[0-9]+', '', found[1])}" if found else name


class Transaction:
    """Three packages at two levels: one is new, one has sources with new times and an edited one, one is gone.

    Everything is below `top`, where each run gets a fresh copy. A `warm` one is forked from a process that has imported
    everything (see warm_program): the same work without Python's start and our imports, for less than half the time.
    One with `lanes`, which is warm, has large sources as well, so that two lanes make its changes.
    """

    def __init__(
        self, top: Path, command: Command, interpreter: Interpreter, strace: str, *, warm: bool, lanes: bool = False
    ) -> None:
        self._top = top
        self._command = command
        self._interpreter = interpreter
        self._strace = strace
        self._warm = warm
        assert warm or not lanes
        self._lanes = lanes
        self._tree = str(top / "tree")
        self.site = top / "tree/site"
        self._trace = top / "trace"
        command.state = top / "tree/state"
        self._scope = ["--python", interpreter.path, "--site-dir", str(self.site), "--optimize", "0,1"]
        packages = [str(self.site / name) for name in ("new", "edited", "gone")]
        jobs = ["--jobs", str(_LANES)] if lanes else []
        self._line = command.command_line("run", [*self._scope, *jobs, "--event", "upgrade", *packages])
        self._sources = 5 + (len(_LARGE) if lanes else 0)
        self._before = self._make()
        self._expected, self._state = self._reference()

    def calls(self) -> list[Call]:
        """The system calls of an undisturbed run, in their order; those of a lane after those of its host."""
        return [*self._calls(HOST), *self._calls(LANE)] if self._lanes else self._calls(PARENT)

    def _calls(self, process: str) -> list[Call]:
        self.lay_out()
        ended = self._start(["-y", "-s", "0"], process)
        assert (0, b"") == (ended.returncode, ended.stderr), ended
        found: list[Call] = []
        seen: dict[str, int] = {}
        stage = Stage.WORK if process == LANE else Stage.IMPORTS if self._warm else Stage.PYTHON
        for line in self._trace.read_text(errors="replace").splitlines():
            match = _LINE.match(line)
            if match:
                if _OUR_START in line:
                    stage = max(stage, Stage.IMPORTS)
                if self._tree in line:
                    stage = Stage.WORK
                seen[match[1]] = seen.get(match[1], 0) + 1
                found.append(Call(len(found), match[1], seen[match[1]], line, stage, process))
        return found

    def suffer(self, fault: Fault, stage: Stage = Stage.WORK) -> Verdict:
        """Run it with this fault, which meets it at that stage, then once as ever."""
        self.lay_out()
        how = f"signal={KILL}" if fault.what == KILL else f"error={fault.what}"
        options = ["-e", f"trace={fault.name}", "-e", f"inject={fault.name}:{how}:when={fault.nth}"]
        try:
            ended = self._start(options, fault.process)
        except subprocess.TimeoutExpired:
            return Verdict(True, 0, ["it hangs"], "")
        killed = fault.what == KILL
        trace = self._trace.read_text(errors="replace") if self._trace.exists() else ""
        reached, limit = "(INJECTED)" in trace, ""
        if killed:
            reached = len(re.findall(f"^{fault.name}[(]", trace, re.MULTILINE)) >= fault.nth
        if killed and reached and fault.process == LANE:
            wrong = list(self.judge(ended, stage=stage))
            if ended.returncode:
                wrong.append(f"the end of a lane was a failure: exit {ended.returncode}, said {ended[1:3]}")
        else:
            wrong = list(self.judge(ended, killed=killed and reached, stage=stage))
        if wrong and ended.returncode == 0 and _UNREADABLE_LINE in ended.stderr:
            limit, wrong = UNREADABLE, [each for each in wrong if not each.startswith((_UNDONE, _COUNTED))]
        wrong += [*self.judge_plain_run(), *_left_over_processes()]
        if self._files() == {**self._expected, "gone/": b""} and ended.returncode != 0:
            limit, wrong = EMPTY, [each for each in wrong if not each.startswith(_STILL)]
        return Verdict(reached, ended.returncode, wrong, limit)

    def end(self) -> list[str]:
        """A last run that has something to do, and so takes the lock and starts a worker: what is wrong afterwards.

        Killed hosts leave lock files of their workers' accounts and notes about themselves, which the next host that
        needs such files sweeps; others don't look.
        """
        write_tree(self.site, {"edited/changed.py": "x = 'the last'\n"})
        outcome = self._command.json("run", *self._scope)
        wrong = [] if (0, 1) == (outcome.code, outcome.counts["compiled"]) else [f"the last run: {outcome}"]
        locks = lock_directory()
        assert locks is not None
        found = [path for path in Path(locks).iterdir() if path.suffix != ".lock" or path.stat().st_size]
        return wrong + [f"left over with the locks: {path.name}" for path in sorted(found)]

    # -- the tree ----------------------------------------------------------------------------------------------------

    def _make(self) -> dict[str, bytes]:
        """Make what a transaction finds, in `pristine`; returns the bytecode in it."""
        shutil.rmtree(self._top / "tree", ignore_errors=True)
        # One whose levels differ, and one whose levels are one file.
        differing, alike = "def f(x):\n    assert x, {0!r}\n    return {0!r}\n", "TABLE = [{0!r}, 1, 2.5]\n"
        both = {"__init__.py": alike, "module.py": differing}
        old = {f"{top}/{name}": text.format(top) for top in ("edited", "gone") for name, text in both.items()}
        write_tree(self.site, {**old, "edited/changed.py": "x = 1\n"})
        outcome = self._command.json("run", *self._scope)
        assert (0, 5) == (outcome.code, outcome.counts["compiled"]), outcome.out
        for name in both:
            os.utime(self.site / "edited" / name, (10**9, 10**9))
            (self.site / "gone" / name).unlink()
        write_tree(self.site, {f"new/{name}": text.format("new") for name, text in both.items()})
        write_tree(self.site, {"edited/changed.py": differing.format("later")})
        if self._lanes:
            write_tree(self.site, {f"new/large{number}.py": _source(size << 10) for number, size in enumerate(_LARGE)})
        shutil.copytree(self._top / "tree", self._top / "pristine", symlinks=True)
        return self._files()

    def lay_out(self) -> None:
        """Make the tree what it is before a transaction."""
        shutil.rmtree(self._top / "tree", ignore_errors=True)
        shutil.copytree(self._top / "pristine", self._top / "tree", symlinks=True)

    def _reference(self) -> tuple[dict[str, bytes], set[str]]:
        """What an undisturbed run leaves in the tree, judged by the target's own compiler; and its files of state."""
        self.lay_out()
        ended = subprocess.run(self._line, capture_output=True, check=False, timeout=PATIENCE)
        assert (0, b"") == (ended.returncode, ended.stderr)
        assert [] == list(self._said_wrongly(ended.stdout))
        expected = self._files()
        sources = [os.fsencode(self.site / name) for name in expected if name.endswith(".py")]
        assert self._sources == len(sources)
        for level in LEVELS:
            assert [] == unlike_py_compile(self._interpreter, sources, self._top, level)
        return expected, self._names_of_state()

    def _files(self) -> dict[str, bytes]:
        """Every file of the site directory with its bytes, and every directory, with a slash behind it."""
        found = {}
        for directory, directories, names in os.walk(str(self.site)):
            below = directory[len(str(self.site)) + 1 :]
            found.update({os.path.join(below, name, ""): b"" for name in directories})
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    found[os.path.join(below, name)] = file.read()
        return found

    def _names_of_state(self) -> set[str]:
        top = self._command.state
        return {str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()}

    def _pending(self) -> list[str]:
        """The journal's entries."""
        return sorted(name for name in self._names_of_state() if "/journal/" in name and name.endswith(".json"))

    # -- runs --------------------------------------------------------------------------------------------------------

    def _start(self, options: Sequence[str], process: str) -> Ended:
        """Run the transaction with strace at that process."""
        self._trace.unlink(missing_ok=True)
        strace = [self._strace, "-o", str(self._trace), *options]
        if not self._warm:
            child = subprocess.Popen([*strace, *self._line], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with child:
                try:
                    out, err = child.communicate(timeout=PATIENCE)
                except subprocess.TimeoutExpired:
                    child.terminate()  # it ends what it has started
                    raise
            return Ended(child.returncode, out, err, 0)
        tracers: list[subprocess.Popen[bytes]] = []

        def attend(pid: int) -> None:
            if process == LANE:
                child = _stopped_child_of(pid)
                if child is None:
                    return  # it has ended before
                pid = child
            wait_until(lambda: _state_of(pid) == "T")
            tracer = subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.PIPE)
            tracers.append(tracer)
            assert tracer.stderr
            said = tracer.stderr.readline()
            assert said.endswith(b"attached\n"), said
            os.kill(pid, signal.SIGCONT)

        words = self._line[len(self._command.warm) :]
        try:
            lane = _LANES if process == LANE else 0
            call = WarmCall(words, b"", os.environ, os.getcwd(), attend=attend, stops_lane=lane)
            ended = run(self._command.warm, call, PATIENCE)
        finally:
            for tracer in tracers:
                tracer.communicate(timeout=PATIENCE)
        assert ended is not None, "no warm program"
        return ended

    # -- judgement ---------------------------------------------------------------------------------------------------

    def judge(self, ended: Ended, *, killed: bool = False, stage: Stage) -> Iterator[str]:
        """What is wrong with the tree, the exit code and what was said, right after a run."""
        files = self._files()
        for name, data in files.items():
            if name.endswith(".pyc") and data not in (self._before.get(name), self._expected.get(name)):
                yield f"torn: {name}"
            if name.endswith(".py") and data != self._expected[name]:
                yield f"a source was changed: {name}"
        said = ended.stdout.decode(errors="replace") + ended.stderr.decode(errors="replace")
        shown = f"exit {ended.returncode}, said {said!r}"
        if killed:
            # What it said before it was killed was true then.
            if ended.stdout and files != self._expected:
                yield f"killed, and its line said more than was done: {shown}"
            return
        if ended.returncode < 0:
            yield f"ended by a signal: {shown}"
        elif ended.returncode == 0:
            if files != self._expected:
                yield f"{_UNDONE}{shown}: {_difference(files, self._expected)}"
            yield from self._said_wrongly(ended.stdout)
        elif not said:
            yield f"nothing said: {shown}"
        if stage > Stage.PYTHON and _OUR_TRACEBACK.search(said):
            yield f"traceback: {shown}"

    def _said_wrongly(self, out: bytes) -> Iterator[str]:
        """Of a line that says that all went well: are its counts those of what was to be done?"""
        counts = {what: int(number) for number, what in _COUNTS.findall(out.decode(errors="replace"))}
        written = counts.get("compiled", 0) + counts.get("refreshed", 0)
        if (self._sources, 4, 0) != (written, counts.get("removed"), counts.get("failed")):
            yield f"{_COUNTED}{out!r}"

    def judge_plain_run(self) -> Iterator[str]:
        """Run it once as ever; what is wrong with that and afterwards."""
        # What was announced is in the journal: then nothing else is told.
        told = ["--paths-from", os.devnull] if self._pending() else []
        outcome = self._command.text("run", *self._scope, *told)
        shown = f"{' '.join(told)} exit {outcome.code}, said {outcome.out + outcome.err!r}"
        if outcome.code != 0:
            yield f"the plain run failed: {shown}"
        files = self._files()
        if files != self._expected:
            yield f"{_STILL}{_difference(files, self._expected)}; {shown}"
        if self._pending():
            yield f"still pending: {self._pending()}; {shown}"
        extra = self._names_of_state() - self._state
        if extra:
            yield f"left over in the state: {sorted(extra)}"


def _difference(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    parts = []
    for what, names in (
        ("missing", expected.keys() - found.keys()),
        ("left over", found.keys() - expected.keys()),
        ("other", {name for name in expected.keys() & found.keys() if expected[name] != found[name]}),
    ):
        if names:
            parts.append(f"{what} {', '.join(sorted(names))}")
    return "; ".join(parts)


def _left_over_processes() -> list[str]:
    """Those that lost their parent are this process's children, if it has asked for that (prctl(2))."""
    deadline = time.monotonic() + _GRACE
    while left := [pid for pid in children_of(os.getpid()) if not _reaped(pid)]:
        if time.monotonic() > deadline:
            return [f"processes are left over: {left}"]
        time.sleep(0.01)
    return []


def _state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]


def _stopped_child_of(pid: int) -> int | None:
    """The child that is stopped, as soon as there is one; None if the process ends before."""
    found: list[int] = []

    def is_found() -> bool:
        with contextlib.suppress(OSError):
            if _state_of(pid) in "ZX":
                return True
            for child in children_of(pid):
                with contextlib.suppress(OSError):
                    if _state_of(child) == "T":
                        found.append(child)
                        return True
            return False
        return True

    wait_until(is_found)
    return found[0] if found else None


def _source(size: int) -> str:
    """One of at least so many bytes that takes little time to compile."""
    line = f"# {' ' * 1000}\n"
    return line * (size // len(line) + 1) + "def f(x):\n    assert x\n"


def _reaped(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return True
