"""The state of an installation: its journal, manifest and magic number, or a notice that no state is kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from ..errors import RefusedError
from ..typed import TYPE_CHECKING, Any, NamedTuple
from . import own_files
from .journal import Entry, Journal
from .locations import make_own

if TYPE_CHECKING:
    from .records.manifest import Manifest
    from .records.parts import Parts
    from .roots import RootState


_MAGIC = "magic_number"
_ENVIRONMENT = "environment.json"
#: Bytes. An installation's directory and its journal's.
_DIRECTORIES = 8192


class KnownEnvironment(NamedTuple):
    """An environment that has state here, since a run has worked on it."""

    installation: str
    prefix: str
    """Its real path."""
    executable: str
    """The interpreter that was last used for it, its own or another one."""


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
        self._quota = None if root is None else root.quota
        self._notice = notice
        self._create = create
        self._hurries = hurries
        self._unsaid: str | None = None
        if base is None and not stateless:
            self._unsaid = "no state is kept: this account has no home directory; --state-dir names another"

    @property
    def base(self) -> str | None:
        """The directory of all state, created if needed; None without state."""
        return self._make_own(self._base) if self._base is not None else None

    def send_notices_to(self, notice: Callable[[str], None]) -> None:
        """Send notices to another function from now on."""
        self._notice = notice

    def give_up(self, error: OSError) -> None:
        """Go on without state."""
        if self._root is not None and _is_over_quota(error):
            with contextlib.suppress(OSError, RefusedError):
                self._root.forget()
            self._unsaid = f"{self._root.path}: {self._root.full}"
        elif self._base is not None:
            self._unsaid = (
                f"no state is kept: {self._base}: {error.strerror or error}; --state-dir names another directory"
            )
        self._base = None

    def give_notice(self) -> None:
        """Give notice, once, that work is done without state."""
        if self._unsaid is not None:
            self._notice(self._unsaid)
            self._unsaid = None

    def directory(self, installation: str) -> str | None:
        """Returns the directory of an installation's state, created if needed, or None without state."""
        base = self.base
        return self._make_own(os.path.join(base, installation)) if base is not None else None

    def _make_own(self, directory: str) -> str | None:
        is_there = os.path.isdir(directory)
        if not self._create and not is_there:
            return None
        try:
            if not is_there and self._quota is not None:
                self._quota.spend(_DIRECTORIES)
            return make_own(directory)
        except OSError as error:
            self.give_up(error)
            return None

    def journal(self, installation: str) -> Journal:
        """Returns the journal of an installation; without state, one that keeps nothing."""
        return Journal(self.directory(installation), self._quota)

    def examination_due(self, installation: str) -> float | None:
        """Returns since when an installation in a root whose state was dropped has to be examined, or None."""
        if self._root is None or self._root.dropped is None:
            return None
        return None if self._base is not None and self._root.was_examined(installation) else self._root.dropped

    def pending(self, installation: str) -> list[Entry]:
        """Returns the announced work of an installation that isn't done yet, from its journal alone."""
        due = self.examination_due(installation)
        entries = [] if due is None else [Entry("", due, "unknown", None, {})]
        return [*entries, *self.journal(installation).entries()]

    def announce_examination(self, installation: str, options: dict[str, Any]) -> None:
        """Write a full examination that is due into the journal. Raises OSError."""
        due, directory = self.examination_due(installation), self.directory(installation)
        if due is not None and directory is not None:
            from .roots import EXAMINED

            self.journal(installation).write("unknown", None, options)
            own_files.write_durably(os.path.join(directory, EXAMINED), due)

    def magic_number(self, installation: str) -> bytes | None:
        """Returns the interpreter's magic number at the last full examination of its directories, or None if unknown.

        It has a file of its own: every run reads it, and most need nothing else.
        """
        directory = self.directory(installation)
        if directory is None:
            return None
        try:
            with open(os.path.join(directory, _MAGIC), encoding="utf-8") as file:
                return bytes.fromhex(file.read(64))
        except (OSError, ValueError):
            return None

    def learn_magic_number(self, installation: str, magic_number: bytes) -> None:
        """Record the magic number. Raises OSError."""
        directory = self.directory(installation)
        if directory is not None and self.magic_number(installation) != magic_number:
            own_files.write_bytes(os.path.join(directory, _MAGIC), magic_number.hex().encode())

    def note_environment(self, installation: str, prefix: str, executable: str) -> None:
        """Record which environment an installation is: when it is gone, nobody can ask it. Raises OSError."""
        directory = self.directory(installation)
        if directory is not None:
            path, value = os.path.join(directory, _ENVIRONMENT), {"prefix": prefix, "executable": executable}
            if own_files.read(path) != value:
                own_files.write_durably(path, value)

    def environments(self) -> Iterator[KnownEnvironment]:
        """Yields all environments that have state here."""
        base = self.base
        if base is None:
            return
        for name in sorted(os.listdir(base)):
            stored = own_files.read(os.path.join(base, name, _ENVIRONMENT))
            with contextlib.suppress(KeyError, TypeError):
                yield KnownEnvironment(name, os.fspath(stored["prefix"]), os.fspath(stored["executable"]))

    def manifest(self, installation: str) -> Manifest:
        """Returns the manifest of an installation; without state, one that keeps nothing."""
        from .records.manifest import HOOK_PATIENCE, PATIENCE, Manifest  # a hook that touches nothing needs none

        patience = HOOK_PATIENCE if self._hurries else PATIENCE
        return Manifest(self.directory(installation), patience=patience, notice=self._notice, quota=self._quota)

    def parts(self, installation: str) -> Parts:
        """Returns the records by which hooks recognise unchanged directories; empty without state."""
        from .records.parts import Parts

        return Parts(self.directory(installation), self._quota)


def _is_over_quota(error: OSError) -> bool:
    from .quota import StateFullError  # only a root's state has one

    return isinstance(error, StateFullError)
