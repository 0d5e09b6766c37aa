"""The hooks that a system has, whoever put them there: which fire, for which Pythons, and where two fire for one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ...errors import ManagerError
from ...interpreter.flavour import Flavour, installed
from ...outcome.outcome import path_fields
from ...packages.every import HOOK_PLACES, MANAGERS
from ...packages.ownership import owners_of
from ..scope.root_files import files_of
from .hook_directory import HookDirectory
from .subjects import is_first_of_version

#: After the option in a command, or as the variable of pkg's Lua.
_PYTHON = re.compile(rb"""(?:--python[ \t]+|\blocal python = )(?:'(?P<a>[^'\n]+)'|"(?P<b>[^"\n]+)"|(?P<c>[^\s'"]+))""")
_NAMED = re.compile(r"(?:py|pypy)3[0-9]+t?(?=[.-]|\Z)", re.ASCII)
#: pacman has a file for each kind of change.
_KIND = re.compile(r"-(install|upgrade|remove)\.hook\Z")
#: Names in a directory of hooks, and bytes of their files together: somebody else's root may have millions.
_MOST_NAMES = 10_000
_MOST_BYTES = 64 << 20


class SystemHook(NamedTuple):
    """One hook of a system."""

    manager: str
    path: str
    """Its file, as seen inside the root; for a trigger in a package's metadata, the database."""
    package: str | None
    """The package that owns it. None: it was made by hand, or by `hooks install`."""
    pythons: tuple[str, ...]
    """The flavours, or paths of interpreters, that it is for. Empty: every one that is found."""
    masked_by: str | None = None
    """The file that the manager uses instead."""

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        return "hand" if self.package is None else f"package {self.package}"

    @property
    def group(self) -> tuple[str, str]:
        """Identifies a hook that consists of several files: a package's, or those made for one flavour."""
        stem = _KIND.sub("", os.path.basename(self.path))
        return self.manager, stem if self.package is None else self.origin

    def serves(self, python: str, executable: str | None = None) -> bool:
        """Whether it fires for a flavour or the path of an interpreter, or for that executable of the flavour."""
        return self.masked_by is None and self.is_for(python, executable)

    def is_for(self, python: str, executable: str | None = None) -> bool:
        """Whether it was made for it, even if another one masks it."""
        if not self.pythons:
            return "/" not in python or python in installed()  # every Python that is found, and no other
        return python in self.pythons or (executable is not None and executable in self.pythons)

    def does_work_of(self, path: str, python: str) -> bool:
        """Whether it does the work of a hook in that file, of the same manager, for a flavour or an interpreter."""
        own, other = _KIND.search(self.path), _KIND.search(path)
        return self.serves(python) and (own is None or (other is not None and own[1] == other[1]))

    def as_dict(self) -> dict[str, Any]:
        """The hook's part of the JSON object."""
        return {
            "manager": self.manager,
            **path_fields("path", self.path),
            "package": self.package,
            "pythons": list(self.pythons),
            "masked_by": self.masked_by,
        }


def is_ours(content: bytes) -> bool:
    """Whether a text calls pyctrigger as a hook does."""
    return b"pyctrigger" in content and b"--hook" in content


def system_hooks(root: str | None, notice: Callable[[str], None]) -> list[SystemHook]:
    """Returns all hooks of a system: files, and triggers of packages. `notice` gets what can't be read."""
    found = [hook for name in HOOK_PLACES for hook in _in_files(name, root, notice)]
    owners = owners_of([hook.path for hook in found], files_of(root), notice)
    found = [hook._replace(package=owners[hook.path].package) if hook.path in owners else hook for hook in found]
    for name, kind in MANAGERS.items():
        manager = kind(files_of(root))
        try:
            trigger = manager.package_trigger() if manager.is_present else None
        except (ManagerError, OSError) as error:
            notice(f"{name} can't list the triggers of the package pyctrigger: {error}")
            continue
        if trigger is not None:
            path, pythons = trigger
            found.append(SystemHook(name, path, "pyctrigger", tuple(map(_label, pythons))))
    return found


def rivals(hooks: Sequence[SystemHook], *, python: str | None = None) -> Iterator[tuple[SystemHook, SystemHook]]:
    """Yields pairs of hooks that fire for the same manager and Python. One made by hand comes second.

    `python` asks for this flavour alone.
    """
    known = sorted((hook for hook in hooks if hook.manager != "sh"), key=lambda hook: hook.package is None)
    seen = set()
    for number, first in enumerate(known):
        for second in known[number + 1 :]:
            if first.manager != second.manager or first.group == second.group:
                continue
            flavours = [python] if python is not None else [*first.pythons, *second.pythons, "every"]
            both = any(first.serves(flavour) and second.serves(flavour) for flavour in flavours)
            if both and (first.group, second.group) not in seen:
                seen.add((first.group, second.group))
                yield first, second


def _in_files(manager: str, root: str | None, notice: Callable[[str], None]) -> Iterator[SystemHook]:
    """Yields the hook files of one manager. A file masks one of the same name in a later directory."""
    places = HOOK_PLACES[manager]
    masking: dict[str, str] = {}
    for path in places.directories:
        directory, left = HookDirectory(root, path), _MOST_BYTES
        names = directory.names(_MOST_NAMES + 1)
        if len(names) > _MOST_NAMES:
            notice(f"{path}: more than {_MOST_NAMES} files; the others are ignored")
        for name in filter(places.pattern.match, names[:_MOST_NAMES]):
            if left <= 0:
                notice(f"{path}: more than {_MOST_BYTES >> 20} MiB: {name} and what follows is ignored")
                break
            entry = directory.look(name)
            left -= len(entry.content)
            if places.is_program and not entry.mode & 0o111:
                continue
            file = os.path.join(path, name)
            if is_ours(entry.content):
                yield SystemHook(manager, file, None, _pythons(name, entry.content), masking.get(name))
            masking.setdefault(name, file)


def _pythons(name: str, content: bytes) -> tuple[str, ...]:
    """Returns what a hook is for: paths of interpreters that it calls, or else the flavour in its name or calls."""
    called = _distinct(_label(os.fsdecode(match[match.lastgroup or 0])) for match in _PYTHON.finditer(content))
    match = _NAMED.search(name)
    if match is None:
        return called
    flavour = Flavour.parse(match.group())
    others = [python for python in called if "/" in python and not is_first_of_version(python, flavour)]
    return tuple(others) or (match.group(),)


def _label(python: str) -> str:
    """Returns a flavour's short name. A path, or anything else after `--python`, is returned unchanged."""
    flavour = Flavour.of_version(python)
    return python if flavour is None else flavour.name


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
