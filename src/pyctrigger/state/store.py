"""The state of an installation: its journal, manifest and magic number, or a notice that no state is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import RefusedError
from . import files
from .journal import Entry, Journal
from .locations import make_own
from .quota import Quota, StateFullError
from .records.manifest import HOOK_PATIENCE, PATIENCE, Manifest
from .records.parts import Parts

if TYPE_CHECKING:
    from .roots import Debt, RootState


_MAGIC = "magic_number"
#: Bytes. An installation's directory and its journal's.
_DIRECTORIES = 8192


class Store:
    """State below `base`. If it can't be written, everything works without it; `notice` is called when that matters.

    With `create=False` only existing state is used: for commands that only read. With `hurries` it waits only briefly
    for a database that another process has locked.
    """

    def __init__(
        self,
        base: str | None,
        notice: Callable[[str], None],
        *,
        create: bool = True,
        hurries: bool = False,
        stateless: bool = False,
        root: RootState | None = None,
    ) -> None:
        self._base = base
        self._root = root
        self._quota = Quota() if root is None else root.quota
        self._notice = notice
        self._create = create
        self._hurries = hurries
        self._untold: str | None = None
        if base is None and not stateless:
            self._untold = "no state is kept: this account has no home directory; --state-dir names another"

    @property
    def base(self) -> str | None:
        """The directory of all state, created if needed; None without state."""
        return self._make_own(self._base) if self._base is not None else None

    def tell_to(self, notice: Callable[[str], None]) -> None:
        """Send notices to another function from now on."""
        self._notice = notice

    def give_up(self, error: OSError) -> None:
        """Go on without state."""
        if self._root is not None and isinstance(error, StateFullError):
            with contextlib.suppress(OSError, RefusedError):
                self._root.forget()
            self._untold = f"{self._root.path}: {self._root.full}"
        elif self._base is not None:
            self._untold = (
                f"no state is kept: {self._base}: {error.strerror or error}; --state-dir names another directory"
            )
        self._base = None

    def tell(self) -> None:
        """Give notice, once, that work is done without state."""
        if self._untold is not None:
            self._notice(self._untold)
            self._untold = None

    def directory(self, installation: str) -> str | None:
        """Returns the directory of an installation's state, created if needed, or None without state."""
        base = self.base
        return self._make_own(os.path.join(base, installation)) if base is not None else None

    def _make_own(self, directory: str) -> str | None:
        is_there = os.path.isdir(directory)
        if not self._create and not is_there:
            return None
        try:
            if not is_there:
                self._quota.spend(_DIRECTORIES)
            return make_own(directory)
        except OSError as error:
            self.give_up(error)
            return None

    def journal(self, installation: str) -> Journal | None:
        """Returns the journal of an installation, or None without state."""
        directory = self.directory(installation)
        return Journal(directory, self._quota) if directory else None

    def debt(self, installation: str) -> Debt | None:
        """Returns the full examination that is due for an installation in a root whose state was dropped, or None."""
        if self._root is None:
            return None
        from .roots import PAID

        debt = self._root.debt
        paid = files.read(os.path.join(self._base, installation, PAID)) if debt and self._base else None
        return debt if debt is not None and paid != debt.name else None

    def pending(self, installation: str) -> list[Entry]:
        """Returns the announced work of an installation that isn't done yet, from its journal alone."""
        journal, debt = self.journal(installation), self.debt(installation)
        owed = [Entry("", debt.since, "unknown", None, {})] if debt is not None else []
        return [*owed, *(journal.entries() if journal else ())]

    def pay(self, installation: str) -> None:
        """Record that the full examination is in the journal now. Raises OSError."""
        directory = self.directory(installation)
        if directory is not None and self._root is not None and self._root.debt is not None:
            from .roots import PAID

            files.write_durably(os.path.join(directory, PAID), self._root.debt.name)

    def magic_number(self, installation: str) -> bytes | None:
        """Returns the interpreter's magic number at the last full examination of its directories, or None if unknown.

        It has a file of its own: every run reads it, and most need nothing else.
        """
        directory = self.directory(installation)
        if directory is None:
            return None
        try:
            with open(os.path.join(directory, _MAGIC), encoding="ascii") as file:
                return bytes.fromhex(file.read(64))
        except (OSError, ValueError):
            return None

    def learn_magic_number(self, installation: str, magic_number: bytes) -> None:
        """Record the magic number. Raises OSError."""
        directory = self.directory(installation)
        if directory is not None and self.magic_number(installation) != magic_number:
            files.write_text(os.path.join(directory, _MAGIC), magic_number.hex())

    def manifest(self, installation: str) -> Manifest:
        """Returns the manifest of an installation; without state, one that keeps nothing."""
        patience = HOOK_PATIENCE if self._hurries else PATIENCE
        return Manifest(self.directory(installation), patience=patience, notice=self._notice, quota=self._quota)

    def parts(self, installation: str) -> Parts:
        """Returns the records by which hooks recognise unchanged directories; empty without state."""
        return Parts(self.directory(installation), self._quota)
