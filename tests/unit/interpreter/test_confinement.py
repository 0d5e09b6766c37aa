"""Confinement: what a thread gives up before it starts a child, and what its process keeps."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from conftest import absent
from pyctrigger.clibrary import call
from pyctrigger.interpreter import confinement as module
from pyctrigger.interpreter.calls import filter_of_calls
from pyctrigger.interpreter.confinement import can_become, confined
from pyctrigger.interpreter.interpreter import Account

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("as_root")
OTHER = Account(2_000_200_011, 2_000_200_012)
OURS = (*os.getresuid(), *os.getresgid())


def what_it_has(left: Account | None) -> dict[str, Any]:
    """Of a thread: ids, groups, privileges, network, names that it may change, and what it is given."""
    with open("/proc/thread-self/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    try:
        os.rename("/absent/a", "/absent/b")
    except OSError as error:
        rename = error.errno
    return {
        "left": left,
        "ids": (*os.getresuid(), *os.getresgid()),
        "groups": os.getgroups() if left is None else None,
        "no_new_privs": status["NoNewPrivs"],
        "filter": status["Seccomp"],
        "network": os.readlink("/proc/thread-self/ns/net"),
        "rename": rename,
        "dumpable": call("prctl", 3, 0, 0, 0, 0),
    }


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Needs a system that lets root confine a thread completely; no network namespace was made yet."""
    if filter_of_calls(names=True) is None:
        absent("no numbers of this machine's system calls")
    refused: list[OSError] = []

    def leave() -> None:
        try:
            call("unshare", 0x40000000)
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        time.sleep(0.001)
    if refused:
        absent("no network namespaces here")
    call("prctl", 4, 1, 0, 0, 0)  # another test may have changed this process's ids
    made: list[int] = []
    monkeypatch.setattr(module, "_network_namespaces", made)
    yield
    for descriptor in made:
        os.close(descriptor)


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(("account", "ids"), [(None, OURS), (OTHER, (OTHER.uid,) * 3 + (OTHER.gid,) * 3)])
@pytest.mark.parametrize(("is_script", "rename"), [(False, errno.EPERM), (True, errno.ENOENT)])
def test_a_child_starts_with_less(account: Account | None, ids: tuple[int, ...], is_script: bool, rename: int) -> None:
    """The thread that starts it has given all of that up, and the process keeps it."""
    before = what_it_has(None)
    threads = os.listdir("/proc/self/task")
    options = {"is_script": True} if is_script else {}
    found, again = (confined(what_it_has, account, **options) for _ in range(2))
    network = found.pop("network")
    assert (True, network) == (network != before["network"], again["network"])
    assert {
        "left": None,
        "ids": ids,
        "groups": before["groups"] if account is None else [],
        "no_new_privs": "1",
        "filter": "2",
        "rename": rename,
        "dumpable": 1,
    } == found
    assert (before, threads) == (what_it_has(None), os.listdir("/proc/self/task"))


def test_a_process_that_hides_stays_hidden() -> None:
    """Changing ids changes that for the whole process (prctl(2), PR_SET_DUMPABLE)."""
    call("prctl", 4, 0, 0, 0, 0)
    try:
        inside = confined(lambda _: call("prctl", 3, 0, 0, 0, 0), OTHER)
        assert (1, 0) == (inside, call("prctl", 3, 0, 0, 0, 0))
    finally:
        call("prctl", 4, 1, 0, 0, 0)


@pytest.mark.usefixtures("free")
def test_all_threads_have_one_network() -> None:
    """Made once, and kept by a descriptor."""
    before = len(os.listdir("/proc/self/fd")) + 1
    assert 1 == len({confined(lambda _: os.readlink("/proc/thread-self/ns/net")) for _ in range(3)})
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("error", [OSError(5, "no"), KeyboardInterrupt(), ValueError("x")])
def test_what_goes_wrong_goes_wrong_for_the_caller(error: BaseException) -> None:
    """The same error."""

    def fail(_: Account | None) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        confined(fail)
    assert error is caught.value


def test_without_threads_a_child_starts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account may have no more; the child changes to its account itself then."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert (OTHER, None) == (confined(lambda left: left, OTHER), confined(lambda left: left))


def test_on_other_systems_a_child_starts_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have none of it."""
    monkeypatch.setattr("sys.platform", "freebsd14")
    assert (OTHER, threading.get_ident()) == confined(lambda left: (left, threading.get_ident()), OTHER)


@pytest.mark.parametrize("missing", ["the numbers", "the library"])
def test_without_the_calls_the_child_changes_its_account(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """On a machine whose numbers aren't known, or without a C library that can be called."""

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSYS, "none")

    if missing == "the numbers":
        monkeypatch.setattr(module, "_CALLS", None)
    else:
        monkeypatch.setattr(module, "call", refuse)
    assert (OTHER, OURS) == confined(lambda left: (left, (*os.getresuid(), *os.getresgid())), OTHER)


def test_a_thread_is_waited_for_until_it_is_gone() -> None:
    """Python's join is too early."""
    thread = threading.Thread(target=time.sleep, args=(0.1,))
    thread.start()
    module._wait_until_gone(thread.native_id or 0)
    assert str(thread.native_id) not in os.listdir("/proc/self/task")


def test_a_thread_that_stays_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As this one, which doesn't end."""
    monkeypatch.setattr(module, "_END_TIMEOUT", 0.05)
    module._wait_until_gone(threading.get_native_id())


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, True),
        (PermissionError(errno.EPERM, "no"), False),
        (OSError(errno.ENOSYS, "no"), False),
        (OSError(errno.EAGAIN, "not now"), True),
    ],
)
def test_whether_ids_can_be_changed_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None, expected: bool
) -> None:
    """A refusal holds for good; what else went wrong may not go wrong again."""
    tried: list[Account] = []

    def try_it(start: Any, account: Account) -> Any:
        tried.append(account)
        if error is not None:
            raise error
        return start(account)

    monkeypatch.setattr(module, "_could_become", [])
    monkeypatch.setattr(module, "confined", try_it)
    assert [expected] * 2 == [can_become(OTHER), can_become(OTHER)]
    assert [OTHER] == tried


def test_ids_can_be_changed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """By root, to one that the namespace has."""
    monkeypatch.setattr(module, "_could_become", [])
    assert can_become(OTHER) is True
