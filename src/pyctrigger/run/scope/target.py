"""A target of a request: an interpreter, the site directories of its scope, and the trees in them."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ...errors import NoLibraryError, RefusedError, UsageError
from ...interpreter.scope import (
    Bounds,
    SiteDirectory,
    existing,
    own_directories,
    site_directories,
    standard_library,
)
from ...pyc.header import HeaderFormat
from ...stamps import inode_of
from ...tree.directory import Tree, identity_as_others, identity_on_way, open_in_root, open_way, real_in_root
from ...tree.elsewhere import is_below
from ...tree.identity import ForeignPlaceError, IdentityRefusedError
from ...tree.layout import Layout
from ...tree.opened import Opened
from ...tuples import NamedTuple
from .paths import Touched, Unit, touched, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...interpreter.interpreter import Interpreter
    from .config import Settings
    from .request import Request


class Target(NamedTuple):
    """An interpreter, and the directories of its scope."""

    interpreter: Interpreter
    sites: tuple[SiteDirectory, ...]
    root: tuple[int, int] | None
    """Device and inode of the staged root."""
    prefix: str | None = None
    """The environment that it serves, as it was named; None: the interpreter's own directories, or named ones."""
    environment: str | None = None
    """What all names of that environment have in common: its real path, in a root its device and inode."""

    @property
    def installation(self) -> str:
        """The id that lock, journal and manifest go by."""
        return self.interpreter.installation_in(self.root, self.environment)

    @property
    def header(self) -> HeaderFormat:
        """What the headers of its pycs look like."""
        return HeaderFormat.of(self.interpreter.magic_number, self.interpreter.version)

    @property
    def dotted(self) -> str:
        """The name in the configuration's `[flavours."3.11"]`."""
        return self.interpreter.kind.dotted

    def touched(self, request: Request, paths: tuple[str, ...] | None = None) -> Touched:
        """What the request's paths (or `paths`) mean in this scope."""
        found = touched(
            request.transaction.paths if paths is None else paths,
            [site.path for site in self.sites],
            manager=request.transaction.manager,
            real=partial(real_name, request.scope.root),
        )
        if self.prefix is not None and found.outside:
            found = self._with_directories_above(found, request.scope.root)
        if not (found.outside and request.running.hook) or request.scope.site_dirs or request.scope.prefixes:
            return found
        # A manager's patterns are wider than what is there at the moment.
        own = own_directories(self.interpreter)
        return widened(found, [site.path for site in self.sites], own.packages, own.library)

    def _with_directories_above(self, found: Touched, root: str | None) -> Touched:
        """An environment's own directory, and those between it and its packages, stand for all packages in them."""
        outside, units = [], dict(found.units)
        for path in found.outside:
            sites = self.sites_below(path, root)
            units.update({site: [Unit("", deep=True)] for site in sites})
            outside += [] if sites else [path]
        return Touched(units, tuple(outside))

    def sites_below(self, path: str, root: str | None) -> list[str]:
        """The site directories somewhere below a directory of this target's environment."""
        if self.prefix is None:
            return []
        named = f"{real_name(root, path)}/"
        if not named.startswith(f"{real_name(root, self.prefix)}/"):
            return []
        return [site.path for site in self.sites if real_name(root, site.path).startswith(named)]


def require_named(request: Request) -> None:
    """Raise UsageError for what a person names and isn't there, before anything is made for it.

    What a hook names may be gone, but for its root: below that its state would be made.
    """
    scope = request.scope
    if scope.root is not None:
        require_root(scope.root)
    if request.running.hook:
        return
    named = [("--prefix", path) for path in scope.prefixes] + [("--site-dir", path) for path in scope.site_dirs]
    named += [("--prefix-below", path) for path in scope.prefixes_below]
    named += [("--pycache-prefix", scope.pycache_prefix)] if scope.pycache_prefix is not None else []
    for option, path in named:
        if locate(scope.root, path) is None:
            _require_no_fuse(scope.root, option, path)
            raise no_directory(option, path) if scope.root is None else _none_in_root(option, path, scope.root)


def _none_in_root(option: str, path: str, root: str) -> UsageError:
    if lies_on_mount(root, path):
        reason = f"lies on a mount in {root}, and those below a root aren't entered"
        return UsageError(f"{option} {path}: {reason}", hint=HINT_FOR_MOUNT)
    inside = as_seen_inside(path, root)
    hint = "name a directory that exists" if inside is None else f"as seen inside, it is {inside}"
    return UsageError(f"{option} {path}: no such directory in {root}", hint=hint)


def as_seen_inside(path: str, root: str | None) -> str | None:
    """What an absolute path that was named as seen outside of a root is inside; None for any other one."""
    if root is None or not path.startswith(f"{root.rstrip('/')}/") or not os.path.lexists(path):
        return None
    return path[len(root.rstrip("/")) :]


