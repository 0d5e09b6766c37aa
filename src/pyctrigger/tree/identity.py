"""Acting as another account: the process keeps real and saved uid 0, and takes on effective ids for a few calls.

Then the kernel checks every permission, access lists and network file systems included, and no link or rename by that
account can make root touch what isn't the account's. Only a process that was forked for this ever changes its ids:
set-id calls change those of all threads (nptl(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator

from ..typed import NamedTuple

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Identity(NamedTuple):
    """An account, and the groups that we have while we act as it."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class ForeignPlaceError(OSError):
    """Another account may rename here. A process that acts as that account has to do the work."""

    def __init__(self, uid: int) -> None:
        super().__init__(errno.EACCES, f"account {uid} may rename here")
        self.uid = uid


class IdentityRefusedError(OSError):
    """The ids of the account that owns a place can't be taken on, so nothing is done there."""


class _Process:
    """Whether this process may change its ids, and which ones it has at the moment."""

    def __init__(self) -> None:
        #: Whether it was forked to act as other accounts.
        self.acts = False
        #: How many foreign places this process has met, and left to another one.
        self.met = 0
        self.current: Identity | None = None
        #: For each `with` block that we are in: whether it took on an account's ids.
        self.blocks: list[bool] = []
        self.own_groups: list[int] = []
        #: For each account its identity, proven to work, or the reason why it can't be taken on.
        self.known: dict[int, Identity | str] = {}


_process = _Process()


def begin_acting() -> None:
    """Let this process act as other accounts. It must be forked for that, and have one thread. Raises OSError."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _process.acts = True
    _process.own_groups = os.getgroups()


def places_met() -> int:
    """Returns how many foreign places this process has met, and left to one that may act there."""
    return _process.met


def is_root() -> bool:
    """Whether other accounts' places need care: an account other than root has no rights but its own."""
    return _process.acts or os.geteuid() == 0


def identity_of(uid: int) -> Identity:
    """Returns the identity of an account, proven to work in this process.

    Raises ForeignPlaceError in a process that can't change its ids, and IdentityRefusedError if the ids can't be taken
    on.
    """
    if not _process.acts:
        _process.met += 1
        raise ForeignPlaceError(uid)
    found = _process.known.get(uid)
    if found is None:
        found = _process.known[uid] = _prove_identity(uid)
    if isinstance(found, str):
        raise IdentityRefusedError(errno.EPERM, found)
    return found


class Acting:
    """A `with` block that acts as an account, or as ourselves for None. A nested block doesn't change the account.

    So a link from an account's directory into one of root's is followed with the account's rights.
    """

    __slots__ = ("identity",)

    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity

    def __enter__(self) -> None:
        if self.identity is not None:
            begins = _process.current is None
            if begins:
                _assume(self.identity)
            _process.blocks.append(begins)

    def __exit__(self, *_: object) -> None:
        if self.identity is not None and _process.blocks.pop():
            _resume()


@contextlib.contextmanager
def making_for(gid: int) -> Iterator[None]:
    """Give this group to what we create as an account, even if the account isn't a member of it.

    It is for the directory's group: an account without an entry acts with an unused group drawn at random. Make only
    one call in the block, on a name in an open directory that the account owns: there a group gives it no right that it
    doesn't have. Does nothing where we act as ourselves.
    """
    # A hook makes no file. Whoever acts as an account has it already: `_prove_identity` imports it, too.
    from ..namespaces import is_unmapped_group

    account = _process.current
    if account is None or account.gid == gid or is_unmapped_group(gid):
        yield
        return
    _resume()
    with contextlib.suppress(OSError):  # the group isn't mapped in this user namespace
        _assume(account._replace(gid=gid))
    if _process.current is None:
        _assume(account)
    try:
        yield
    finally:
        _resume()
        _assume(account)


def make_file(directory: int, name: str, mode: int, gid: int, umask: int) -> int:
    """Make a file that has its mode, and as an account also its group, from the start. Returns its descriptor.

    Raises OSError.
    """
    if not mode & umask and _process.current is None:
        return os.open(name, _CREATE, mode, dir_fd=directory)
    with masking_nothing_of(mode, umask), making_for(gid):
        return os.open(name, _CREATE, mode, dir_fd=directory)


