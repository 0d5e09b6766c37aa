"""System calls that no worker ever makes, not even to start, refused by the kernel where it can (seccomp(2), Linux).

A filter belongs to the thread that asks for it, and a child inherits it: so the target needs nothing for it. Opening
files and starting processes are limits' and the account's to bound, and names are refused only to what is no script: an
interpreter may be a script, and need them.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
import sys

#: Numbers on x86_64 and aarch64 (<asm/unistd.h>); 0: there is no such call.
_REFUSED = {
    # Sockets: a path like that of the message bus is everybody's.
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
#: Names, and what they show: in a directory that everybody may write an account alone doesn't help.
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
#: The same for calls that are said not to exist: their callers know what to do without.
_ABSENT = {
    "clone3": (435, 435),
    "openat2": (437, 437),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE = (56, 220)
#: All kinds of namespaces (<sched.h>); fork(2) and threads are something else.
_NEW_NAMESPACES = 0x7E020000
#: The column of the numbers, and how <linux/audit.h> calls the machine.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
#: The calls of another ABI on x86_64 have this bit.
_X32 = 0x40000000
#: From <linux/bpf_common.h>: load a word, jump if equal, if at least, if any bit is set, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
#: From <linux/seccomp.h>; the offsets of `struct seccomp_data` are those of number, architecture and first argument.
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


@functools.cache
def filter_of_calls(*, names: bool) -> bytes | None:
    """The filter's program (bpf(4)), eight bytes an instruction; None where this machine's numbers aren't known.

    With `names` it refuses also what changes the names of files: a script that becomes the interpreter may need that.
    """
    known = _MACHINES.get(os.uname().machine)
    if not sys.platform.startswith("linux") or known is None or sys.maxsize < 1 << 32 or sys.byteorder != "little":
        return None
    column, architecture = known
    refuse, no_such_call, allow = (_return(_ERRNO | errno.EPERM), _return(_ERRNO | errno.ENOSYS), _return(_ALLOW))
    refused = {**_REFUSED, **_NAMES} if names else _REFUSED
    program = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1, 0), refuse, _step(_LOAD, _NUMBER)]
    program += [_step(_AT_LEAST, _X32, 0, 1), refuse]
    for numbers, answer in [(each, refuse) for each in refused.values()] + [
        (each, no_such_call) for each in _ABSENT.values()
    ]:
        if numbers[column]:
            program += [_step(_EQUAL, numbers[column], 0, 1), answer]
    program += [_step(_EQUAL, _CLONE[column], 0, 3), _step(_LOAD, _FIRST_ARGUMENT)]
    program += [_step(_ANY_BIT, _NEW_NAMESPACES, 0, 1), refuse, allow]
    return b"".join(program)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)


def _return(value: int) -> bytes:
    return _step(_RETURN, value)
