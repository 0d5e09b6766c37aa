"""Access lists of files (acl(5)), which Linux keeps in extended attributes: who may read beyond what the mode shows.

With a list the group bits of `st_mode` are its mask: 0640 may mean that the group reads nothing, and 0644 that one
account doesn't. A default list of a directory is inherited by what is made there, whatever the umask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys

from ...tuples import NamedTuple

_ACCESS = "system.posix_acl_access"
_DEFAULT = "system.posix_acl_default"
#: The attribute's layout, from <linux/posix_acl_xattr.h>: a version, and then entries of tag, rights and id.
_VERSION = struct.Struct("<I")
_CURRENT = _VERSION.pack(2)
_ENTRY = struct.Struct("<HHI")
_IS_FREEBSD = sys.platform.startswith("freebsd")
#: What FreeBSD's pathconf(2) and acl_get_fd_np(3) call NFSv4's and POSIX.1e's lists (<sys/unistd.h>, <sys/acl.h>).
_FREEBSD_LISTS = ((64, 4), (59, 2))
#: A list that is there and isn't read.
_UNKNOWN = b""
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
READ, WRITE = 4, 2
#: The id of an entry that is about no account.
_NO_ID = 0xFFFFFFFF


class Entry(NamedTuple):
    """One entry of a list."""

    tag: int
    rights: int
    account: int = _NO_ID


def access_list(descriptor: int, status: os.stat_result) -> bytes | None:
    """The list of an open file; None where its mode says it all, or no lists are known."""
    if _IS_FREEBSD:
        return _UNKNOWN if _is_listed(descriptor) else None
    # What the mode shows to nobody but the owner, a list can't show to anybody: the mask is empty.
    return _attribute(descriptor, _ACCESS) if status.st_mode & 0o077 else None


def has_list(descriptor: int) -> bool:
    """Whether an open directory has a list, or gives one to what is made in it."""
    return (not _IS_FREEBSD and _attribute(descriptor, _ACCESS) is not None) or has_default_list(descriptor)


def has_default_list(directory: int) -> bool:
    """Whether what is made in an open directory gets a list."""
    return _is_listed(directory) if _IS_FREEBSD else _attribute(directory, _DEFAULT) is not None


def takes_lists(directory: int) -> bool:
    """Whether files in an open directory can have lists."""
    try:
        os.getxattr(directory, _ACCESS)
    except OSError as error:
        return error.errno == errno.ENODATA
    except AttributeError:  # not Linux
        return False
    return True


def parse_list(acl: bytes) -> list[Entry]:
    """The entries of a list. Raises ValueError where it is none."""
    if acl[: _VERSION.size] != _CURRENT:
        raise ValueError("no access list")
    try:
        return [Entry._make(entry) for entry in _ENTRY.iter_unpack(acl[_VERSION.size :])]
    except struct.error as error:
        raise ValueError("no access list") from error


def give_list(descriptor: int, entries: list[Entry]) -> None:
    """Give an open file this list. Raises OSError."""
    os.setxattr(descriptor, _ACCESS, _CURRENT + b"".join(_ENTRY.pack(*entry) for entry in entries))


def drop_list(descriptor: int) -> None:
    """Take an open file's list away: its mode says it all from then on, once it is given. Raises OSError."""
    if not _IS_FREEBSD:  # there fchmod(2) does it (zfsprops(7), aclmode)
        os.removexattr(descriptor, _ACCESS)


def _is_listed(descriptor: int) -> bool:
    """Whether an open file has a list that says more than its mode (acl_is_trivial_np(3), FreeBSD).

    NFSv4 lists can both let in and keep out, in an order of their own: they aren't read, and then the owner alone is
    certain.
    """
    kinds = []
    with contextlib.suppress(OSError):
        kinds += [each for name, each in _FREEBSD_LISTS if os.fpathconf(descriptor, name) > 0]
    if not kinds:
        return False
    import ctypes  # 8 ms: only where the file system has lists

    library = ctypes.CDLL(None)
    library.acl_get_fd_np.restype = ctypes.c_void_p
    acl = library.acl_get_fd_np(descriptor, kinds[0])
    if not acl:
        return True  # it can't be seen
    is_trivial = ctypes.c_int(0)
    try:
        library.acl_is_trivial_np(ctypes.c_void_p(acl), ctypes.byref(is_trivial))
    finally:
        library.acl_free(ctypes.c_void_p(acl))
    return not is_trivial.value


def _attribute(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except (OSError, AttributeError):  # none, or a file system or system that knows no lists
        return None