def _require_no_fuse(root: str | None, option: str, path: str) -> None:
    """Raise RefusedError where a path may be there, and root may not look."""
    from ...tree.mounts import HINT_FOR_FUSE, KEPT_OUT, lies_on_fuse

    if os.geteuid() == 0 and lies_on_fuse(path if root is None else root + path):
        raise RefusedError(f"{option} {path}: {KEPT_OUT}", hint=HINT_FOR_FUSE)


def find_target(interpreter: Interpreter, request: Request, settings: Settings) -> Target:
    """The scope of an interpreter under a request. Raises UsageError."""
    scope = request.scope
    root = require_root(scope.root) if scope.root is not None else None
    bare = Target(interpreter, (), root)
    site_dirs, prefixes = scope.site_dirs, scope.prefixes
    configured = settings.flavours.get(bare.dotted)
    if not site_dirs and not prefixes and scope.root is None and configured and configured.site_dirs:
        # What the configuration names may come and go with packages; what a person names has to exist.
        site_dirs = tuple(path for path in configured.site_dirs if locate(None, path))
    bounds = Bounds(partial(locate, scope.root), partial(lies_in, scope.root), prefixes)
    if scope.root is not None and not (site_dirs or prefixes):
        from .staged import staged_site_directories

        sites = staged_site_directories(interpreter, scope.root)
    else:
        sites = site_directories(interpreter, bounds, site_dirs)
    if scope.stdlib:
        sites = existing([*sites, *_library(interpreter, request, bounds)], bounds.locate)
    is_environment = (prefixes or interpreter.environment) and not site_dirs
    if is_environment and request.scope.pycache_prefix is None:
        sites = _under_their_own_names(sites, interpreter, request.scope.root)
    # An interpreter that is an environment's own means that environment, unless another place is named.
    prefix = prefixes[0] if prefixes else None if site_dirs or scope.root else interpreter.environment
    environment = None if prefix is None else real_prefix(scope.root, prefix)
    return bare._replace(sites=tuple(sites), prefix=prefix, environment=environment)


def _under_their_own_names(
    sites: Sequence[SiteDirectory], interpreter: Interpreter, root: str | None
) -> list[SiteDirectory]:
    """The directories of an environment under one name, whatever it was called: code and records name the source.

    By two names in turns, each run would find the other's bytecode and replace it; an import puts in the name that it
    goes by. A directory that was named itself (`--site-dir`) keeps that name, and with a pycache prefix each name has
    bytecode of its own.
    """
    own = {}
    if root is not None:
        from .staged import staged_library, staged_places

        paths = [*staged_places(interpreter, root), *(site.path for site in staged_library(interpreter, root))]
        own = {locate(root, path): path for path in reversed(paths)}
    elif interpreter.environment is None:
        directories = own_directories(interpreter)
        own = {locate(None, path): path for path in (*directories.library, *directories.packages)}
    return [
        site._replace(path=_own_name(root, site.path, own.get(locate(root, site.path)) or real_name(root, site.path)))
        for site in sites
    ]


def _own_name(root: str | None, named: str, real: str) -> str:
    """The real name, unless it would hide from root that somebody else may lead the other one elsewhere."""
    try:
        is_the_same = real == named or os.geteuid() != 0 or _whose_place(root, real) == _whose_place(root, named)
        return real if is_the_same else named
    except OSError:
        return named


def _whose_place(root: str | None, path: str) -> tuple[int | None, bool]:
    """The account as which everything is done there, None for our own; and whether everybody may rename on the way.

    Raises OSError where nothing is done.
    """
    try:
        opened = open_way(path, root)
    except ForeignPlaceError as place:
        return place.uid, False
    os.close(opened.descriptor)
    return opened.identity.uid if opened.identity else None, opened.exposed is not None


def _library(interpreter: Interpreter, request: Request, bounds: Bounds) -> list[SiteDirectory]:
    """The standard library inside of what was named. Raises UsageError where it lies elsewhere."""
    inside = request.scope.root
    if request.scope.root is not None and not bounds.prefixes:
        from .staged import staged_library

        found = staged_library(interpreter, request.scope.root)
    else:
        if not bounds.prefixes and interpreter.environment is not None:
            bounds = bounds._replace(prefixes=(interpreter.environment,))
        inside = ", ".join(bounds.prefixes) or None
        found = standard_library(interpreter, bounds)
    if inside is not None and not found and not request.running.hook:
        elsewhere = next(filter(os.path.isdir, own_directories(interpreter).library), None)
        raise NoLibraryError([inside], [interpreter.flavour], [] if elsewhere is None else [elsewhere])
    return found


