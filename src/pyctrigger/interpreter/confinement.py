"""Confinement of children: account, network, most system calls and new privileges are dropped before they start.

Facts: a network namespace, `no_new_privs`, a seccomp filter and, for the kernel, the ids belong to the thread that
changes them, and a child inherits all of them from the thread that starts it (prctl(2), credentials(7)). So a thread of
its own drops them, starts the child, and ends: the caller's process keeps everything, also in a program that uses us as
a library. The C library's setuid(2) changes all threads; the system call itself only its own. So no copy of this
process is needed to start a child, which would take 3 ms (subprocess itself would fork to change an id).
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Callable

from ..clibrary import call
from ..typed import TypeVar
from .calls import filter_of_calls
from .interpreter import Account

_Child = TypeVar("_Child")

#: From <sched.h>, <linux/prctl.h> and <linux/seccomp.h>.
_CLONE_NEWNET = 0x40000000
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 3, 4, 38, 22
_SECCOMP_MODE_FILTER = 2
#: setgroups, setresgid, setresuid and tgkill in <asm/unistd.h>.
_NUMBERS = {"x86_64": (116, 119, 117, 234), "aarch64": (159, 149, 147, 131)}
_CALLS = _NUMBERS.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
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
    becomes = account is not None and _CALLS is not None and _has_c_library()

    def run() -> None:
        try:
            _confine_thread(is_script=is_script)
            if becomes and account is not None:
                _become_account(account)
            children.append(start(None if becomes else account))
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    # Changing ids makes the process undumpable, which hides it from debuggers, and its /proc/self/fd from the child.
    dumpable = _prctl(_PR_GET_DUMPABLE) if becomes else 0
    thread = threading.Thread(target=run)
    try:
        thread.start()
        thread.join()
        _wait_until_gone(thread.native_id or 0)
    except RuntimeError:  # no more threads for this account: a worker with a network is better than none
        return start(account)
    finally:
        if becomes:
            _prctl(_PR_SET_DUMPABLE, dumpable)
    if errors:
        raise errors[0]
    return children[0]


def can_become(account: Account) -> bool:
    """Whether this system lets us start a child under another account. It is tried once, in a thread of its own."""
    if not _could_become:
        try:
            confined(lambda _: None, account)
            _could_become.append(True)
        except OSError as error:
            _could_become.append(error.errno not in (errno.EPERM, errno.ENOSYS))
    return _could_become[0]


def _wait_until_gone(thread: int) -> None:
    """Wait until a thread has ended for the kernel, too, which is a moment later than for Python.

    The C library makes all threads change their ids together, and aborts the process if one of them can't (nptl(7)). A
    thread that has dropped its privileges would abort whatever acts as accounts, here or in a program that uses us.
    """
    until = time.monotonic() + _END_TIMEOUT
    with contextlib.suppress(OSError):  # it is gone
        while _CALLS is not None and time.monotonic() < until:
            call("syscall", _CALLS[3], os.getpid(), thread, 0)
            time.sleep(_POLL)


def _has_c_library() -> bool:
    try:
        return call("getpid") > 0
    except OSError:
        return False


def _prctl(option: int, *arguments: int) -> int:
    """Call prctl(2), which refuses some options unless all other arguments are 0. Returns -1 if it fails."""
    try:
        return call("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])
    except OSError:
        return -1  # this system refuses it, or 2 as a new value of PR_SET_DUMPABLE


def _become_account(account: Account) -> None:
    """Change this thread to an account, without other groups, by the system calls themselves. Raises OSError."""
    uid, gid = account
    for number, argument in zip(_CALLS or (), (0, gid, uid)):
        call("syscall", number, argument, argument, argument)
    _prctl(_PR_SET_DUMPABLE, 1)


def _leave_network() -> None:
    """Enter the workers' common, empty network namespace: making one takes 0.5 ms, entering it nothing."""
    if _network_namespaces:
        with contextlib.suppress(OSError):
            call("setns", _network_namespaces[0], _CLONE_NEWNET)
            return
    call("unshare", _CLONE_NEWNET)
    if not _network_namespaces:
        _network_namespaces.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))


def _confine_thread(*, is_script: bool) -> None:
    """Confine this thread and its children, as far as the container and the kernel allow it."""
    # Each on its own: one may fail, for example without /proc, where the others work.
    for give_up in (
        lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1),
        lambda: _leave_network() if os.geteuid() == 0 else None,
        lambda: _refuse_calls(names=not is_script),
    ):
        with contextlib.suppress(ImportError, OSError):
            give_up()


def _refuse_calls(*, names: bool) -> None:
    program = filter_of_calls(names=names)
    if program is not None:
        import ctypes

        instructions = ctypes.create_string_buffer(program, len(program))
        # <linux/filter.h>, struct sock_fprog
        whole = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
        call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, whole, 0, 0)
