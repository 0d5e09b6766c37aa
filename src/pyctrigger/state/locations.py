"""Locations of lock, state and configuration.

As root they are fixed: `XDG_RUNTIME_DIR` moves even platformdirs' site directories, and a lock that an environment
variable can move excludes nobody. For all other accounts platformdirs decides.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from ..errors import RefusedError
from ..typed import NamedTuple

_NAME = "pyctrigger"


class Places(NamedTuple):
    """Root's locations on one kind of system."""

    lock: str
    state: str
    configuration: str
    cache: str


#: FreeBSD and DragonFly. All other systems use Linux's.
BSD = Places("/var/run/pyctrigger", "/var/db/pyctrigger", "/usr/local/etc/pyctrigger.toml", "/var/cache/pyctrigger")
LINUX = Places("/run/pyctrigger", "/var/lib/pyctrigger", "/etc/pyctrigger.toml", "/var/cache/pyctrigger")
_SYSTEM = BSD if sys.platform.startswith(("freebsd", "dragonfly")) else LINUX


def is_root() -> bool:
    """Whether this process has root's rights."""
    return os.geteuid() == 0


def lock_directory(named: str | None = None) -> str | None:
    """Returns the directory of the locks. An account without one of its own uses `named`, its state, or has none."""
    if is_root():
        return _SYSTEM.lock
    directory = _platform_directory("user_runtime_dir")
    # Without a session, as under cron, older platformdirs name a /run/user/UID that doesn't exist.
    if directory is not None and _can_make(directory):
        return directory
    state = _platform_directory("user_state_dir") or named
    return None if state is None else os.path.join(state, "run")


def lock_file(directory: str, installation: str) -> str:
    """The file in it that is the lock of an installation; its time of access says when it was last used."""
    return os.path.join(directory, installation + ".lock")


def state_directory() -> str | None:
    """Returns the directory of journal, manifest and cache, or None for an account without a home directory."""
    return _SYSTEM.state if is_root() else _platform_directory("user_state_dir")


def cache_directory() -> str | None:
    """Returns the directory of what can be made again, or None for an account without a home directory."""
    return _SYSTEM.cache if is_root() else _platform_directory("user_cache_dir")


def configuration_files(*, hook: bool) -> list[str]:
    """Returns the paths where the configuration may be; the first that exists is used."""
    if is_root():
        return [_SYSTEM.configuration]
    own = _platform_directory("user_config_dir")
    files = [_SYSTEM.configuration] if own is None else [os.path.join(own, "pyctrigger.toml"), _SYSTEM.configuration]
    named = os.environ.get("PYCTRIGGER_CONFIG")
    return [named] if named and not hook else files


def make_own(directory: str) -> str:
    """Make a directory that only we can enter, or check that it is one. Raises RefusedError and OSError."""
    if not os.path.isdir(directory):
        # platformdirs abandons a runtime directory that others can enter, and with it our lock, for another one.
        os.makedirs(os.path.dirname(directory), mode=0o755 if is_root() else 0o700, exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            pass  # another run was faster
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            from ..namespaces import is_unmapped_owner

            if is_unmapped_owner(status.st_uid, lambda flags: os.open(directory, flags)):
                raise PermissionError(errno.EACCES, "it belongs to no account of this user namespace")
            raise RefusedError(
                f"{directory} belongs to account {status.st_uid}", hint="remove it, or run as that account"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return directory


def require_private(directory: str) -> None:
    """Raise RefusedError if another account could replace a directory that root is asked to trust.

    `make_own` checks the owner of the directory itself.
    """
    from ..interpreter.trust import require_own  # only for a directory that was named

    existing = os.path.abspath(directory)
    existing = existing if os.path.islink(existing) else os.path.dirname(existing)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if os.path.isdir(existing) or os.path.islink(existing):  # below anything else there is no directory
        require_own(existing, "state directory")
    # In a sticky directory nobody can replace what root has made. But if parents are missing, anybody can make the
    # first.
    missing = os.path.relpath(os.path.dirname(os.path.abspath(directory)), existing)
    if is_root() and missing != "." and not os.path.islink(existing) and os.stat(existing).st_mode & stat.S_IWOTH:
        raise RefusedError(
            f"state directory {directory}: everybody may create {os.path.join(existing, missing.split('/')[0])}",
            hint="create its parent directory first, or name another directory",
        )


def _can_make(directory: str) -> bool:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return os.access(directory, os.W_OK | os.X_OK)


def _platform_directory(place: str) -> str | None:
    """Returns a directory of this account, or None: a uid without an entry, as in a container, has no home."""
    import warnings

    import platformdirs  # costs 15 ms, and root never needs it

    with warnings.catch_warnings():
        # It warns that XDG_RUNTIME_DIR isn't set, as in every cron job, and names a directory that is fine, too.
        warnings.simplefilter("ignore")
        try:
            directory = str(getattr(platformdirs.PlatformDirs(_NAME, appauthor=False), place))
        except PermissionError as error:
            raise RefusedError(str(error), hint="set XDG_RUNTIME_DIR to a directory of your own") from error
        except (RuntimeError, OSError):  # no home directory, or no writable temporary one
            return None
    return directory if os.path.isabs(directory) else None
