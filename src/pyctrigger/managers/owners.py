"""Who owns a file: asked of every package manager that the system has, for as many files as wanted at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .every import MANAGERS
from .manager import ManagerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Owner(NamedTuple):
    """A package, and who manages it."""

    manager: str
    package: str

    def __str__(self) -> str:
        return f"{self.package} ({self.manager})"


def owners_of(paths: Iterable[str], root: str | None, notice: Callable[[str], None]) -> dict[str, Owner]:
    """The owner of each of these files that has one; they may be gone. No package manager at all is no error.

    `paths` are absolute, as seen inside `root` (None: this system). A manager that can't be read is told to `notice`.
    """
    names: dict[bytes, str] = {}
    for path in paths:
        for name in _names(path, root or ""):
            names.setdefault(os.fsencode(name), path)
    found: dict[str, Owner] = {}
    for kind in MANAGERS.values() if names else ():
        manager = kind(root or "")
        if not manager.is_present:
            continue
        try:
            for listed, package in manager.owners(names.keys()).items():
                found.setdefault(names[listed], Owner(kind.name, package))
        except (ManagerError, OSError) as error:
            notice(f"{kind.name} can't be asked who owns what: {error}")
    return found


def _names(path: str, root: str) -> Iterator[str]:
    """The names that a package may know a file by: it may say `/lib`, where the tree says `/usr/lib`."""
    yield path
    if not root:
        directory, name = os.path.split(path)
        path = os.path.join(os.path.realpath(directory), name)
        yield path
    inner = path[len("/usr") :] if path.startswith("/usr/") else path
    top = "/" + inner.split("/", 2)[1]
    if os.path.islink(root + top) and os.readlink(root + top).strip("/") == f"usr{top}":
        yield inner
        yield f"/usr{inner}"
