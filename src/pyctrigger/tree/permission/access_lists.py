"""Access control lists (acl(5)), which Linux keeps in extended attributes: permissions that the mode doesn't show.

With a list, the group bits of `st_mode` are its mask: 0640 may mean that the group may not read, and 0644 that one
account may not. Files inherit the default list of the directory that they are created in, whatever the umask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys

from ...typed import NamedTuple

_ACCESS = "system.posix_acl_access"
_DEFAULT = "system.posix_acl_default"
#: Layout of the attribute, from <linux/posix_acl_xattr.h>: a version, then entries of tag, permissions and id.
_VERSION = struct.Struct("<I")
_CURRENT = _VERSION.pack(2)
_ENTRY = struct.Struct("<HHI")
_IS_FREEBSD = sys.platform.startswith("freebsd")
#: What FreeBSD's pathconf(2) and acl_get_fd_np(3) call NFSv4's and POSIX.1e's lists (<sys/unistd.h>, <sys/acl.h>).
_FREEBSD_LISTS = ((64, 4), (59, 2))
#: A list that exists, but isn't read.
_UNKNOWN = b""
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
READ, WRITE = 4, 2
#: The id of an entry that names no account.
_NO_ID = 0xFFFFFFFF


class AccessEntry(NamedTuple):
    """An entry of an access list."""

    tag: int
    rights: int
    account: int = _NO_ID


def access_list(descriptor: int, status: os.stat_result) -> bytes | None:
    """Returns the access list of an open file, or None if its mode says it all or lists aren't supported."""
    if _IS_FREEBSD:
        return _UNKNOWN if _is_listed(descriptor) else None
    # If group and others have no bits in the mode, the list's mask is empty, too, and it grants nothing.
    return _read_attribute(descriptor, _ACCESS) if status.st_mode & 0o077 else None


def has_list(descriptor: int) -> bool:
    """Whether an open directory has an access list, or gives one to files created in it."""
    return (not _IS_FREEBSD and _read_attribute(descriptor, _ACCESS) is not None) or has_default_list(descriptor)


def has_default_list(directory: int) -> bool:
    """Whether files created in an open directory get an access list."""
    return _is_listed(directory) if _IS_FREEBSD else _read_attribute(directory, _DEFAULT) is not None


def takes_lists(directory: int) -> bool:
    """Whether files in an open directory can have access lists."""
    try:
        os.getxattr(directory, _ACCESS)
    except OSError as error:
        return error.errno == errno.ENODATA
    except AttributeError:  # not Linux
        return False
    return True


def parse_list(acl: bytes) -> list[AccessEntry]:
    """Returns the entries of an access list. Raises ValueError."""
    if acl[: _VERSION.size] != _CURRENT:
        raise ValueError("not an access list")
    try:
        return [AccessEntry._make(entry) for entry in _ENTRY.iter_unpack(acl[_VERSION.size :])]
    except struct.error as error:
        raise ValueError("not an access list") from error


def give_list(descriptor: int, entries: list[AccessEntry]) -> None:
    """Set the access list of an open file. Raises OSError."""
    os.setxattr(descriptor, _ACCESS, _CURRENT + b"".join(_ENTRY.pack(*entry) for entry in entries))


def drop_list(descriptor: int) -> None:
    """Remove the access list of an open file; set its mode afterwards. Raises OSError."""
    if not _IS_FREEBSD:  # where fchmod(2) removes it (zfsprops(7), aclmode)
        os.removexattr(descriptor, _ACCESS)


def _is_listed(descriptor: int) -> bool:
    """Whether an open file has a list that says more than its mode (acl_is_trivial_np(3), FreeBSD).

    NFSv4 lists are ordered, and can allow and deny. We don't interpret them: then only the owner is sure to have
    access.
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
        return True  # it can't be read
    is_trivial = ctypes.c_int(0)
    try:
        library.acl_is_trivial_np(ctypes.c_void_p(acl), ctypes.byref(is_trivial))
    finally:
        library.acl_free(ctypes.c_void_p(acl))
    return not is_trivial.value


def _read_attribute(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except (OSError, AttributeError):  # no list, or a file system or system without lists
        return None
