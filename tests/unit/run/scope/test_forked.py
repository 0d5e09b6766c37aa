"""The process that acts as others: what it passes on to its parent, what it has of it, and how it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import select
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN
from children import in_child
from pyctrigger.errors import DefectError, RefusedError, ShortageError
from pyctrigger.outcome.observer import Observer
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.forked import DeathError, NoProcessError, Relay, act_as_others, look_as_others
from pyctrigger.tree import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: All that an observer may be told, each with values for it.
EVENTS = {
    name: tuple(range(method.__code__.co_argcount - 1)) for name, method in vars(Observer).items() if callable(method)
}
as_root = pytest.mark.usefixtures("as_root")


class Told(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def looked(self, sources: int) -> None:
        self.told.append(sources)

    def skipped(self, path: str, reason: str) -> None:
        self.told.append((path, reason))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Of a channel: the parent's, and the child's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        yield ours, theirs


@pytest.fixture(autouse=True)
def leaves_nothing(ends: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test leaves no descriptor open, and no child."""
    before, children = len(os.listdir("/proc/self/fd")), list[int]()

    def fork() -> int:
        child = os.fork()
        if child:
            children.append(child)
        return child

    monkeypatch.setattr(forked, "fork", fork)
    yield
    assert len(os.listdir("/proc/self/fd")) <= before
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def is_silent(end: socket.socket) -> bool:
    """Whether nothing can be read from it."""
    return not select.select([end], [], [], 0)[0]


# -- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noted", EVENTS)
def test_what_an_observer_notes_is_passed_on(ends: tuple[socket.socket, socket.socket], noted: str) -> None:
    """Each kind of event that there is; what nobody notes isn't sent."""
    observer = type("Noting", (Observer,), {noted: lambda self, *values: None})()
    messages: list[tuple[Any, ...]] = []
    relay = Relay(ends[1], observer)
    for name, values in EVENTS.items():
        getattr(relay, name)(*values)
    relay.send("done")
    relay.flush()
    while ("done",) not in messages:
        messages += forked._receive(ends[0])
    assert [("event", noted, *EVENTS[noted]), ("done",)] == messages


@pytest.mark.parametrize("is_watched", [False, True])
def test_whether_progress_is_shown_is_known(ends: tuple[socket.socket, socket.socket], is_watched: bool) -> None:
    """As the parent's observer says."""
    observer = type("Watched", (Observer,), {"is_watched": is_watched})()
    assert is_watched == Relay(ends[1], observer).is_watched


#: When messages are sent, and how many of them come together: those that are left wait.
WAITS: dict[str, tuple[list[float], list[int]]] = {
    "one": ([0], []),
    "none but one": ([0] * 63, []),
    "many": ([0] * 64, [64]),
    "twice as many": ([0] * 130, [64, 64]),
    "soon": ([0, 0.05], []),
    "late": ([0, 0.03, 0.06], [3]),
    "each late": ([0, 0.06, 1, 1.04, 1.06], [2, 3]),
}