def acts_as_other() -> bool:
    """Whether we act as another account at the moment."""
    return _process.current is not None


def make_directory(parent: int, name: str, mode: int, gid: int) -> None:
    """Make a directory that has its mode and group from the start. Raises OSError.

    Its name may lead to another directory a moment later, which a chmod or chown would give away. As root, a forked
    child makes it, since this process can't change its ids.
    """
    from ..namespaces import is_unmapped_group  # as above

    if acts_as_other():
        with making_for(gid):
            os.mkdir(name, mode, dir_fd=parent)
    elif os.geteuid() != 0 or gid == os.getegid() or is_unmapped_group(gid):
        os.mkdir(name, mode, dir_fd=parent)
    elif _process.acts:
        os.setegid(gid)
        try:
            os.mkdir(name, mode, dir_fd=parent)
        finally:
            os.setegid(0)
    else:
        _make_in_child(parent, name, mode, gid)


def _make_in_child(parent: int, name: str, mode: int, gid: int) -> None:
    from ..forking import fork  # few directories have a group other than root's

    child = fork()
    if not child:
        try:
            os.setegid(gid)
            os.mkdir(name, mode, dir_fd=parent)
            os._exit(0)
        except OSError as error:
            os._exit(min(error.errno or errno.EIO, 255))
        finally:
            os._exit(errno.EIO)
    code = os.waitpid(child, 0)[1]
    number = os.WEXITSTATUS(code) if os.WIFEXITED(code) else errno.EIO
    if number:
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def acting_as_ourselves() -> Iterator[None]:
    """Act as ourselves for a block while we act as an account: to find out who owns a place."""
    account = _process.current
    if account is not None:
        _resume()
    try:
        yield
    finally:
        if account is not None:
            _assume(account)


def read_umask() -> int:
    """Returns the umask. Reading it means setting it; a stricter one for a moment does no harm."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


@contextlib.contextmanager
def masking_nothing_of(mode: int, umask: int | None = None) -> Iterator[None]:
    """Let the umask, given if it is known, clear no bit of `mode`.

    Other bits stay masked: another thread may create a file meanwhile.
    """
    if umask is None:
        umask = read_umask()
    if not mode & umask:
        yield
        return
    os.umask(umask & ~mode)
    try:
        yield
    finally:
        os.umask(umask)


def _assume(identity: Identity) -> None:
    """Take on an account's ids. Raises OSError, after restoring ours."""
    try:
        os.setgroups(identity.groups)
        os.setegid(identity.gid)
        os.seteuid(identity.uid)
    except OSError:
        _resume()
        raise
    _process.current = identity


def _resume() -> None:
    _process.current = None
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(_process.own_groups)


def _prove_identity(uid: int) -> Identity | str:
    """Returns an account's identity, proven to have none of our rights, or the reason why it can't be taken on."""
    from ..clibrary import read_capabilities  # not needed for trees that are all root's
    from .account import AccountUnknownError, look_up_groups

    try:
        gid, *groups = look_up_groups(uid)
    except AccountUnknownError as error:
        return str(error)
    identity = Identity(uid, gid, tuple(groups))
    with contextlib.suppress(ImportError, OSError):
        read_capabilities()  # imports what it needs now: the account may not be able to read root's Python
    try:
        with Acting(identity):
            is_bare = _has_only_rights_of(identity)
    except OSError as error:
        return (
            f"root can't act as account {uid}, which owns it ({error.strerror}); "
            "run it as that account, or give root CAP_SETUID and CAP_SETGID"
        )
    if is_bare:
        return identity
    return f"root can't drop its rights to act as account {uid}, which owns it; run it as that account"


def _has_only_rights_of(identity: Identity) -> bool:
    """Whether we have the rights of this account and no others. False also if that can't be proven.

    With SECBIT_NO_SETUID_FIXUP a process keeps all capabilities under any uid (capabilities(7)).
    """
    from ..clibrary import read_capabilities

    if (os.geteuid(), os.getegid()) != (identity.uid, identity.gid):
        return False
    if not set(os.getgroups()) <= {identity.gid, *identity.groups}:
        return False
    try:
        return not sys.platform.startswith("linux") or read_capabilities() == 0
    except (ImportError, OSError):
        return False
