"""Who owns a file: asked of every package manager that the system has, for as many files as wanted at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .every import MANAGERS
from .files import ManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .files import Files


class Owner(NamedTuple):
    """A package, and who manages it."""

    manager: str
    package: str

    def __str__(self) -> str:
        return f"{self.package} ({self.manager})"


def owners_of(paths: Iterable[str], files: Files, notice: Callable[[str], None]) -> dict[str, Owner]:
    """The owner of each of these files that has one; they may be gone. No package manager at all is no error.

    `paths` are absolute, as seen inside the root that `files` are of. A manager that can't be read is told to `notice`.
    """
    names: dict[bytes, str] = {}
    for path in paths:
        for name in _names(path, files):
            names.setdefault(os.fsencode(name), path)
    found: dict[str, Owner] = {}
    for kind in MANAGERS.values() if names else ():
        manager = kind(files)
        if not manager.is_present:
            continue
        try:
            for listed, package in files.owners(manager, names.keys()).items():
                found.setdefault(names[listed], Owner(kind.name, package))
        except (ManagerError, OSError) as error:
            notice(f"{kind.name} can't be asked who owns what: {error}")
    return found


def _names(path: str, files: Files) -> Iterator[str]:
    """The names that a package may know a file by: it may say `/lib`, where the tree says `/usr/lib`."""
    yield path
    if not files.is_foreign:
        directory, name = os.path.split(path)
        path = os.path.join(os.path.realpath(directory), name)
        yield path
    inner = path[len("/usr") :] if path.startswith("/usr/") else path
    top = "/" + inner.split("/", 2)[1]
    if (files.link(top) or "").strip("/") == f"usr{top}":
        yield inner
        yield f"/usr{inner}"
