"""Which pycs belong to packages: read once in a run, before the first pyc is removed or replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Container

from .files import Files, ManagerError


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


_EVERYTHING = _Everything()


class Ownership:
    """Tells whether a package owns a pyc, from the managers' databases in `files`.

    If a manager's database exists but can't be read, its packages might own anything: then everything counts as owned,
    and `notice` is called with the reason.
    """

    def __init__(self, files: Files, notice: Callable[[str], None]) -> None:
        self._files = files
        self._notice = notice
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
        from .every import MANAGERS  # most runs never need it

        owned: dict[str, set[str]] = {}
        for kind in MANAGERS.values():
            manager = kind(self._files)
            if not manager.is_present:
                continue
            try:
                for path in self._files.owned_pycs(manager):
                    directory, name = os.path.split(os.fsdecode(path))
                    owned.setdefault(self._real_path(directory), set()).add(name)
            except (ManagerError, OSError) as error:
                self.is_unreadable = True
                self._notice(
                    f"nothing is removed or replaced, since a package may own it: {error}; fix that and run it again"
                )
        return owned

    def _real_path(self, directory: str) -> str:
        """Returns a directory's real path: a package's list may say `/lib` where the tree says `/usr/lib`."""
        if self._files.is_foreign:
            return directory
        known = self._real.get(directory)
        if known is None:
            known = self._real[directory] = os.path.realpath(directory)
        return known
