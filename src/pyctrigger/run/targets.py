"""Which interpreters a request means, and the trees that are in each one's scope."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InterpreterError, PyctriggerError, RefusedError, UsageError
from ..target.flavour import Flavour, installed
from ..target.scope import SiteDirectory, site_directories
from ..tree.directory import Tree, open_in_root
from ..tree.layout import Layout
from .staged import staged_interpreter, staged_site_directories
from .transaction import Touched, touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..state.interpreters import ProbedInterpreters
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
    def dotted(self) -> str:
        """The name in the configuration's `[flavours."3.11"]`."""
        stem = "" if self.interpreter.implementation == "cpython" else self.interpreter.implementation
        major, minor, _ = self.interpreter.version
        return f"{stem}{major}.{minor}{'t' if self.interpreter.free_threaded else ''}"

    def touched(self, request: Request, paths: tuple[str, ...] | None = None) -> Touched:
        """What the request's paths (or `paths`) mean in this scope."""
        return touched(
            request.paths if paths is None else paths,
            [site.path for site in self.sites],
            manager=request.manager,
            staged=request.root is not None,
        )


def find_interpreters(
    request: Request, settings: Settings, probed: ProbedInterpreters
) -> Iterator[Interpreter | PyctriggerError]:
    """Every interpreter that the request means, once; in the place of one that can't be used, the error."""
    if request.pythons:
        for text in request.pythons:
            yield _answer(lambda text=text: find_interpreter(text, request, settings, probed))  # type: ignore[misc]
        return
    if request.prefixes:
        for prefix in request.prefixes:
            yield _answer(lambda prefix=prefix: _of_environment(prefix, probed))  # type: ignore[misc]
        return
    seen = set()
    for path in installed():
        found = _answer(lambda path=path: _ask_installed(path, request, probed))  # type: ignore[misc]
        if isinstance(found, PyctriggerError):
            yield found
        elif found.installation not in seen:
            seen.add(found.installation)
            yield found
    if not seen:
        yield InterpreterError("no interpreter was found", mend="name one with --python PATH")


def _answer(ask: Callable[[], Interpreter]) -> Interpreter | PyctriggerError:
    try:
        return ask()
    except (InterpreterError, RefusedError, UsageError) as error:
        return error


def find_interpreter(text: str, request: Request, settings: Settings, probed: ProbedInterpreters) -> Interpreter:
    """The interpreter behind one `--python`. Raises UsageError, InterpreterError and RefusedError."""
    flavour = Flavour.parse(text)
    if request.root is not None:
        return staged_interpreter(flavour, request.root, probed, execute=request.trust_root)
    configured = settings.flavours.get(flavour.dotted) if flavour.path is None else None
    candidates = flavour.candidates(configured.executable if configured else None)
    if not candidates:
        raise InterpreterError(
            f"no {flavour.name} was found in the standard directories", mend="name it with --python PATH"
        )
    problem: PyctriggerError | None = None
    for path in candidates:
        try:
            interpreter = probed.ask(path)
            flavour.require(interpreter)
            return interpreter
        except (InterpreterError, RefusedError) as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _ask_installed(path: str, request: Request, probed: ProbedInterpreters) -> Interpreter:
    if request.root is not None:
        interpreter = probed.ask(path)
        flavour = Flavour(interpreter.implementation, interpreter.version[:2], interpreter.free_threaded)
        return staged_interpreter(flavour, request.root, probed, execute=request.trust_root)
    return probed.ask(path)


def _of_environment(prefix: str, probed: ProbedInterpreters) -> Interpreter:
    directory = os.path.join(os.path.abspath(prefix), "bin")
    for name in ("python", "python3", "pypy3"):
        path = os.path.join(directory, name)
        if os.path.isfile(path):
            return probed.ask(path)
    raise UsageError(f"--prefix {prefix}: no interpreter in its bin", mend="name one with --python PATH")


def find_target(interpreter: Interpreter, request: Request, settings: Settings) -> Target:
    """The scope of an interpreter under a request. Raises UsageError."""
    root = _identity(request.root) if request.root is not None else None
    bare = Target(interpreter, (), root)
    if request.root is not None and not (request.site_dirs or request.prefixes):
        return bare._replace(sites=tuple(staged_site_directories(interpreter, request.root, stdlib=request.stdlib)))
    site_dirs = request.site_dirs
    configured = settings.flavours.get(bare.dotted)
    if not site_dirs and not request.prefixes and configured and configured.site_dirs:
        # What the configuration names may come and go with packages; what a person names has to exist.
        site_dirs = tuple(path for path in configured.site_dirs if _locate(request.root, path))
    sites = site_directories(
        interpreter,
        lambda path: _locate(request.root, path),
        site_dirs=site_dirs,
        prefixes=request.prefixes,
        stdlib=request.stdlib,
    )
    return bare._replace(sites=tuple(sites))


def _identity(root: str) -> tuple[int, int]:
    found = _locate(None, root)
    if found is None:
        raise UsageError(f"--root {root}: no such directory", mend="name the directory of a staged root")
    return found


def _locate(root: str | None, path: str) -> tuple[int, int] | None:
    try:
        if root is None:
            status = os.stat(path)
            return (status.st_dev, status.st_ino) if os.path.isdir(path) else None
        descriptor = open_in_root(root, path)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(descriptor)
        return status.st_dev, status.st_ino
    finally:
        os.close(descriptor)


def open_layout(site: SiteDirectory, request: Request) -> Layout:
    """Open a site directory, and the tree of its pycs if that is elsewhere. Raises OSError."""
    sources = Tree.open(site.path, request.root)
    try:
        if request.pycache_prefix is None:
            return Layout(sources)
        return Layout(sources, Tree.open(request.pycache_prefix, request.root))
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
