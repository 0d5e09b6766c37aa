"""A target of a request: an interpreter, the site directories of its scope, and the trees in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Sequence
from functools import partial

from ...errors import NoLibraryError, RightsError, UsageError
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import (
    Bounds,
    OwnDirectories,
    SiteDirectory,
    existing,
    own_directories,
    site_directories,
    standard_library,
)
from ...pyc.header import HeaderFormat, InvalidationMode
from ...typed import NamedTuple
from .config import Settings
from .paths import Touched, Unit, home_of, touched, widen
from .places import HINT_FOR_MOUNT, lies_in, lies_on_mount, locate, real_name, real_prefix, require_root
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
        return widen(found, [site.path for site in self.sites], own.packages, own.library)

    def _with_directories_above(self, found: Touched, root: str | None) -> Touched:
        """An environment's own directory, and those between it and its packages, mean all packages in them."""
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


class Assignment(NamedTuple):
    """One target, what of a request is about it, and what that touches there."""

    target: Target
    request: Request
    touched: Touched

    @classmethod
    def of(cls, target: Target, request: Request) -> Assignment:
        """With what the paths of the request mean, which is worked out here and nowhere else."""
        return cls(target, request, target.touched(request))

    @property
    def touches(self) -> bool:
        """Whether there is anything to look at."""
        return self.request.transaction.paths is None or any(self.touched.units.values())


def find_target(interpreter: Interpreter, request: Request, settings: Settings) -> Target:
    """The scope of an interpreter under a request. Raises UsageError."""
    scope = request.scope
    root = require_root(scope.root) if scope.root is not None else None
    site_dirs, prefixes = scope.site_dirs, scope.prefixes
    configured = settings.flavours.get(interpreter.kind.dotted)
    if not site_dirs and not prefixes and scope.root is None and configured and configured.site_dirs:
        # What the configuration names may come and go with packages; what a person names has to exist.
        site_dirs = tuple(path for path in configured.site_dirs if locate(None, path))
    staged = None
    if scope.root is not None:
        from .staged import staged_directories

        staged = staged_directories(interpreter, scope.root)
    bounds = Bounds(partial(locate, scope.root), partial(lies_in, scope.root), prefixes, staged)
    sites = site_directories(interpreter, bounds, site_dirs)
    if scope.stdlib:
        sites = existing([*sites, *_library(interpreter, request, bounds)], bounds.locate)
    is_environment = (prefixes or interpreter.environment) and not site_dirs
    if is_environment and scope.pycache_prefix is None:
        sites = _under_their_own_names(sites, interpreter, bounds.own, scope.root)
    # An interpreter that is an environment's own means that environment, unless another place is named.
    prefix = prefixes[0] if prefixes else None if site_dirs or scope.root else interpreter.environment
    environment = None if prefix is None else real_prefix(scope.root, prefix)
    return Target(interpreter, tuple(sites), root, prefix, environment)


