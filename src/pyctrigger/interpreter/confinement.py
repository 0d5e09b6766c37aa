"""Confinement of children: account, network, most system calls and new privileges are dropped before they start.

Facts: a network namespace, `no_new_privs`, a seccomp filter and, for the kernel, the ids belong to the thread that
changes them, and a child inherits all of them from the thread that starts it (prctl(2), credentials(7)). So a thread of
its own drops them, starts the child, and ends: the caller's process keeps everything, also in a program that uses us as
a library. The C library's setuid(2) changes all threads; the system call itself only its own. So no copy of this
process is needed to start a child, which would take 3 ms (subprocess itself would fork to change an id).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from .calls import filter_of_calls
from .interpreter import Account

_Child = TypeVar("_Child")

#: From <sched.h> and <linux/prctl.h>.
_CLONE_NEWNET = 0x40000000
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 3, 4, 38, 22
_SECCOMP_MODE_FILTER = 2
#: setgroups, setresgid, setresuid in <asm/unistd.h>.
_CALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}
#: tgkill(2), which shows whether a thread still exists.
_TGKILL = {"x86_64": 234, "aarch64": 131}
#: Seconds to wait for the end of a thread, and between two checks. It takes some 50 microseconds.
_END_TIMEOUT, _POLL = 1.0, 0.00002
#: The descriptor of the workers' network namespace, once it was made.
_network_namespaces: list[int] = []
#: Whether ids can be changed, once it was tried.
_could_become: list[bool] = []


def confined(
    start: Callable[[Account | None], _Child], account: Account | None = None, *, is_script: bool = False
) -> _Child:
    """Call `start` in a confined thread, so that its child has no network, if the system allows that.

    `start` gets the account that the child still has to change to: `account`, or None if it has that already. A child
    that starts with its account must be trusted until it gets work: for a moment it can signal the thread. A script
    (`is_script`) may change file names. Returns or raises what `start` does.
    """
    if not sys.platform.startswith("linux"):
        return start(account)
    children: list[_Child] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            library = _confine_thread(is_script=is_script)
            has_account = library is not None and account is not None and _become(library, account)
            children.append(start(None if has_account else account))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    library = _library() if account else None
    # Changing ids makes the process undumpable, which hides it from debuggers, and its /proc/self/fd from the child.
    dumpable = _dumpable(library) if library else None
    try:
        _run_in_thread(run)
    except RuntimeError:  # no more threads for this account: a worker with a network is better than none
        return start(account)
    finally:
        if library and dumpable is not None:
            _set_dumpable(library, dumpable)
    if errors:
        raise errors[0]
    return children[0]


def can_become(account: Account) -> bool:
    """Whether this system lets us start a child under another account. It is tried once, in a thread of its own."""
    if not _could_become:
        _could_become.append(_try_to_become(account))
    return _could_become[0]


def _try_to_become(account: Account) -> bool:
    library = _library() if sys.platform.startswith("linux") else None
    if library is None:
        return True  # starting the child will show
    refused: list[bool] = []

    def run() -> None:
        try:
            _become(library, account)
        except PermissionError:
            refused.append(True)

    dumpable = _dumpable(library)
    try:
        _run_in_thread(run)
    except RuntimeError:
        return True
    finally:
        _set_dumpable(library, dumpable)
    return not refused


def _run_in_thread(run: Callable[[], None]) -> None:
    """Run a function in a thread of its own. Raises RuntimeError if no thread can be started."""
    numbers: list[int] = []

    def numbered() -> None:
        numbers.append(threading.get_native_id())
        run()

    thread = threading.Thread(target=numbered)
    thread.start()
    thread.join()
    _wait_until_gone(numbers[0])


def _wait_until_gone(number: int) -> None:
    """Wait until a thread has ended for the kernel, too, which is a moment later than for Python.

    The C library makes all threads change their ids together, and aborts the process if one of them can't (nptl(7)). A
    thread that has dropped its privileges would abort whatever acts as accounts, here or in a program that uses us.
    """
    library = _library()
    call = _TGKILL.get(os.uname().machine)
    if library is None or call is None:
        return
    import ctypes

    arguments = ctypes.c_long(os.getpid()), ctypes.c_long(number), ctypes.c_long(0)
    until = time.monotonic() + _END_TIMEOUT
    while library.syscall(ctypes.c_long(call), *arguments) == 0 and time.monotonic() < until:
        time.sleep(_POLL)


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        import ctypes  # a run that writes needs it for syncfs(2) anyway

        return ctypes.CDLL(None, use_errno=True)
    except (ImportError, AttributeError, OSError):
        return None


def _become(library: ctypes.CDLL, account: Account) -> bool:
    """Change this thread to an account, without other groups. Returns False on a machine without known call numbers.

    Raises PermissionError if the system refuses it.
    """
    import ctypes

    calls = _CALLS.get(os.uname().machine)
    if calls is None or sys.maxsize < 1 << 32:
        return False
    uid, gid, zero = ctypes.c_long(account.uid), ctypes.c_long(account.gid), ctypes.c_long(0)
    for call, arguments in zip(calls, ((zero, zero, zero), (gid, gid, gid), (uid, uid, uid))):
        if library.syscall(ctypes.c_long(call), *arguments):
            number = ctypes.get_errno()
            if number in (errno.EPERM, errno.ENOSYS):
                raise PermissionError(number, os.strerror(number))
            raise OSError(number, os.strerror(number))
    _set_dumpable(library, 1)
    return True


def _dumpable(library: ctypes.CDLL) -> int:
    import ctypes

    zero = ctypes.c_ulong(0)
    return int(library.prctl(_PR_GET_DUMPABLE, zero, zero, zero, zero))


def _set_dumpable(library: ctypes.CDLL, value: int) -> None:
    import ctypes

    zero = ctypes.c_ulong(0)
    library.prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(value), zero, zero, zero)


def _leave_network(library: ctypes.CDLL) -> None:
    """Enter the workers' common, empty network namespace: making one takes 0.5 ms, entering it nothing."""
    if _network_namespaces and library.setns(_network_namespaces[0], _CLONE_NEWNET) == 0:
        return
    if library.unshare(_CLONE_NEWNET) == 0 and not _network_namespaces:
        _network_namespaces.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def _confine_thread(*, is_script: bool) -> ctypes.CDLL | None:
    """Confine this thread and its children, as far as the container and the kernel allow it."""
    library = _library()
    if library is None:
        return None
    import ctypes

    zero = ctypes.c_ulong(0)
    # Each on its own: one may fail, for example without /proc, where the others work.
    for give_up in (
        lambda: library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero),
        lambda: _leave_network(library) if os.geteuid() == 0 else None,
        lambda: _refuse_calls(library, names=not is_script),
    ):
        with contextlib.suppress(AttributeError, OSError):
            give_up()
    return library


def _refuse_calls(library: ctypes.CDLL, *, names: bool) -> None:
    import ctypes

    program = filter_of_calls(names=names)
    if program is None:
        return
    instructions = ctypes.create_string_buffer(program, len(program))

    class _Program(ctypes.Structure):  # <linux/filter.h>, struct sock_fprog
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    whole = _Program(len(program) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    zero = ctypes.c_ulong(0)
    library.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(whole), zero, zero)