@pytest.mark.parametrize("case", WAITS)
def test_messages_wait_for_each_other(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Not many, and not long; then they are sent at once."""
    times, expected = WAITS[case]
    clock = iter(times)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    ours, theirs = ends
    relay = Relay(theirs, Observer())
    for number in range(len(times)):
        relay.send("take", number)
    found = []
    while not is_silent(ours):
        found.append(forked._receive(ours))
    assert expected == [len(each) for each in found]
    relay.flush()
    relay.flush()
    if sum(expected) < len(times):
        found.append(forked._receive(ours))
    assert is_silent(ours)
    assert [("take", number) for number in range(len(times))] == [message for each in found for message in each]


def test_a_message_may_be_large(ends: tuple[socket.socket, socket.socket]) -> None:
    """It is put together of pieces; both ends of it are there."""
    ours, theirs = ends
    sent = [("take", bytes(range(256)) * 12_000), ("done",)]
    sender = threading.Thread(target=theirs.sendall, args=(forked.packed(sent),))
    sender.start()
    assert sent == forked._receive(ours)
    sender.join()
    assert is_silent(ours)


#: Bytes of a channel that then ends.
BROKEN = {
    "nothing": b"",
    "half a length": b"\4\0",
    "half": b"\4\0\0\0abc",
    "too long": forked._LENGTH.pack(forked._MOST + 1) + bytes(9),
}


@pytest.mark.parametrize("case", BROKEN)
def test_half_a_message_is_none(ends: tuple[socket.socket, socket.socket], case: str) -> None:
    """Nor one that is too long."""
    ours, theirs = ends
    theirs.sendall(BROKEN[case])
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        forked._receive(ours)


def test_a_message_of_the_most_bytes(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is the longest."""
    ours, theirs = ends
    size = len(pickle.dumps("text", pickle.HIGHEST_PROTOCOL))
    monkeypatch.setattr(forked, "_MOST", size)
    theirs.sendall(forked.packed("text"))
    assert "text" == forked._receive(ours)
    monkeypatch.setattr(forked, "_MOST", size - 1)
    theirs.sendall(forked.packed("text"))
    with pytest.raises(EOFError):
        forked._receive(ours)


@pytest.mark.parametrize("is_outdated", [False, True])
def test_the_lock_is_asked_for_at_once(ends: tuple[socket.socket, socket.socket], is_outdated: bool) -> None:
    """With what waits; its descriptor is kept, and the answer says whether somebody else had it."""
    ours, theirs = ends
    relay = Relay(theirs, Observer())
    relay.send("take", 1)
    null = os.open(os.devnull, os.O_RDONLY)
    socket.send_fds(ours, [b"!" if is_outdated else b"="], [null])
    os.close(null)  # the next one has its number
    assert is_outdated is relay.enter()
    assert [("take", 1), ("enter",)] == forked._receive(ours)
    assert os.path.samestat(os.fstat(null), os.stat(os.devnull))
    os.close(null)


def test_without_a_parent_there_is_no_lock(ends: tuple[socket.socket, socket.socket]) -> None:
    """It has ended."""
    ours, theirs = ends
    relay = Relay(theirs, Observer())
    ours.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        relay.enter()


# -- the process ------------------------------------------------------------------------------------------------------


@as_root
def test_work_is_done_in_a_process_of_its_own() -> None:
    """Which may act as others, and tells what happens in its order; the caller's may not."""
    observer, taken = Told(), list[Any]()

    def work(relay: Relay) -> tuple[int, bool, bool]:
        relay.skipped("/m.py", "excluded")
        relay.send("take", {"of": "files"})
        relay.looked(5)
        return os.getppid(), os.getpid() == parent, identity._process.acts

    parent = os.getpid()
    assert (parent, False, True) == act_as_others(work, observer, take=taken.append)
    assert ([("/m.py", "excluded"), 5], [{"of": "files"}]) == (observer.told, taken)
    assert not identity._process.acts


@as_root
def test_nothing_needs_to_be_given() -> None:
    """Without an observer nobody is told; without a lock nobody else had it; what became of files goes nowhere."""

    def work(relay: Relay) -> tuple[bool, bool]:
        relay.looked(5)
        relay.send("take", None)
        before = os.listdir("/proc/self/fd")
        return relay.enter(), before == os.listdir("/proc/self/fd")

    assert (False, True) == act_as_others(work)


@as_root
@pytest.mark.parametrize("is_outdated", [False, True])
def test_the_child_has_the_lock_too(tmp_path: Path, is_outdated: bool) -> None:
    """Also when its parent gives it up; it says so before its first change."""
    noted: list[Any] = []

    def opened() -> int:
        return os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)

    def enter() -> tuple[bool, int | None]:
        noted.append(opened())
        fcntl.flock(noted[0], fcntl.LOCK_EX)
        return is_outdated, noted[0]

    def take(outcome: object) -> None:
        os.close(noted[0])
        noted.append(outcome)
        with open(tmp_path / "lock") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def work(relay: Relay) -> str:
        relay.send("take", relay.enter())
        relay.flush()
        time.sleep(0.1)
        return "end"

    assert "end" == act_as_others(work, enter=enter, take=take)
    assert [is_outdated] == noted[1:]
    descriptor = opened()
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


class StrangeError(Exception):
    """A defect."""


def exits(number: int) -> Any:
    """Ends the process at once."""
    os._exit(number)


def killed() -> Any:
    """Ends it by a signal."""
    os.kill(os.getpid(), signal.SIGKILL)


def raises(error: BaseException) -> Callable[[], Any]:
    """Lets the work end so."""

    def fail() -> Any:
        raise error

    return fail


#: How work ends, and what is raised then: its kind and how its text begins.
ENDS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "an error": (raises(RefusedError("no", hint="do it")), RefusedError, "no; do it"),
    "an OSError": (raises(OSError(errno.EIO, "broken")), OSError, f"[Errno {errno.EIO}] broken"),
    "no memory": (
        raises(MemoryError()),
        ShortageError,
        "the process that acts as others ran out of memory",
    ),
    "a defect": (raises(StrangeError("why")), DefectError, "StrangeError: why (forked.py:"),
    "an exit": (raises(SystemExit(3)), DeathError, "exit status 0"),
    "an end": (lambda: exits(3), DeathError, "exit status 3"),
    "a signal": (killed, DeathError, "killed by SIGKILL"),
}


