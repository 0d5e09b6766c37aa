"""A target of a request: an interpreter, the site directories of its scope, and the trees in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import RefusedError, UsageError
from ..pyc.header import HeaderFormat
from ..target.scope import SiteDirectory, own_directories, site_directories
from ..tree.directory import Tree, identity_in_root
from ..tree.layout import Layout
from .transaction import Touched, touched, widened

if TYPE_CHECKING:
    from ..target.interpreter import Interpreter
    from .config import Settings
    from .request import Request


class Target(NamedTuple):
    """An interpreter, and the directories of its scope."""

    interpreter: Interpreter
    sites: tuple[SiteDirectory, ...]
    root: tuple[int, int] | None
    """Device and inode of the staged root."""

    @property
    def installation(self) -> str:
        """The id that lock, journal and manifest go by."""
        return self.interpreter.installation_in(self.root)

    @property
    def header(self) -> HeaderFormat:
        """What the headers of its pycs look like."""
        return HeaderFormat.of(self.interpreter.magic_number, self.interpreter.version)

    @property
    def dotted(self) -> str:
        """The name in the configuration's `[flavours."3.11"]`."""
        stem = "" if self.interpreter.implementation == "cpython" else self.interpreter.implementation
        major, minor, _ = self.interpreter.version
        return f"{stem}{major}.{minor}{'t' if self.interpreter.free_threaded else ''}"

    def touched(self, request: Request, paths: tuple[str, ...] | None = None) -> Touched:
        """What the request's paths (or `paths`) mean in this scope."""
        found = touched(
            request.paths if paths is None else paths,
            [site.path for site in self.sites],
            manager=request.manager,
            staged=request.root is not None,
        )
        if not (found.outside and request.hook) or request.site_dirs or request.prefixes:
            return found
        # A manager's patterns are wider than what is there at the moment.
        own = own_directories(self.interpreter)
        return widened(found, [site.path for site in self.sites], own.packages, own.library)


def find_target(interpreter: Interpreter, request: Request, settings: Settings) -> Target:
    """The scope of an interpreter under a request. Raises UsageError."""
    root = _identity(request.root) if request.root is not None else None
    bare = Target(interpreter, (), root)
    if request.root is not None and not (request.site_dirs or request.prefixes):
        from .staged import staged_site_directories

        return bare._replace(sites=tuple(staged_site_directories(interpreter, request.root, stdlib=request.stdlib)))
    site_dirs, prefixes = request.site_dirs, request.prefixes
    if not request.pythons:
        # Environments without a named interpreter have each their own.
        prefixes = tuple(prefix for prefix in prefixes if interpreter.executable.startswith(f"{prefix}/bin/"))
    configured = settings.flavours.get(bare.dotted)
    if not site_dirs and not prefixes and configured and configured.site_dirs:
        # What the configuration names may come and go with packages; what a person names has to exist.
        site_dirs = tuple(path for path in configured.site_dirs if _locate(request.root, path))
    sites = site_directories(
        interpreter,
        lambda path: _locate(request.root, path),
        site_dirs=site_dirs,
        prefixes=prefixes,
        stdlib=request.stdlib,
    )
    return bare._replace(sites=tuple(sites))


def _identity(root: str) -> tuple[int, int]:
    found = _locate(None, root)
    if found is None:
        raise UsageError(f"--root {root}: no such directory", mend="name the directory of a staged root")
    return found


def _locate(root: str | None, path: str) -> tuple[int, int] | None:
    if root is not None:
        return identity_in_root(root, path)
    try:
        status = os.stat(path)
        return (status.st_dev, status.st_ino) if os.path.isdir(path) else None
    except (OSError, ValueError):
        return None


def keep_shared(target: Target, others: list[Target]) -> tuple[Target, list[str]]:
    """The target without the directories that another one of the same cache tag uses as well, and their paths."""
    used = {_locate(None, site.path): site.path for other in others for site in other.sites}
    kept = tuple(site for site in target.sites if _locate(None, site.path) not in used)
    return target._replace(sites=kept), [site.path for site in target.sites if site not in kept]


def open_layout(site: SiteDirectory, request: Request) -> Layout:
    """Open a site directory, and the tree of its pycs if that is elsewhere. Raises OSError."""
    sources = Tree.open(site.path, request.root)
    try:
        if request.pycache_prefix is None:
            return Layout(sources)
        try:
            return Layout(sources, Tree.open(request.pycache_prefix, request.root))
        except OSError as error:
            raise OSError(error.errno, f"the pycache prefix {request.pycache_prefix}: {error.strerror}") from error
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
                mend="use an interpreter that the owner of the directory, or root, owns",
            )
