"""Owners of files, according to all package managers of the system, for any number of files at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .every import MANAGERS
from .files import Files, ManagerError


class Owner(NamedTuple):
    """A package and its manager."""

    manager: str
    package: str

    def __str__(self) -> str:
        return f"{self.package} ({self.manager})"


def owners_of(paths: Iterable[str], files: Files, notice: Callable[[str], None]) -> dict[str, Owner]:
    """Returns the owner of each of these files that has one. The files may be gone, and there may be no manager.

    `paths` are absolute, as seen inside the root of `files`. A manager whose database can't be read is reported to
    `notice`.
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
            notice(f"{kind.name} can't be asked for owners: {error}")
    return found


def _names(path: str, files: Files) -> Iterator[str]:
    """Yields the paths that a package's list may have for a file: `/lib` may be a link to `/usr/lib`."""
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