@as_root
@pytest.mark.parametrize("case", ENDS)
def test_how_work_ends(case: str) -> None:
    """With an error that the caller knows, or with the process; what it said before is known."""
    end, kind, text = ENDS[case]
    observer = Told()

    def work(relay: Relay) -> Any:
        relay.looked(7)
        relay.flush()
        return end()

    with pytest.raises(kind) as caught:
        act_as_others(work, observer)
    assert kind is type(caught.value)
    assert str(caught.value).startswith(text)
    assert [7] == observer.told
    if case == "a defect":
        place = f"{os.path.basename(__file__)}:{raises.__code__.co_firstlineno + 4}"
        assert str(caught.value).partition(")")[0].endswith(f" {place}")


@as_root
def test_an_answer_that_makes_no_sense() -> None:
    """Is a death."""

    def work(relay: Relay) -> None:
        relay._channel.sendall(forked._LENGTH.pack(4) + b"junk")

    with pytest.raises(DeathError, match=r"^exit status 0$"):
        act_as_others(work)


@as_root
def test_only_root_acts_as_others() -> None:
    """Others' processes have no right to."""

    def ask() -> bool:
        with pytest.raises(PermissionError):
            act_as_others(lambda _: None)
        return True

    assert in_child(ask, account=ANN)


@pytest.mark.parametrize("what", ["forked.fork", "forked.socket.socketpair", "forked.os.pipe"])
def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """The reason is the system's."""

    def refuse() -> Any:
        raise OSError(errno.EAGAIN, "try later")

    with monkeypatch.context() as patched:
        patched.setattr(f"pyctrigger.run.scope.{what}", refuse)
        with pytest.raises(NoProcessError) as caught:
            act_as_others(lambda _: None)
    assert ("try later", NoProcessError) == (str(caught.value), type(caught.value))


@as_root
@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_caller_that_reaps_all_children(handler: signal.Handlers) -> None:
    """Has what work returns; of one that died, only that."""
    before = signal.signal(signal.SIGCHLD, handler)
    try:
        assert 5 == act_as_others(lambda _: 5)
        with pytest.raises(DeathError, match="exit status 0" if handler == signal.SIG_IGN else "exit status 3"):
            act_as_others(lambda _: exits(3))
    finally:
        signal.signal(signal.SIGCHLD, before)


@as_root
def test_an_error_of_the_caller_ends_the_process() -> None:
    """At once, whatever it does."""
    noted: list[int] = []

    def refuse() -> Any:
        raise RefusedError("no lock")

    def work(relay: Relay) -> None:
        relay.send("take", os.getpid())
        relay.enter()

    began = time.monotonic()
    with pytest.raises(RefusedError, match=r"^no lock$"):
        act_as_others(work, enter=refuse, take=noted.append)
    with pytest.raises(ProcessLookupError):
        os.kill(noted[0], 0)
    assert time.monotonic() - began < 10


@as_root
def test_a_silent_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it lives: work may take long."""
    monkeypatch.setattr(forked, "_PATIENCE", 0.02)

    def work(_: Relay) -> int:
        time.sleep(0.15)
        return 5

    assert 5 == act_as_others(work)


@as_root
def test_a_process_that_died_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is noticed, also while what it has forked holds its end of the channel."""
    monkeypatch.setattr(forked, "_PATIENCE", 0.02)
    life, held = os.pipe()

    def work(relay: Relay) -> Any:
        if os.fork() == 0:
            os.read(life, 1)
            os._exit(0)
        return exits(4)

    try:
        with pytest.raises(DeathError, match=r"^exit status 4$"):
            act_as_others(work, keep=[life])
    finally:
        os.close(held)
        os.close(life)


@as_root
def test_it_ends_with_its_parent() -> None:
    """However that ends, and whatever it does."""
    alive, kept = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(alive)

        def work(_: Relay) -> None:
            os.write(kept, b"!")
            while True:
                time.sleep(1)

        try:
            act_as_others(work, keep=[kept])
        finally:
            os._exit(0)
    os.close(kept)
    assert b"!" == os.read(alive, 1)
    os.kill(middle, signal.SIGKILL)
    os.waitpid(middle, 0)
    assert select.select([alive], [], [], 10)[0]
    assert b"" == os.read(alive, 1)
    os.close(alive)


