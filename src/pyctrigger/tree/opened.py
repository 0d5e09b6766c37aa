"""An open directory: the account other than root that may rename in it, and who else may write there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator

from ..stamps import inode_of
from .identity import Acting, Identity, acting_as_ourselves, identity_of

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: O_NONBLOCK: opening a FIFO for reading would block until it has a writer.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: For a directory on the way to another one, which may be entered, but not read (open(2), Linux).
TRAVERSE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Levels of directories up to the system's root.
_MAX_DEPTH = 4096


class Opened(Acting):
    """An open directory. A `with` block gives its descriptor, and acts as the account that owns the place."""

    __slots__ = ("descriptor", "exposed")

    def __init__(self, descriptor: int, identity: Identity | None) -> None:
        self.identity = identity
        self.descriptor = descriptor
        #: A directory on the way to it in which everybody may rename, if there is one.
        self.exposed: str | None = None

    def __enter__(self) -> int:  # type: ignore[override]
        if self.identity is not None:
            super().__enter__()
        return self.descriptor


def account_of_owner(descriptor: int, status: os.stat_result) -> int:
    """Returns the account that owns an open directory, or our own if the owner isn't mapped in this user namespace."""
    if not status.st_uid or status.st_uid == os.geteuid():
        return status.st_uid
    from ..namespaces import is_unmapped_owner

    is_unmapped = is_unmapped_owner(status.st_uid, lambda flags: os.open(".", flags, dir_fd=descriptor))
    return os.geteuid() if is_unmapped else status.st_uid


def is_confined(root: str | None) -> bool:
    """Whether mounts must not be entered: below any root other than this system's "/"."""
    return root not in (None, "/")


def open_name(name: str, flags: int, directory: int, confined: bool) -> int:
    """Open one name in a directory; if `confined`, without entering a mount. Raises OSError."""
    if not confined:
        return os.open(name, flags, dir_fd=directory)
    from ..clibrary import open_on_this_mount  # not needed by runs over this system's own tree

    return open_on_this_mount(name, flags, directory)


def read_link(name: str, directory: int) -> str | None:
    """Returns the target of a link, or None if `name` isn't a link or doesn't exist. Raises OSError."""
    try:
        return os.readlink(name, dir_fd=directory)  # never enters a mount: a mount point isn't a link
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def open_below(above: Opened, name: str, flags: int, *, judged: bool, confined: bool) -> Opened:
    """Open a directory in another one, as the account that owns the place, and if `judged` find out which one that is.

    Raises OSError, ForeignPlaceError and IdentityRefusedError.
    """
    if not judged or above.identity is not None:
        with above as directory:
            return Opened(open_name(name, flags, directory, confined), above.identity)
    try:
        descriptor = open_name(name, flags, above.descriptor, confined)
    except PermissionError:
        # A network file system may map root to nobody (root_squash), and root may lack the capability.
        status = os.stat(name, dir_fd=above.descriptor, follow_symlinks=False)
        if status.st_uid in (0, os.geteuid()) or not stat.S_ISDIR(status.st_mode):
            raise
        with Acting(identity_of(status.st_uid)):
            descriptor = open_name(name, flags, above.descriptor, confined)
    try:
        return Opened(descriptor, _identity_in(descriptor, os.fstat(descriptor)))
    except BaseException:
        os.close(descriptor)
        raise


def _identity_in(directory: int, status: os.stat_result) -> Identity | None:
    """Returns the one account other than root that may rename in an open directory, or None."""
    if status.st_uid == 0:
        return None  # a group, or everybody, may rename: `custody` judges that
    with acting_as_ourselves():
        owner = account_of_owner(directory, status)
        return None if owner == 0 else identity_of(owner)


def walk_up(opened: Opened) -> Iterator[tuple[int, os.stat_result]]:
    """Yields an open directory and each one above it: a descriptor, valid until the next one, and its status.

    Raises OSError.
    """
    here, last = os.dup(opened.descriptor), None
    try:
        for _ in range(_MAX_DEPTH):
            status = os.fstat(here)
            if inode_of(status) == last:
                return
            yield here, status
            last = inode_of(status)
            above = _open_parent(here, opened)
            os.close(here)
            here = above
    finally:
        os.close(here)


def _open_parent(directory: int, opened: Opened) -> int:
    """Open the parent of a directory: as the account that owns the place, or as ourselves where it has no access."""
    try:
        with opened:
            return _open_above(directory)
    except PermissionError:
        with acting_as_ourselves():
            return _open_above(directory)


def _open_above(directory: int) -> int:
    try:
        return os.open("..", DIRECTORY, dir_fd=directory)
    except PermissionError:
        return os.open("..", TRAVERSE, dir_fd=directory)


def reason_to_distrust(
    directory: int, owners: Callable[[], Iterable[int]], account: Identity | None = None
) -> str | None:
    """Returns why an open directory shouldn't be changed, with a hint, or None if it may be.

    Root and the caller are trusted, and so are the owners of the sources; `owners` is called only if neither root nor
    the caller owns the directory. A group is the administrator's choice, and so is an owner outside of our user
    namespace. Below the first directory of another `account`, as which we act there, a third one is never trusted: it
    could replace what is written in one step by a file of that account's in the next. Raises OSError.
    """
    status = os.fstat(directory)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return "everybody may write here, without a sticky bit; chmod o-w it"
    owner = account_of_owner(directory, status)
    if owner in (0, os.geteuid()):
        return None
    if account is not None and owner != account.uid:
        return (
            f"it belongs to account {owner}, and is in a directory of account {account.uid}; chown -R {account.uid} it"
        )
    trusted = sorted(set(owners()))
    if status.st_uid in trusted:
        return None
    return (
        f"it belongs to account {status.st_uid}, and its sources to {_list_accounts(trusted)}; "
        "chown it to the owner of its sources or to root"
    )


def writers_beside_root(directory: int, status: os.stat_result) -> list[str]:
    """Returns who else may write into a directory of root's: its group, or those that an access list names."""
    from .permission.access_lists import WRITE, access_list  # an idle hook doesn't ask
    from .permission.readers import Grants

    grants = Grants.of(status, access_list(directory, status), WRITE)
    groups = {status.st_gid: grants.to_group, **grants.groups}
    return [
        f"{kind} {number}"
        for kind, lets in (("account", grants.users), ("group", groups))
        for number, may in lets.items()
        if may and number
    ]


def _list_accounts(uids: list[int]) -> str:
    return ("account " if len(uids) == 1 else "accounts ") + ", ".join(map(str, uids))
