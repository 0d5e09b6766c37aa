"""System calls that the kernel refuses, by a seccomp filter as containers and app sandboxes have one."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Numbers on x86_64 and aarch64; 0: that system has no such call. From <asm/unistd.h>.
NUMBERS = {
    "poll": (7, 73),
    "wait4": (61, 260),
    "access": (21, 0),
    "capget": (125, 90),
    "chdir": (80, 49),
    "clock_nanosleep": (230, 115),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fadvise64": (221, 223),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fdatasync": (75, 83),
    "fgetxattr": (193, 10),
    "flistxattr": (196, 13),
    "flock": (73, 32),
    "fork": (57, 0),
    "fsetxattr": (190, 7),
    "fstatfs": (138, 44),
    "fsync": (74, 82),
    "getgroups": (115, 158),
    "getitimer": (36, 102),
    "getpgid": (121, 155),
    "getpriority": (140, 141),
    "getrandom": (318, 278),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "getsid": (124, 156),
    "ioctl": (16, 29),
    "kill": (62, 129),
    "landlock_create_ruleset": (444, 444),
    "linkat": (265, 37),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "memfd_create": (319, 279),
    "mremap": (25, 216),
    "openat2": (437, 437),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "prctl": (157, 167),
    "pread64": (17, 67),
    "prlimit64": (302, 261),
    "pwrite64": (18, 68),
    "renameat2": (316, 276),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "setgid": (106, 144),
    "setgroups": (116, 159),
    "setitimer": (38, 103),
    "setns": (308, 268),
    "setpgid": (109, 154),
    "setregid": (114, 143),
    "setresgid": (119, 149),
    "setresuid": (117, 147),
    "setreuid": (113, 145),
    "setrlimit": (160, 164),
    "setsid": (112, 157),
    "setuid": (105, 146),
    "socket": (41, 198),
    "statfs": (137, 43),
    "statx": (332, 291),
    "sync": (162, 81),
    "syncfs": (306, 267),
    "sysinfo": (99, 179),
    "umask": (95, 166),
    "uname": (63, 160),
    "unshare": (272, 97),
    "utimensat": (280, 88),
    "vfork": (58, 0),
    "writev": (20, 66),
}
_MACHINES = {"x86_64": 0, "aarch64": 1}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
#: From <linux/bpf_common.h> and <linux/seccomp.h>: load a word, jump if equal, return.
_LOAD, _JUMP, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def can_refuse() -> bool:
    """Whether there are numbers for this machine."""
    return os.uname().sysname == "Linux" and platform.machine() in _MACHINES


def refusing(*calls: str, number: int = errno.EPERM) -> Callable[[], None]:
    """A `preexec_fn`: these calls fail with that error number from now on, in the child and all of its children."""
    column = _MACHINES[platform.machine()]
    instructions = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for call in calls:
        if NUMBERS[call][column]:
            instructions.append(struct.pack("HBBI", _JUMP, 0, 1, NUMBERS[call][column]))
            instructions.append(struct.pack("HBBI", _RETURN, 0, 0, _ERRNO | number))
    instructions.append(struct.pack("HBBI", _RETURN, 0, 0, _ALLOW))
    filters = ctypes.create_string_buffer(b"".join(instructions))
    program = _Program(len(instructions), ctypes.cast(filters, ctypes.c_void_p))
    library = ctypes.CDLL(None, use_errno=True)

    def refuse() -> None:
        zero = ctypes.c_ulong(0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
        arguments = ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), zero, zero
        if library.prctl(_PR_SET_SECCOMP, *arguments):
            raise OSError(ctypes.get_errno(), "no filter of system calls")

    return refuse
