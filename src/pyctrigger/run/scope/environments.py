"""Which environments a request means: those that it names, those that its paths lie in, those below a directory."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial

from ...errors import PyctriggerError, UnexaminedError, UsageError, hint_for_place
from ...interpreter.flavour import Flavour
from ...interpreter.interpreter import environment_of
from ...outcome.observer import Observer
from ...stamps import inode_of
from ...tree.directory import open_in_root, status_in_root
from ...tree.opened import is_confined, open_name
from .places import lies_in, real_name, real_prefix
from .request import Request, Scope, Work

#: What makes a directory an environment: the file of PEP 405, and the directory with records of conda's packages.
_MARKS = {"pyvenv.cfg": stat.S_ISREG, "conda-meta": stat.S_ISDIR}
#: What a shell says in which an environment is active, the innermost first.
_VARIABLES = ("VIRTUAL_ENV", "CONDA_PREFIX")
#: Verbs that serve the whole scope of the environment that is active. Whose bytecode is to be purged has to be said.
_SERVING = frozenset({Work.RUN, Work.REPAIR, Work.VERIFY, Work.SWEEP, Work.STATUS})
#: No environment is kept in them; they are large, or somebody else's.
_NEVER_ENTERED = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "node_modules", ".git", ".hg", ".svn", "lost+found"}
)
#: File systems of the kernel's own, and not of files.
_PSEUDO = ("/proc", "/sys", "/dev")
#: Directories that are looked at below one that is named.
_MOST_DIRECTORIES = 1_000_000
_DEEPEST = 40
#: Directories that are named, of those that couldn't be looked at.
_FEW = 3
#: It went, is another thing now, or is mounted below a root.
_NOT_ENTERED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def divide(request: Request, notice: Callable[[str], None], errors: list[PyctriggerError]) -> list[Request]:
    """One request for each environment that is meant, and one for the paths that lie in none."""
    scope = request.scope
    if not (scope.prefixes or scope.prefixes_below):
        return list(_by_paths(request))
    named: list[tuple[str, tuple[str, ...]]] = [(prefix, ()) for prefix in scope.prefixes]
    for directory in scope.prefixes_below:
        named += [(prefix, (directory,)) for prefix in _search(directory, scope.root, notice, errors)]
    parts: dict[str, Request] = {}  # each environment once, by its first name
    for prefix, below in named:
        part = request._replace(scope=scope._replace(prefixes=(prefix,), prefixes_below=below))
        parts.setdefault(real_prefix(scope.root, prefix), part)
    return _with_site_dirs(request, list(parts.values())) if scope.site_dirs else list(parts.values())


def with_active(request: Request, variables: Mapping[str, str], observer: Observer) -> Request:
    """The request about the environment that is active, if it is a person's that says nothing about its scope."""
    scope = request.scope
    has_scope = scope.pythons or scope.root or scope.site_dirs or scope.prefixes or scope.prefixes_below
    if request.running.hook or has_scope or request.transaction.paths is not None or request.work not in _SERVING:
        return request
    for name in _VARIABLES:
        if not variables.get(name):
            continue
        prefix = os.path.abspath(variables[name])
        if _is_environment(prefix, None):
            observer.remark(f"using the active environment {prefix}; pass --python to use the system's")
            return request._replace(scope=scope._replace(prefixes=(prefix,)))
        reason = "isn't an environment" if os.path.isdir(prefix) else "isn't there"
        observer.notice(f"{name} is ignored: {prefix} {reason}")
    return request


def _with_site_dirs(request: Request, parts: list[Request]) -> list[Request]:
    """The parts in which a named site directory lies, each with its own. Raises UsageError if it lies in none."""
    inside = {
        part: tuple(
            path for path in request.scope.site_dirs if lies_in(request.scope.root, path, part.scope.prefixes[0])
        )
        for part in parts
    }
    stray = [path for path in request.scope.site_dirs if parts and not any(path in own for own in inside.values())]
    if stray:
        prefixes = ", ".join(part.scope.prefixes[0] for part in parts[:_FEW])
        raise UsageError(f"--site-dir {stray[0]}: outside of --prefix {prefixes}", hint="leave one of them out")
    return [part._replace(scope=part.scope._replace(site_dirs=own)) for part, own in inside.items() if own]


# -- paths -----------------------------------------------------------------------------------------------------------


def _by_paths(request: Request) -> Iterator[Request]:
    """The paths of each environment by themselves, under the name that the first of them has for it."""
    environments = None if _is_bound(request.scope.pythons) else _Environments(request.scope)
    groups: dict[str, tuple[str, list[str]]] = {}
    others = []
    for path in request.transaction.paths or ():
        prefix = environments.find(path) if environments else None
        if prefix is None:
            others.append(path)
        else:
            groups.setdefault(real_prefix(request.scope.root, prefix), (prefix, []))[1].append(path)
    if any(others) or not groups:
        yield request.about(tuple(others))
    for prefix, paths in groups.values():
        yield request.about(tuple(paths)).within(prefix)


def _is_bound(pythons: Iterable[str]) -> bool:
    """Whether an interpreter is named that is an environment's own: then no path leads to another environment."""
    named = [path for text in pythons if "/" in text and (path := Flavour.parse(text).path)]
    return any(environment_of(path) for path in named)


