"""Work in a child process of its own: with another account's rights, or with mounts that end with it."""

from __future__ import annotations

import contextlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from separation import separable, separate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_Found = TypeVar("_Found")


def in_child(
    work: Callable[[], _Found],
    *,
    account: int | None = None,
    group: int | None = None,
    groups: Sequence[int] = (),
    own_mounts: bool = False,
) -> _Found:
    """Returns what `work` returns in a forked process.

    With `account` that has this account's ids, or `group` for the second, and no more groups than `groups`.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if own_mounts:
                separate(os.devnull)
            if account is not None:
                os.setgroups(groups)
                os.setgid(account if group is None else group)
                os.setuid(account)
            with open(writer, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            found: _Found = pickle.load(pipe)
    finally:
        os.waitpid(child, 0)
    return found


def require_own_mounts() -> None:
    """Skip where no process may have mounts of its own."""
    from conftest import absent

    if os.geteuid() != 0 or not separable():
        absent("needs root, and mounts of its own")


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that everybody may enter: pytest's own let nobody else in."""
    with tempfile.TemporaryDirectory(prefix="pyctrigger-test-") as top:
        os.chmod(top, 0o755)
        yield Path(top).resolve()
