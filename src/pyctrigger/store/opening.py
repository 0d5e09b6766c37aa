"""Opens the store that a configuration names."""

from __future__ import annotations

import os

from ..errors import PyctriggerError
from ..state.locations import cache_directory, make_own
from .local import LocalStore, open_local

#: The configuration's word for the account's own, and its directory in that of the cache.
LOCAL, _NAME = "local", "store"


def local_path(url: str) -> str | None:
    """Returns the directory of a local store; None for an account without a cache directory."""
    if url != LOCAL:
        return url
    above = cache_directory()
    return None if above is None else os.path.join(above, _NAME)


def open_backend(url: str, *, writes: bool, max_size: int, run: str = "") -> tuple[LocalStore | None, str | None]:
    """Open the store that `url` names, and make it if it is to be written; None for one that doesn't exist.

    Returns also why it can't be used.
    """
    path = local_path(url)
    if path is None:
        return None, "the store can't be used: this account has no cache directory"
    try:
        if url == LOCAL and writes:
            make_own(os.path.dirname(path))
        return open_local(path, create=writes, writes=writes, max_size=max_size, run=run), None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not writes:
            return None, None  # nothing has been kept yet
        return None, f"the store {path} can't be used: {error.strerror}"
    except PyctriggerError as error:
        named = "" if path in error.message else f" {path}"
        return None, f"the store{named} can't be used: {error}"