def require_root(root: str) -> tuple[int, int]:
    """Device and inode of a staged root. Raises UsageError where there is none."""
    found = locate(None, root)
    if found is None:
        raise no_directory("--root", root, hint="name the directory of a staged root")
    return found


def no_directory(option: str, path: str, *, hint: str = "name a directory that exists") -> UsageError:
    """The error for what was named and is no directory, or can't be looked at."""
    reason = "no such directory"
    try:
        os.stat(path)
        reason = "is no directory"
    except PermissionError as error:
        reason, hint = str(error.strerror), "run it as an account that may look there"
    except (OSError, ValueError):
        pass  # there is nothing of the name
    return UsageError(f"{option} {path}: {reason}", hint=hint)


def locate(root: str | None, path: str) -> tuple[int, int] | None:
    """Device and inode of a directory, inside a staged root if there is one; None where there is none."""
    try:
        if root is not None:
            return identity_on_way(root, path)
        status = os.stat(path)
        return inode_of(status) if os.path.isdir(path) else None
    except PermissionError:
        return _as_others(lambda: identity_as_others(root, path)) if os.geteuid() == 0 else None
    except (OSError, ValueError):
        return None


#: What to do about what isn't entered.
HINT_FOR_MOUNT = "run pyctrigger inside the root (chroot)"


def lies_on_mount(root: str, path: str) -> bool:
    """Whether a path leads to what is mounted below a root: none of that is looked at."""
    try:
        os.close(open_in_root(root, path))
    except OSError as error:
        return error.errno == errno.EXDEV
    except ValueError:
        pass
    return False


def lies_in(root: str | None, path: str, above: str) -> bool:
    """Whether a directory is `above`, or lies below it: whatever links lead there, and however they are named."""
    top = locate(root, above)
    if top is None:
        return False
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if root is None else open_in_root(root, path)
    except PermissionError:
        return bool(os.geteuid() == 0 and _as_others(lambda: _lies_below(open_way(path, root), {top})))
    except (OSError, ValueError):
        return False
    return _lies_below(Opened(directory, None), {top})


def _lies_below(opened: Opened, tops: set[tuple[int, int]]) -> bool:
    try:
        with opened as directory:
            return is_below(directory, tops)
    except OSError:
        return False
    finally:
        os.close(opened.descriptor)


_Answer = TypeVar("_Answer")


def _as_others(question: Callable[[], _Answer]) -> _Answer | None:
    """The answer of a process that acts as whose place it is: root has no more rights there than others.

    So it is on network file systems, and where root lacks capabilities. None where there is no answer.
    """
    from ...outcome.observer import Observer
    from .forked import Apart, DeathError, NoProcessError

    try:
        answer: _Answer = Apart(Observer()).perform(lambda line, relay: _answered(question))
    except (NoProcessError, DeathError):
        return None
    return answer


def _answered(question: Callable[[], _Answer]) -> _Answer | None:
    try:
        return question()
    except (OSError, ValueError):
        return None


def is_inside(path: str, directory: str) -> bool:
    """Whether a path, which may not be there yet, lies in a directory, whatever links lead there."""
    while not os.path.isdir(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return lies_in(None, path, directory)


def real_prefix(root: str | None, prefix: str) -> str:
    """What all names of an environment have in common: its real path; in a root its device and inode."""
    if root is None:
        return os.path.realpath(prefix)
    where = locate(root, prefix)
    return os.path.normpath(prefix) if where is None else f"{where[0]}:{where[1]}"


def real_name(root: str | None, path: str) -> str:
    """What has no links in it, and leads to the same; in a root as seen inside."""
    return os.path.realpath(path) if root is None else real_in_root(root, path)


def told_apart(targets: Sequence[Target]) -> list[str]:
    """What people call each: its flavour, and where two of one place have the same, its executable as well."""
    flavours = [(target.interpreter.flavour, target.prefix) for target in targets]
    return [
        flavour if flavours.count((flavour, prefix)) == 1 else f"{flavour} ({target.interpreter.executable or 'gone'})"
        for target, (flavour, prefix) in zip(targets, flavours)
    ]


def keep_shared(target: Target, others: list[Target], root: str | None) -> tuple[Target, list[str]]:
    """The target without the directories that another one of the same cache tag uses as well, and their paths."""
    used = {locate(root, site.path) for other in others for site in other.sites}
    kept = tuple(site for site in target.sites if locate(root, site.path) not in used)
    return target._replace(sites=kept), [site.path for site in target.sites if site not in kept]


def open_layout(site: SiteDirectory, request: Request) -> Layout:
    """Open a site directory, and the tree of its pycs if that is elsewhere. Raises OSError."""
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