def _targets() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # of the listing itself
            continue
    return found


@as_root
@pytest.mark.parametrize("lists", [True, False])
def test_it_has_no_descriptors_of_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: bool) -> None:
    """But its channel, and those that it is to keep."""
    text = os.open(tmp_path, os.O_RDONLY)
    high = fcntl.fcntl(text, fcntl.F_DUPFD, 700)
    higher = fcntl.fcntl(text, fcntl.F_DUPFD, 900)
    standard = os.dup(0)
    os.dup2(text, 0)
    real = os.listdir

    def refuse(*_: object) -> Any:
        raise OSError(errno.ENOENT, "no /proc")

    def work(_: Relay) -> dict[int, str]:
        os.listdir = real
        return _targets()

    with monkeypatch.context() as patched:
        if not lists:
            patched.setattr(os, "listdir", refuse)
            patched.setattr(os, "sysconf", {"SC_OPEN_MAX": 2000}.__getitem__)
        found = act_as_others(work, keep=[high])
    os.dup2(standard, 0)
    for descriptor in (text, high, higher, standard):
        os.close(descriptor)
    assert ([os.devnull] * 3, str(tmp_path)) == ([found.pop(each) for each in (0, 1, 2)], found.pop(high))
    assert ["pipe", "socket"] == sorted(each.partition(":")[0] for each in found.values() if each != os.devnull)
    assert len(found) <= 3


@as_root
def test_it_has_no_handlers_of_its_parents() -> None:
    """Nor is it interrupted; what its parent ignores, or blocks, it doesn't."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer)
    numbers = (signal.SIGUSR1, signal.SIGINT, signal.SIGUSR2, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    handlers: tuple[Any, ...] = (lambda *_: None, lambda *_: None, signal.SIG_DFL, signal.SIG_IGN)
    for number, handler in zip(numbers, handlers):
        signal.signal(number, handler)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])

    def work(_: Relay) -> tuple[list[Any], int, set[int]]:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return [signal.getsignal(number) for number in numbers], signal.set_wakeup_fd(-1), set(map(int, blocked))

    try:
        found = act_as_others(work)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.set_wakeup_fd(wakeup)
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
    assert ([signal.SIG_DFL, signal.SIG_IGN, signal.SIG_DFL, signal.SIG_IGN], -1, set()) == found


# -- looking ----------------------------------------------------------------------------------------------------------


def meet() -> None:
    """Meet another account's place, which this process leaves to one that may act there."""
    if not identity._process.acts:
        identity._process.met += 1


def test_who_meets_no_others_looks_itself() -> None:
    """And tells its observer."""
    observer, asked = Told(), list[Observer]()

    def look(observer: Observer) -> int:
        asked.append(observer)
        return os.getpid()

    assert (os.getpid(), [observer]) == (look_as_others(look, observer), asked)


@pytest.mark.parametrize("kind", [RefusedError, OSError])
def test_what_such_a_look_raises(kind: type[Exception]) -> None:
    """Is raised as it is."""
    error = kind("no")

    def look(_: Observer) -> None:
        raise error

    with pytest.raises(kind) as caught:
        look_as_others(look, Observer())
    assert error is caught.value


@as_root
@pytest.mark.parametrize("is_refused", [False, True])
def test_who_meets_others_has_a_process_look(is_refused: bool) -> None:
    """Once more, and all of it; what the first look has told isn't told again."""
    observer = Told()

    def look(observer: Observer) -> tuple[bool, int]:
        observer.looked(3)
        if not identity._process.acts:
            meet()
            if is_refused:
                raise RefusedError("others")
        return identity._process.acts, os.getppid()

    assert (True, os.getpid()) == look_as_others(look, observer)
    assert [3] == observer.told


@as_root
def test_what_a_look_as_others_raises() -> None:
    """Is raised."""

    def look(_: Observer) -> None:
        meet()
        raise RefusedError("acting" if identity._process.acts else "not acting")

    with pytest.raises(RefusedError, match=r"^acting$"):
        look_as_others(look, Observer())


def test_where_no_process_can_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs it is told to be that account."""

    def refuse() -> Any:
        raise OSError(errno.EAGAIN, "try later")

    monkeypatch.setattr(forked, "fork", refuse)
    with pytest.raises(RefusedError) as caught:
        look_as_others(lambda _: meet(), Observer())
    assert "others may rename there, and no process can act as they do (try later)" == caught.value.message
    assert "run it as the account whose place it is" == caught.value.hint
