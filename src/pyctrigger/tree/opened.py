"""An open directory, and whose place it is: who beside root may rename in it."""

from __future__ import annotations

import os
import stat

from .identity import Acting, ActingAsOurselves, Identity, identity_of


class Opened(Acting):
    """An open directory. Inside of a `with`, which gives its descriptor, we act as the account whose place it is."""

    __slots__ = ("descriptor", "exposed")

    def __init__(self, descriptor: int, identity: Identity | None) -> None:
        self.identity = identity
        self.descriptor = descriptor
        #: A directory on the way in which everybody may rename.
        self.exposed: str | None = None

    def __enter__(self) -> int:  # type: ignore[override]
        if self.identity is not None:
            super().__enter__()
        return self.descriptor


def account_of_owner(descriptor: int, status: os.stat_result) -> int:
    """The account that owns an open directory; our own where the owner is none in this user namespace."""
    if status.st_uid in (0, os.geteuid()):
        return status.st_uid
    from ..namespaces import is_unmapped_owner

    is_nobodys = is_unmapped_owner(status.st_uid, lambda flags: os.open(".", flags, dir_fd=descriptor))
    return os.geteuid() if is_nobodys else status.st_uid


def is_confined(root: str | None) -> bool:
    """Whether mounts aren't entered: below a root, but for the one that is this system."""
    return root not in (None, "/")


def open_name(name: str, flags: int, directory: int, confined: bool) -> int:
    """Open one name in a directory; where that is `confined`, none that is on a mount. Raises OSError."""
    if not confined:
        return os.open(name, flags, dir_fd=directory)
    from .beneath import open_component  # no run over this system's own tree needs it

    return open_component(name, flags, directory)


def open_below(above: int, name: str, flags: int, inherited: Identity | None = None, confined: bool = False) -> Opened:
    """Open a directory in one of root's, or in that of the account `inherited`, and tell whose place it is.

    Raises OSError, ForeignPlaceError and IdentityRefusedError.
    """
    if inherited is not None:
        with Acting(inherited):
            return Opened(open_name(name, flags, above, confined), inherited)
    try:
        descriptor = open_name(name, flags, above, confined)
    except PermissionError:
        # A network file system takes root for nobody, and root may have no more rights than others.
        status = os.stat(name, dir_fd=above, follow_symlinks=False)
        if status.st_uid in (0, os.geteuid()) or not stat.S_ISDIR(status.st_mode):
            raise
        with Acting(identity_of(status.st_uid)):
            descriptor = open_name(name, flags, above, confined)
    try:
        return Opened(descriptor, _identity_in(descriptor, os.fstat(descriptor)))
    except BaseException:
        os.close(descriptor)
        raise


def _identity_in(directory: int, status: os.stat_result) -> Identity | None:
    """Who may rename in an open directory beside root, if that is one account."""
    if status.st_uid == 0:
        return None  # a group, or everybody, is for the gatekeeper to judge
    with ActingAsOurselves():
        owner = account_of_owner(directory, status)
        return None if owner == 0 else identity_of(owner)
