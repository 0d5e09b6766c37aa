"""The hooks of a system: which there are for a flavour, what stands in them; put them there, take them away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PyctriggerError, RefusedError, UsageError
from ..managers.every import HOOKS, MANAGERS
from ..managers.hook import HookFile, Subject
from ..state.interpreters import ProbedInterpreters
from ..target.flavour import Flavour, installed
from ..tree.directory import open_in_root
from .outcome import path_fields
from .report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

ACTIONS = ("list", "render", "install", "uninstall")
_MOST_BYTES = 1 << 20


class HookRequest(NamedTuple):
    """One call of `pyctrigger hooks`."""

    action: str
    program: tuple[str, ...]
    """What the hooks are to start."""
    manager: str | None = None
    pythons: tuple[str, ...] = ()
    root: str | None = None
    site_dirs: tuple[str, ...] = ()
    dry_run: bool = False


class Hook(NamedTuple):
    """One hook file of a system, as it should be and as it is."""

    manager: str
    flavour: str
    file: HookFile
    state: str
    """absent, installed, or different: a file of this name that says something else."""
    done: str = ""
    """What this call did: installed, removed, or nothing."""

    def as_dict(self) -> dict[str, Any]:
        """The hook's part of the JSON object."""
        return {
            "manager": self.manager,
            "flavour": self.flavour,
            **path_fields("path", self.file.path),
            "state": self.state,
            "done": self.done,
            "text": self.file.text,
        }


class HookReport(Report):
    """What became of the hooks."""

    def __init__(self, action: str, *, dry_run: bool) -> None:
        super().__init__("hooks", dry_run=dry_run)
        self.action = action
        self.hooks: list[Hook] = []

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "action": self.action, "hooks": [hook.as_dict() for hook in self.hooks]}


def manage_hooks(request: HookRequest) -> HookReport:
    """Do what is asked for. Raises UsageError, InterpreterError, RefusedError."""
    _check(request)
    report = HookReport(request.action, dry_run=request.dry_run)
    subjects = list(_subjects(request))
    for name in [request.manager] if request.manager else _managers_of(request.root):
        for subject in subjects:
            for file in HOOKS[name](subject):
                report.hooks.append(_serve(request, Hook(name, subject.flavour, file, _state(request.root, file))))
    return report


def _check(request: HookRequest) -> None:
    if request.action != "list" and not (request.manager and request.pythons):
        raise UsageError(f"hooks {request.action} needs --manager M and --python V", mend="say for what the hook is")
    kind = MANAGERS.get(request.manager or "")
    package = kind.package_with_hooks if kind else None
    if package is not None and request.action in ("install", "uninstall"):
        verb = "install" if request.action == "install" else "remove"
        raise UsageError(
            f"{request.manager} takes hooks from packages only", mend=f"{verb} the package {package}, which has them"
        )
    if request.root is not None and not os.path.isdir(request.root):
        raise UsageError(f"--root {request.root}: no such directory", mend="name the directory of a staged root")


def _managers_of(root: str | None) -> list[str]:
    """Those that run the system, or all of them where none does."""
    present = [name for name, kind in MANAGERS.items() if kind(root or "").is_present]
    return [name for name in present or MANAGERS if MANAGERS[name].package_with_hooks is None]


def _subjects(request: HookRequest) -> Iterator[Subject]:
    seen = set()
    for text in request.pythons or [os.path.basename(path) for path in installed()]:
        try:
            flavour = _flavour(text)
        except PyctriggerError:
            if request.pythons:
                raise
            continue  # found by its name, but what it is can't be told from that
        if flavour.name in seen:
            continue
        seen.add(flavour.name)
        yield Subject(
            flavour=flavour.name,
            version=flavour.dotted,
            library=flavour.library,
            cache_tag=flavour.cache_tag,
            program=request.program,
            site_directories=request.site_dirs,
        )


def _flavour(text: str) -> Flavour:
    """By a version alone nothing is started, so that a hook looks the same wherever it is made."""
    flavour = Flavour.parse(text)
    if flavour.path is None:
        return flavour
    interpreter = ProbedInterpreters(None).ask(flavour.path)
    return Flavour(interpreter.implementation, interpreter.version[:2], interpreter.free_threaded)


def _serve(request: HookRequest, hook: Hook) -> Hook:
    if request.action == "install" and hook.state != "installed":
        if not request.dry_run:
            _write(request.root, hook.file)
        return hook._replace(done="installed")
    if request.action == "uninstall" and hook.state != "absent":
        if not request.dry_run:
            _remove(request.root, hook.file)
        return hook._replace(done="removed")
    return hook


# -- files, inside a root or not ------------------------------------------------------------------------------------


def _state(root: str | None, file: HookFile) -> str:
    try:
        directory = open_in_root(root or "/", os.path.dirname(file.path))
    except OSError:
        return "absent"
    try:
        descriptor = os.open(
            os.path.basename(file.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except FileNotFoundError:
        return "absent"
    except OSError:
        return "different"
    finally:
        os.close(directory)
    with open(descriptor, "rb") as opened:
        same = opened.read(_MOST_BYTES) == file.text.encode() and os.fstat(descriptor).st_mode & 0o777 == file.mode
    return "installed" if same else "different"


def _write(root: str | None, file: HookFile) -> None:
    """Put a hook in its place, whole or not at all: a manager may read it at any moment."""
    name = os.path.basename(file.path)
    temporary = f".{name}.{os.getpid()}.tmp"  # no manager reads a hidden file, or one that ends in .tmp
    try:
        directory = _directory(root or "/", os.path.dirname(file.path))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
            try:
                with open(descriptor, "wb") as opened:
                    opened.write(file.text.encode())
                    opened.flush()
                    os.fchmod(descriptor, file.mode)
                    os.fsync(descriptor)
                os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.unlink(temporary, dir_fd=directory)
                raise
        finally:
            os.close(directory)
    except OSError as error:
        raise _unusable(root, file, error) from error


def _remove(root: str | None, file: HookFile) -> None:
    try:
        directory = open_in_root(root or "/", os.path.dirname(file.path))
        try:
            os.unlink(os.path.basename(file.path), dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise _unusable(root, file, error) from error


def _directory(root: str, path: str) -> int:
    """A descriptor of the directory, made with those above it if need be."""
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        above = _directory(root, os.path.dirname(path))
    try:
        os.mkdir(os.path.basename(path), 0o755, dir_fd=above)
    except FileExistsError:
        pass  # another install was faster, or a dangling link stands there: opening it tells
    finally:
        os.close(above)
    return open_in_root(root, path)


def _unusable(root: str | None, file: HookFile, error: OSError) -> PyctriggerError:
    message = f"{(root or '').rstrip('/')}{file.path}: {error.strerror}"
    if isinstance(error, PermissionError):
        return RefusedError(message, mend="run as root")
    return UsageError(message, mend="mend what stands there, and run it again")
