"""The site directories of one target, each opened once for all that is done in it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Container

from ...errors import RefusedError
from ...interpreter.scope import SiteDirectory
from ...outcome.outcome import Failure
from ...typed import TYPE_CHECKING
from .request import Request
from .target import Target

if TYPE_CHECKING:
    from ...tree.identity import ForeignPlaceError, Identity
    from ...tree.layout import Layout


class OpenSites(contextlib.ExitStack):
    """Opens site directories when they are first needed, and closes them at the end of its `with` block."""

    def __init__(self, target: Target, request: Request) -> None:
        super().__init__()
        self.target = target
        self._request = request
        self._layouts: list[tuple[SiteDirectory, Layout]] | None = None
        #: Why others couldn't be opened.
        self._errors: dict[str, OSError] = {}
        self._foreign: dict[str, ForeignPlaceError] = {}

    def close(self) -> None:
        """Close all descriptors. The next use opens what exists then."""
        super().close()
        self._layouts, self._errors, self._foreign = None, {}, {}

    @property
    def layouts(self) -> list[tuple[SiteDirectory, Layout]]:
        """Those that could be opened."""
        return self._open()

    @property
    def identities(self) -> frozenset[tuple[int, int]]:
        """Device and inode of each."""
        return frozenset(layout.sources.identity for _, layout in self.layouts)

    def _open(self) -> list[tuple[SiteDirectory, Layout]]:
        if self._layouts is None:
            from ...tree.identity import ForeignPlaceError  # a hook whose list is empty opens nothing

            self._layouts = []
            for site in self.target.sites:
                try:
                    self._layouts.append((site, self.enter_context(open_layout(site, self._request))))
                except ForeignPlaceError as place:
                    self._foreign[site.path] = place
                except OSError as error:
                    self._errors[site.path] = error
        return self._layouts

    def require_account_owns(self) -> None:
        """See that the interpreter may decide what the bytecode is in all of them. Raises RefusedError."""
        for _, layout in self.layouts:
            require_account_owns(self.target, layout)

    def find_foreign(self) -> dict[str, ForeignPlaceError]:
        """Returns those that only a process acting as the account that owns the place can open, by their paths."""
        self._open()
        return self._foreign

    def find_closed(self, only: Container[str] | None) -> tuple[list[Failure], list[Failure]]:
        """Returns failures for those that can't be opened, and for those that refuse us; of `only` these paths."""
        self._open()
        unexamined, refused = [], []
        for path, error in self._errors.items():
            if only is not None and path not in only:
                continue
            if reason := reason_to_refuse(None, error, path):
                refused.append(Failure(path, "refused", reason))
            else:
                unexamined.append(Failure(path, "io", error.strerror or str(error)))
        return unexamined, refused


def open_layout(site: SiteDirectory, request: Request) -> Layout:
    """Open a site directory, and the tree of its pycs if that is elsewhere. Raises OSError."""
    from ...tree.directory import Tree  # as above
    from ...tree.identity import ForeignPlaceError, IdentityRefusedError
    from ...tree.layout import Layout

    scope = request.scope
    sources = Tree.open(site.path, scope.root)
    try:
        if scope.pycache_prefix is None:
            return Layout(sources)
        try:
            return Layout(sources, Tree.open(scope.pycache_prefix, scope.root))
        except (ForeignPlaceError, IdentityRefusedError):
            raise
        except OSError as error:
            raise OSError(error.errno, f"the pycache prefix {scope.pycache_prefix}: {error.strerror}") from error
    except BaseException:
        sources.close()
        raise


def require_account_owns(target: Target, layout: Layout) -> None:
    """An interpreter that root only runs as its owner may not decide what anybody else's bytecode is.

    Raises RefusedError.
    """
    account = target.interpreter.account
    if account is None:
        return
    for tree in (layout.sources, layout.pycs):
        owner = os.fstat(tree.directory("")).st_uid
        if owner != account.uid:
            raise RefusedError(
                f"{target.interpreter.executable} belongs to account {account.uid}, but {tree.path} to account {owner}",
                hint="use an interpreter that the owner of the directory, or root, owns",
            )


def reason_to_refuse(account: Identity | None, error: OSError, *paths: str) -> str | None:
    """What keeps an account from its place, or us from a mount of its; None where an error is no refusal."""
    from ...tree.identity import IdentityRefusedError, is_root

    if isinstance(error, IdentityRefusedError):
        return str(error.strerror)
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    from ...tree.mounts import HINT_FOR_FUSE, KEPT_OUT, lies_on_fuse  # seldom needed

    if is_root() and any(map(lies_on_fuse, paths)):
        return f"{KEPT_OUT}; {HINT_FOR_FUSE}"
    if account is None:
        return None
    reason = error.strerror or str(error)
    return (
        f"account {account.uid}, which owns this place, can't do it ({reason}): "
        f"chown -R {account.uid} what others have there"
    )
