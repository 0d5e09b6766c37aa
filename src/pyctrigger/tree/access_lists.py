"""Access lists of files (acl(5)), which Linux keeps in extended attributes: who may read beyond what the mode shows.

With a list the group bits of `st_mode` are its mask: 0640 may mean that the group reads nothing, and 0644 that one
account doesn't. A default list of a directory is inherited by what is made there, whatever the umask.
"""

from __future__ import annotations

import os
import struct

_ACCESS = "system.posix_acl_access"
_DEFAULT = "system.posix_acl_default"
#: The attribute's layout, from <linux/posix_acl_xattr.h>: a version, and then entries of tag, rights and id.
_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ = 1
_READ, _WRITE = 4, 2


def access_list(descriptor: int, status: os.stat_result) -> bytes | None:
    """The list of an open file; None where its mode says it all, or no lists are known."""
    # What the mode shows to nobody but the owner, a list can't show to anybody: the mask is empty.
    return _attribute(descriptor, _ACCESS) if status.st_mode & 0o077 else None


def has_list(descriptor: int) -> bool:
    """Whether an open directory has a list, or gives one to what is made in it."""
    return _attribute(descriptor, _ACCESS) is not None or has_default_list(descriptor)


def has_default_list(directory: int) -> bool:
    """Whether what is made in an open directory gets a list."""
    return _attribute(directory, _DEFAULT) is not None


def for_reading(acl: bytes) -> bytes:
    """The same list, with no right but to read, and the owner's to write. Raises ValueError where it is none."""
    try:
        entries = list(_ENTRY.iter_unpack(acl[_VERSION.size :]))
    except struct.error as error:
        raise ValueError("no access list") from error
    kept = [
        _ENTRY.pack(tag, rights & _READ | (_WRITE if tag == _USER_OBJ else 0), account)
        for tag, rights, account in entries
    ]
    return acl[: _VERSION.size] + b"".join(kept)


def give_list(descriptor: int, acl: bytes) -> None:
    """Give an open file this list. Raises OSError."""
    os.setxattr(descriptor, _ACCESS, acl)


def drop_list(descriptor: int) -> None:
    """Take an open file's list away: its mode says it all from then on. Raises OSError."""
    os.removexattr(descriptor, _ACCESS)


def _attribute(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except (OSError, AttributeError):  # none, or a file system or system that knows no lists
        return None