class _Environments:
    """Finds the nearest environment above a path, for thousands of paths."""

    def __init__(self, scope: Scope) -> None:
        self._root = scope.root
        self._pycache_prefix = (scope.pycache_prefix or "").rstrip("/")
        self._known: dict[str, str | None] = {"/": None}
        self._real_name = lru_cache(maxsize=None)(partial(real_name, scope.root))

    def find(self, path: str) -> str | None:
        """The environment that a path lies in, or is: by the name that was given, else by what its links lead to."""
        if not path or "\0" in path:
            return None
        path = os.path.normpath(path)
        if self._pycache_prefix and path.startswith(f"{self._pycache_prefix}/"):
            path = path[len(self._pycache_prefix) :]  # a pyc belongs where its source is
        return self._above(path) or self._above(self._real_name(os.path.dirname(path)))

    def _above(self, path: str) -> str | None:
        """The nearest directory that is an environment, from a path on and up."""
        path = f"/{path.lstrip('/')}"
        passed = []
        while path not in self._known:
            passed.append(path)
            if _is_environment(path, self._root):
                self._known[path] = path
            else:
                path = os.path.dirname(path)
        self._known.update(dict.fromkeys(passed, self._known[path]))
        return self._known[path]


def _is_environment(path: str, root: str | None) -> bool:
    for mark, is_kind in _MARKS.items():
        inside = os.path.join(path, mark)
        with contextlib.suppress(OSError, ValueError):
            if is_kind((os.stat(inside) if root is None else status_in_root(root, inside)).st_mode):
                return True
    return False


# -- below a directory -----------------------------------------------------------------------------------------------


def _search(
    directory: str, root: str | None, notice: Callable[[str], None], errors: list[PyctriggerError]
) -> list[str]:
    """The environments below a directory, sorted; what keeps some of them from being found is an error."""
    search = _Search(directory, root)
    try:
        found = sorted(search.run())
    except OSError as error:
        hint = hint_for_place(error, "name a directory that exists")
        errors.append(UsageError(f"--prefix-below {directory}: {error.strerror}", hint=hint))
        return []
    for path in search.without_python:
        notice(f"{path} is a conda environment without a Python: there is nothing to do")
    if search.unexamined:
        first, more = "; ".join(search.unexamined[:_FEW]), len(search.unexamined) - _FEW
        rest = f"; and {more} more" if more > 0 else ""
        message = f"--prefix-below {directory}: not everything could be looked at: {first}{rest}"
        errors.append(UnexaminedError(message, hint="run it as an account that may, or name directories inside"))
    if not found:
        errors.append(UsageError(f"--prefix-below {directory}: no environment below it", hint="name another directory"))
    return found


class _Search:
    """Goes down from a directory, by descriptors, through no link, and not into the environments that it finds."""

    def __init__(self, directory: str, root: str | None) -> None:
        self._top = directory
        self._root = root
        self._seen: set[tuple[int, int]] = set()
        self._pseudo = {os.stat(path).st_dev for path in _PSEUDO if os.path.ismount(path)}
        #: Environments of conda's for other languages.
        self.without_python: list[str] = []
        #: What couldn't be looked at, with the reason.
        self.unexamined: list[str] = []

    def run(self) -> Iterator[str]:
        """Every environment. Raises OSError where the directory can't be opened."""
        if self._root is None:
            descriptor = os.open(self._top, _DIRECTORY & ~os.O_NOFOLLOW)
        else:
            descriptor = open_in_root(self._root, self._top)
        try:
            yield from self._look_into(descriptor, self._top, 0)
        finally:
            os.close(descriptor)

    def _look_into(self, directory: int, path: str, depth: int) -> Iterator[str]:
        if self._is_enough(directory, path, depth):
            return
        try:
            with os.scandir(directory) as entries:
                kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError as error:
            self.unexamined.append(f"{path}: {error.strerror}")
            return
        below = {name for name, is_directory in kinds.items() if is_directory} - _NEVER_ENTERED
        if kinds.get("pyvenv.cfg") is False:
            yield path
            return
        if kinds.get("conda-meta"):
            if _has_python(directory):
                yield path
            else:
                self.without_python.append(path)
            below &= {"envs"}  # its home of the others
        for name in sorted(below):
            inside = os.path.join(path, name)
            try:
                descriptor = open_name(name, _DIRECTORY, directory, is_confined(self._root))
            except OSError as error:
                if error.errno not in _NOT_ENTERED:
                    self.unexamined.append(f"{inside}: {error.strerror}")
                continue
            try:
                yield from self._look_into(descriptor, inside, depth + 1)
            finally:
                os.close(descriptor)

    def _is_enough(self, directory: int, path: str, depth: int) -> bool:
        """Whether nothing is to be looked for here: seen before, by a mount of the same; the kernel's own; too deep."""
        status = os.fstat(directory)
        identity = inode_of(status)
        if identity in self._seen or status.st_dev in self._pseudo:
            return True
        self._seen.add(identity)
        if len(self._seen) == _MOST_DIRECTORIES:
            self.unexamined.append(f"{path} and what follows: there are more than {_MOST_DIRECTORIES} directories")
        if depth == _DEEPEST:
            self.unexamined.append(f"{path}: more than {_DEEPEST} directories down")
        return len(self._seen) >= _MOST_DIRECTORIES or depth >= _DEEPEST


def _has_python(directory: int) -> bool:
    for name in ("python", "python3", "pypy3"):
        with contextlib.suppress(OSError):
            os.stat(f"bin/{name}", dir_fd=directory, follow_symlinks=False)
            return True
    return False
