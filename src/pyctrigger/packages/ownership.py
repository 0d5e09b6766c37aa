"""Owners of files, according to all package managers of a system."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Container, Iterable, Iterator

from ..errors import ManagerError
from ..typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .databases import Files


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


_EVERYTHING = _Everything()


class Ownership:
    """Tells whether a package owns a pyc, from the managers' databases, which are read once in a run.

    They are in `files`, or else this system's.

    If a manager's database exists but can't be read, its packages might own anything: then everything counts as owned,
    and `notice` is called with the reason.
    """

    def __init__(self, files: Files | None, notice: Callable[[str], None]) -> None:
        self._files = files
        #: Called with what keeps a database from being read.
        self.notice = notice
        self._owned: dict[str, set[str]] | None = None
        #: Whether everything counts as owned, since a database can't be read.
        self.is_unreadable = False
        self._real: dict[str, str] = {}

    def anew(self, notice: Callable[[str], None]) -> Ownership:
        """Returns a new one for the same system, which hasn't read anything yet."""
        return Ownership(self._files, notice)

    def owns(self, directory: str, name: str) -> bool:
        """Whether a package owns the file `name` in `directory`, a path as seen inside the root."""
        return name in self.owned_in(directory)

    def owned_in(self, directory: str) -> Container[str]:
        """The names of the pycs that packages own in `directory`, a path as seen inside the root."""
        if self._owned is None:
            self._owned = self._read_databases()
        if self.is_unreadable:
            return _EVERYTHING
        return self._owned.get(self._real_path(directory), ()) if self._owned else ()

    def forget(self) -> None:
        """Read the databases again next time: another transaction may have ended meanwhile."""
        self._owned, self.is_unreadable = None, False

    def _read_databases(self) -> dict[str, set[str]]:
        def report(manager: str, error: Exception) -> None:
            self.is_unreadable = True
            reason = f"since a package may own it: {error}; fix that and run it again"
            self.notice(f"nothing is removed or replaced, {reason}")

        from .databases import Files  # an idle hook never asks

        owned: dict[str, set[str]] = {}
        for _, path, _ in _find_owned(Files() if self._files is None else self._files, None, report):
            directory, name = os.path.split(os.fsdecode(path))
            owned.setdefault(self._real_path(directory), set()).add(name)
        return owned

    def _real_path(self, directory: str) -> str:
        """Returns a directory's real path: a package's list may say `/lib` where the tree says `/usr/lib`."""
        if self._files is not None and self._files.is_foreign:
            return directory
        known = self._real.get(directory)
        if known is None:
            known = self._real[directory] = os.path.realpath(directory)
        return known


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

    def report(manager: str, error: Exception) -> None:
        notice(f"{manager} can't be asked which files it owns: {error}")

    found: dict[str, Owner] = {}
    for manager, listed, package in _find_owned(files, names.keys(), report) if names else ():
        owner = found.get(names[listed])
        if owner is None or owner.manager == manager:
            found[names[listed]] = Owner(manager, package)
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


def _find_owned(
    files: Files, paths: Collection[bytes] | None, report: Callable[[str, Exception], None]
) -> Iterator[tuple[str, bytes, str]]:
    """Yields what packages own of these files, or with None all of their pycs: the manager, the path, and the package.

    A manager whose database can't be read is passed to `report`.
    """
    from .every import MANAGERS  # most runs never need it

    for name, kind in MANAGERS.items():
        manager = kind(files)
        if manager.is_present:
            try:
                for path, package in manager.find_owned(paths):
                    yield name, path, package
            except (ManagerError, OSError) as error:
                report(name, error)
