"""Acting as the account whose place it is: the process keeps real and saved uid 0, and each act has that account's ids.

Then the kernel judges every right, access lists and network file systems included, and nothing that the account puts in
the way of a name can lead root to what isn't the account's. Only a process that was forked for it ever changes its ids:
set-id calls change those of all threads (nptl(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from ..namespaces import is_unmapped_group
from ..tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

#: From <linux/capability.h>: the third version of the structures, which has 64 bits.
_CAPABILITY_VERSION = 0x20080522


class Identity(NamedTuple):
    """An account, and the groups that its acts have."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class ForeignPlaceError(OSError):
    """Somebody else may rename here: it is looked at by another process, which acts as that account."""

    def __init__(self, uid: int) -> None:
        super().__init__(errno.EACCES, f"account {uid} may rename here")
        self.uid = uid


class IdentityRefusedError(OSError):
    """Nothing can be done here as the account whose place it is, and so nothing is done at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)

    def __reduce__(self) -> tuple[type[IdentityRefusedError], tuple[str]]:
        return type(self), (str(self.strerror),)


class _Process:
    """What this process may do, and what it does at the moment."""

    def __init__(self) -> None:
        #: Whether it was forked for this.
        self.acts = False
        #: How often this process met with a place that it can't enter.
        self.met = 0
        self.current: Identity | None = None
        #: For each block that we are in: whether it took on an account's ids.
        self.blocks: list[bool] = []
        self.own_group = 0
        self.own_groups: list[int] = []
        #: By account: its identity, proven; or why it can't be had.
        self.known: dict[int, Identity | str] = {}


_process = _Process()


def begin_acting() -> None:
    """Make this process one that acts as accounts: it was forked for that, and has one thread. Raises OSError."""
    from .permission import access_lists  # noqa: F401 - an account may not be able to read root's own Python when it is needed

    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _process.acts = True
    _process.own_group, _process.own_groups = 0, os.getgroups()


def places_met() -> int:
    """How often this process met with a place of somebody else's, and left it to one that acts there."""
    return _process.met


def is_root() -> bool:
    """Whether places of others have to be told from ours: who isn't root has no more rights than its own."""
    return _process.acts or os.geteuid() == 0


def identity_of(uid: int) -> Identity:
    """The identity of an account, as it can be had here.

    Raises ForeignPlaceError in a process that keeps its ids, and IdentityRefusedError where it can't be had.
    """
    if not _process.acts:
        _process.met += 1
        raise ForeignPlaceError(uid)
    found = _process.known.get(uid)
    if found is None:
        found = _process.known[uid] = _proven(uid)
    if isinstance(found, str):
        raise IdentityRefusedError(found)
    return found


class Acting:
    """A block of acts as an account, or as ourselves for None. Within one as an account, that one stays.

    So who follows a link from an account's directory into one of root's has the account's rights there.
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.identity is not None and _process.blocks.pop():
            _resume()


class MakingFor:
    """A block in which what we make as an account is a group's, also one that the account isn't in.

    That is the group of its directory: an account without an entry acts with a group that is nobody's, and drawn anew.
    Nothing but one call belongs in it, on a name in an open directory of that account's place: there a group gives it
    no right that it hasn't. Nothing happens where we act as ourselves.
    """

    __slots__ = ("_gid", "_identity")

    def __init__(self, gid: int) -> None:
        self._gid = gid
        self._identity: Identity | None = None

    def __enter__(self) -> None:
        identity = _process.current
        if identity is None or identity.gid == self._gid or is_unmapped_group(self._gid):
            return
        _resume()
        try:
            _assume(identity._replace(gid=self._gid))
        except OSError:  # no group of this user namespace
            _assume(identity)
            return
        self._identity = identity

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._identity is not None:
            _resume()
            _assume(self._identity)


def acts_as_other() -> bool:
    """Whether we act as an account at the moment."""
    return _process.current is not None


def make_directory(parent: int, name: str, mode: int, gid: int) -> None:
    """Make a directory with its mode and group from the start. Raises OSError.

    What is opened afterwards under its name may be another one, which a chmod or chown would give away. As root, in a
    process that keeps its ids, another one makes it.
    """
    if acts_as_other():
        with MakingFor(gid):
            os.mkdir(name, mode, dir_fd=parent)
    elif os.geteuid() != 0 or gid == os.getegid() or is_unmapped_group(gid):
        os.mkdir(name, mode, dir_fd=parent)
    elif _process.acts:
        os.setegid(gid)
        try:
            os.mkdir(name, mode, dir_fd=parent)
        finally:
            os.setegid(_process.own_group)
    else:
        _make_apart(parent, name, mode, gid)


def _make_apart(parent: int, name: str, mode: int, gid: int) -> None:
    from ..forking import fork  # few directories are of a group that isn't root's

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


class ActingAsOurselves:
    """A block of acts that are ours also where we act as an account: telling whose place one is."""

    __slots__ = ("_suspended",)

    def __enter__(self) -> None:
        self._suspended = _process.current
        if self._suspended is not None:
            _resume()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._suspended is not None:
            _assume(self._suspended)


@contextlib.contextmanager
def masking_nothing_of(mode: int) -> Iterator[None]:
    """The umask without what it would take from `mode`: another thread may give no more than that meanwhile."""
    umask = os.umask(0o077)  # there is no asking without setting; a stricter one for a moment does no harm
    os.umask(umask & ~mode)
    try:
        yield
    finally:
        os.umask(umask)


def _assume(identity: Identity) -> None:
    """Take on an account's ids. Raises OSError, and leaves ours."""
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
    os.setegid(_process.own_group)
    os.setgroups(_process.own_groups)


def _proven(uid: int) -> Identity | str:
    """An account's identity, once it was shown that our rights are gone with our ids."""
    from .account import AccountUnknownError, look_up  # most trees are root's own

    try:
        identity = look_up(uid)
    except AccountUnknownError as error:
        return str(error)
    capabilities = _capabilities()
    try:
        with Acting(identity):
            is_bare = _has_no_rights(identity, capabilities)
    except OSError as error:
        return (
            f"root can't act as account {uid} here, whose place it is ({error.strerror}); "
            "run it as that account, or give root CAP_SETUID and CAP_SETGID"
        )
    if is_bare:
        return identity
    return f"root's rights stay when it acts as account {uid}, whose place it is; run it as that account"


def _has_no_rights(identity: Identity, capabilities: Callable[[], int | None]) -> bool:
    """Whether acts have the rights of this account alone; False also where nothing can prove it."""
    if (os.geteuid(), os.getegid()) != (identity.uid, identity.gid):
        return False
    if not set(os.getgroups()) <= {identity.gid, *identity.groups}:
        return False
    return not sys.platform.startswith("linux") or capabilities() == 0


def _capabilities() -> Callable[[], int | None]:
    """What tells the capabilities that count for this process (capget(2)), or None where they can't be told.

    With SECBIT_NO_SETUID_FIXUP they may all be there under any uid (capabilities(7)). What is needed is imported
    before: an account can't read root's own Python.
    """
    try:
        import ctypes

        capget = ctypes.CDLL(None, use_errno=True).capget
    except (ImportError, AttributeError, OSError):
        return lambda: None
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 6)()
    return lambda: data[0] | data[3] << 32 if capget(header, data) == 0 else None