def _under_their_own_names(
    sites: Sequence[SiteDirectory], interpreter: Interpreter, own: OwnDirectories | None, root: str | None
) -> list[SiteDirectory]:
    """The directories of an environment under one name, whatever it was called: code and records name the source.

    By two names in turns, each run would find the other's bytecode and replace it; an import puts in the name that it
    goes by. A directory that was named itself (`--site-dir`) keeps that name, and with a pycache prefix each name has
    bytecode of its own.
    """
    if own is None and interpreter.environment is None:
        own = own_directories(interpreter)
    names = {locate(root, path): path for path in reversed((*own.packages, *own.library))} if own else {}
    return [
        site._replace(path=_own_name(root, site.path, names.get(locate(root, site.path)) or real_name(root, site.path)))
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
    from ...tree.directory import open_way  # a hook whose list is empty needs nothing of the tree
    from ...tree.identity import ForeignPlaceError

    try:
        opened = open_way(path, root)
    except ForeignPlaceError as place:
        return place.uid, False
    os.close(opened.descriptor)
    return opened.identity.uid if opened.identity else None, opened.exposed is not None


def _library(interpreter: Interpreter, request: Request, bounds: Bounds) -> list[SiteDirectory]:
    """The standard library inside of what was named. Raises UsageError where it lies elsewhere."""
    root = request.scope.root
    if root is None and not bounds.prefixes and interpreter.environment is not None:
        bounds = bounds._replace(prefixes=(interpreter.environment,))
    inside = ", ".join(bounds.prefixes) or root
    found = standard_library(interpreter, bounds)
    # A hook's line is the same for every root and environment, also for those without a library of their own.
    if inside is not None and not found and not request.running.hook:
        elsewhere = next(filter(os.path.isdir, own_directories(interpreter).library), None)
        raise NoLibraryError([inside], [interpreter.flavour], [] if elsewhere is None else [elsewhere])
    return found


def display_names(targets: Sequence[Target]) -> list[str]:
    """Returns a name for each: its flavour, with its executable where two in one place have the same flavour."""
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


def check_target(target: Target, request: Request) -> list[str]:
    """Notices about what this target can't do as it was asked. Raises UsageError where it can't be done at all."""
    scope = request.scope
    notices = []
    if scope.pycache_prefix is not None:
        notices += _check_pycache_prefix(target, request, scope.pycache_prefix)
    if scope.root is not None and not (scope.site_dirs or scope.prefixes):
        notices += _describe_mounts(target.interpreter, scope.root)
    mode = request.bytecode.invalidation_mode
    if mode not in (None, InvalidationMode.TIMESTAMP) and not target.header.has_modes:
        flavour = target.interpreter.flavour
        notices.append(f"{flavour} doesn't support hash-based bytecode (new in 3.7); timestamps are written")
    return notices


def _check_pycache_prefix(target: Target, request: Request, prefix: str) -> list[str]:
    if target.interpreter.version < (3, 8, 0):
        raise UsageError(
            f"--pycache-prefix: {target.interpreter.flavour} doesn't support a pycache prefix",
            hint="it is new in Python 3.8",
        )
    running, root = request.running, request.scope.root
    if running.hook and root is None and not running.dry_run:  # a person's has to be there
        try:
            _make_prefix(prefix)
        except OSError as error:
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                raise RightsError(f"--pycache-prefix {prefix}: {error.strerror}") from error
            raise UsageError(
                f"--pycache-prefix {prefix}: {error.strerror}", hint="name a writable directory"
            ) from error
    try:
        status = os.stat((root or "") + prefix)
    except OSError:
        return []
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return [f"{prefix} is world-writable: anybody can change what is imported from it; chmod o-w {prefix}"]
    return []


def _make_prefix(prefix: str) -> None:
    from ...tree.directory import make_directories
    from ...tree.identity import ForeignPlaceError

    try:
        make_directories(prefix)
    except ForeignPlaceError:
        from .forked import NoProcessError, act_as_others

        try:
            act_as_others(lambda _: make_directories(prefix))
        except NoProcessError as error:
            raise OSError(0, f"no process can act as the account whose directory it is ({error})") from error


def _describe_mounts(interpreter: Interpreter, root: str) -> list[str]:
    """Returns a notice for site directories below a mount: for us they aren't there, and somebody misses them."""
    from .staged import staged_directories

    found = [path for path in staged_directories(interpreter, root).packages if lies_on_mount(root, path)]
    return [f"{', '.join(found)}: mounts below a root aren't entered; {HINT_FOR_MOUNT}"] if found else []


def widening(request: Request, outside: Collection[str], targets: Iterable[Target]) -> str:
    """Returns the hint that brings the paths into the scope."""
    scope = request.scope
    if scope.prefixes or scope.prefixes_below:
        return "leave out --prefix, or name paths inside it"
    directory, environment = "its directory", "its environment"
    if len(outside) > 1:
        directory, environment = "their directories", "their environments"
    if scope.site_dirs:
        return f"name {directory} with --site-dir as well"
    library = [path for target in targets for path in own_directories(target.interpreter).library]
    is_library = not scope.stdlib and all(home_of(path, library) for path in outside)
    if is_library:
        return "add --stdlib"
    return f"name {directory} with --site-dir, or {environment} with --prefix"
