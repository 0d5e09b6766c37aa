"""The filter of system calls, asked as the kernel asks it (bpf(4))."""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter.calls import filter_of_calls

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED = 0
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003
REFUSED, MISSING = errno.EPERM, errno.ENOSYS


def verdict(program: bytes, architecture: int, number: int, argument: int = 0) -> int:
    """The error that a call gets, 0 if none."""
    data = struct.pack("<IIQQ", number, architecture, 0, argument)
    instructions = list(struct.iter_unpack("<HBBI", program))
    at = loaded = 0
    while True:
        code, if_so, if_not, value = instructions[at]
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            assert value & 0xFFFF0000 in (0x7FFF0000, 0x00050000)
            return int(value) & 0xFFFF
        else:
            at += if_so if {0x15: loaded == value, 0x35: loaded >= value, 0x45: loaded & value}[code] else if_not


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Another machine."""

    def on(machine: str, platform: str = "linux", size: int = (1 << 63) - 1, order: str = "little") -> None:
        filter_of_calls.cache_clear()
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", machine)))
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(sys, "maxsize", size)
        monkeypatch.setattr(sys, "byteorder", order)

    return on


@pytest.fixture(autouse=True)
def _forget() -> object:
    """What was made for another machine isn't kept."""
    yield
    filter_of_calls.cache_clear()


#: A call and its number on x86_64 and on aarch64 (<asm/unistd.h>), its first argument, and its error: with names of
#: files among what is refused, and without.
CALLS = [
    ("read", 0, 63, 0, ALLOWED, ALLOWED),
    ("io_setup", 206, 0, 0, ALLOWED, ALLOWED),  # 0 is also what stands for a call that a machine lacks
    ("openat", 257, 56, 0, ALLOWED, ALLOWED),
    ("execve", 59, 221, 0, ALLOWED, ALLOWED),
    ("socket", 41, 198, 2, REFUSED, REFUSED),
    ("connect", 42, 203, 0, REFUSED, REFUSED),
    ("ptrace", 101, 117, 0, REFUSED, REFUSED),
    ("process_vm_writev", 311, 271, 0, REFUSED, REFUSED),
    ("unshare", 272, 97, 0, REFUSED, REFUSED),
    ("mount", 165, 40, 0, REFUSED, REFUSED),
    ("bpf", 321, 280, 0, REFUSED, REFUSED),
    ("acct", 163, 89, 0, REFUSED, REFUSED),
    ("unlinkat", 263, 35, 0, REFUSED, ALLOWED),
    ("renameat2", 316, 276, 0, REFUSED, ALLOWED),
    ("fchmodat", 268, 53, 0, REFUSED, ALLOWED),
    ("fremovexattr", 199, 16, 0, REFUSED, ALLOWED),
    ("clone3", 435, 435, 0, MISSING, MISSING),
    ("openat2", 437, 437, 0, MISSING, MISSING),
    ("io_uring_register", 427, 427, 0, MISSING, MISSING),
    ("clone of a process", 56, 220, 17, ALLOWED, ALLOWED),  # SIGCHLD
    ("clone of a thread", 56, 220, 0x3D0F00, ALLOWED, ALLOWED),
    ("clone with a user namespace", 56, 220, 0x10000000 | 17, REFUSED, REFUSED),
    ("clone with a network", 56, 220, 0x40000000, REFUSED, REFUSED),
    ("clone with a cgroup", 56, 220, 0x02000000, REFUSED, REFUSED),
    ("clone with bits above", 56, 220, 0x7E02000000000000, ALLOWED, ALLOWED),
]


@pytest.mark.parametrize(("machine", "architecture", "column"), [("x86_64", X86_64, 1), ("aarch64", AARCH64, 2)])
@pytest.mark.parametrize("call", CALLS, ids=[str(call[0]) for call in CALLS])
def test_a_call_is_let_through_or_fails(
    on: Callable[..., None], machine: str, architecture: int, column: int, call: tuple[str, int, int, int, int, int]
) -> None:
    """By the numbers of both machines; another architecture's calls, and those of x32, always fail."""
    on(machine)
    for names, expected in ((True, call[4]), (False, call[5])):
        program = filter_of_calls(names=names)
        assert program is not None
        assert expected == verdict(program, architecture, int(call[column]), call[3])
        assert REFUSED == verdict(program, I386, int(call[column]), call[3])
        assert REFUSED == verdict(program, architecture, int(call[column]) | 0x40000000, call[3])


@pytest.mark.parametrize(
    "other",
    [
        ("riscv64",),
        ("x86_64", "freebsd14"),
        ("x86_64", "linux", (1 << 31) - 1),
        ("aarch64", "linux", (1 << 63) - 1, "big"),
    ],
)
def test_there_is_no_filter_for_another_kind_of_machine(on: Callable[..., None], other: tuple[str, ...]) -> None:
    """Numbers, sizes and order would be wrong."""
    on(*other)
    assert filter_of_calls(names=True) is None
