"""A seccomp(2) filter (Linux) that refuses system calls which no worker needs, not even to start.

A filter applies to the thread that installs it, and children inherit it, so the target has to do nothing. Opening files
and starting processes are bounded by limits and the account instead. Calls that change file names are allowed if the
interpreter is a script, which may need them.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
import sys

#: Numbers on x86_64 and aarch64 (<asm/unistd.h>); 0 if the call doesn't exist there.
_REFUSED = {
    # Sockets: anybody can connect to paths such as the message bus.
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    # Other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    # Mounts, namespaces, and other ways into the kernel.
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "inotify_init": (253, 0),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "acct": (163, 89),
}
#: Changes of file names and attributes: in a world-writable directory an account of its own doesn't prevent them.
_NAMES = {
    "unlink": (87, 0),
    "unlinkat": (263, 35),
    "rename": (82, 0),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, 0),
    "linkat": (265, 37),
    "symlink": (88, 0),
    "symlinkat": (266, 36),
    "mkdir": (83, 0),
    "mkdirat": (258, 34),
    "rmdir": (84, 0),
    "mknod": (133, 0),
    "mknodat": (259, 33),
    "chmod": (90, 0),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, 0),
    "lchown": (94, 0),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "truncate": (76, 45),
    "utime": (132, 0),
    "utimes": (235, 0),
    "futimesat": (261, 0),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}
#: Calls that fail with ENOSYS: their callers have a fallback.
_MISSING = {
    "clone3": (435, 435),
    "openat2": (437, 437),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE = (56, 220)
#: Flags of clone(2) for all kinds of namespaces (<sched.h>); without them it is fork(2), or starts a thread.
_NEW_NAMESPACES = 0x7E020000
#: The column of the numbers, and the machine's constant in <linux/audit.h>.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
#: The calls of another ABI on x86_64 have this bit.
_X32 = 0x40000000
#: From <linux/bpf_common.h>: load a word, jump if equal, if at least, if any bit is set, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
#: From <linux/seccomp.h>, with the offsets of number, architecture and first argument in `struct seccomp_data`.
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


@functools.cache
def filter_of_calls(*, names: bool) -> bytes | None:
    """Returns the filter's program (bpf(4)), eight bytes an instruction, or None on a machine without known numbers.

    With `names` it also refuses calls that change file names, which a script that starts the interpreter may need.
    """
    known = _MACHINES.get(os.uname().machine)
    if not sys.platform.startswith("linux") or known is None or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        return None
    column, architecture = known
    refuse, no_such_call = (_instruction(_RETURN, _ERRNO | number) for number in (errno.EPERM, errno.ENOSYS))
    program = [_instruction(_LOAD, _ARCHITECTURE), _instruction(_EQUAL, architecture, 1, 0), refuse]
    program += [_instruction(_LOAD, _NUMBER), _instruction(_AT_LEAST, _X32, 0, 1), refuse]
    for calls, answer in ((_REFUSED, refuse), (_NAMES if names else {}, refuse), (_MISSING, no_such_call)):
        for numbers in calls.values():
            if numbers[column]:
                program += [_instruction(_EQUAL, numbers[column], 0, 1), answer]
    program += [_instruction(_EQUAL, _CLONE[column], 0, 3), _instruction(_LOAD, _FIRST_ARGUMENT)]
    program += [_instruction(_ANY_BIT, _NEW_NAMESPACES, 0, 1), refuse, _instruction(_RETURN, _ALLOW)]
    return b"".join(program)


def _instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)
