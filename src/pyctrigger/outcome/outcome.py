"""What became of a file: values, not exceptions, and a tally that adds them up."""

from __future__ import annotations

import os
from typing import Any

from ..tuples import NamedTuple

#: The kinds that are facts about the source and so worth remembering; all others are facts about the moment.
LASTING_KINDS = frozenset({"syntax", "encoding", "recursion", "unmarshallable"})


class Failure(NamedTuple):
    """Work on one file that could not be done."""

    path: str
    kind: str
    """syntax, encoding, recursion, memory, timeout, crash, unmarshallable, io, refused."""
    message: str
    """Reason and, where it is known, line; never a word of the source."""
    is_remembered: bool = False
    """Only another source, interpreter or limit, or a repair, would make a difference."""
    needs_root: bool = False
    """A place that this account may not write, and root may; reported once for all that lies below."""


class Untried:
    """Sources that weren't tried for want of time: the first one, and how many there are."""

    def __init__(self) -> None:
        self._first = ""
        self.count = 0

    def add(self, path: str) -> None:
        """One more."""
        self._first = self._first or path
        self.count += 1

    def failure(self) -> Failure:
        """What names them all, once."""
        others = f", like {self.count - 1} others" if self.count > 1 else ""
        return Failure(self._first, "timeout", f"not tried{others}: slow sources have used up their time")


class Finding(NamedTuple):
    """Something that isn't as it should be, found by looking only."""

    kind: str
    """missing, stale, corrupt, mismatched, orphan, residue, obstructed, foreign-magic, unreadable, unwanted,
    uncompilable.
    """
    pyc: str | None
    source: str | None
    known: bool = False
    """Announced before, or nobody's fault, and so no reason for an exit status of 1."""
    reason: str | None = None
    """Why, in a sentence."""


class Link(NamedTuple):
    """A link to a directory with sources, which aren't compiled through it."""

    path: str
    leads_to: str


class Action(NamedTuple):
    """Something that `--dry-run` would do."""

    action: str
    """compile, remove, remove-directory, chmod."""
    path: str
    reason: str
    levels: tuple[int, ...] = ()


class Counts:
    """The numbers of the contract: sources, except `removed` and `removed_directories`."""

    FIELDS = ("compiled", "refreshed", "fresh", "failed", "skipped", "removed", "removed_directories")
    __slots__ = FIELDS

    def __init__(self) -> None:
        self.compiled = self.refreshed = self.fresh = self.failed = self.skipped = 0
        self.removed = self.removed_directories = 0

    def add(self, other: Counts) -> None:
        """Add another tally's numbers."""
        for field in self.FIELDS:
            setattr(self, field, getattr(self, field) + getattr(other, field))

    @property
    def changes(self) -> int:
        """How much was changed or failed: 0 if all was as it should be."""
        return self.compiled + self.refreshed + self.failed + self.removed + self.removed_directories

    def as_dict(self) -> dict[str, int]:
        """The numbers by name."""
        return {field: getattr(self, field) for field in self.FIELDS}


class Tally:
    """Everything that became of a flavour's files. Tallies add up."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.failures: list[Failure] = []
        self.findings: list[Finding] = []
        self.actions: list[Action] = []
        self.unexamined: list[Failure] = []
        #: Told once for each, and no failure.
        self.links: list[Link] = []
        #: Lines that a person should read, such as a read-only tree; no fault of a file's.
        self.notices: list[str] = []
        #: Whether something that needs work lies on a file system that is mounted read-only.
        self.left_read_only = False
        #: Whether a file system turned read-only under the work, or took none: it is done when it can be written again.
        self.is_interrupted = False

    def fail(self, failure: Failure) -> None:
        """Count a source that failed."""
        self.counts.failed += 1
        self.failures.append(failure)

    def add(self, other: Tally) -> None:
        """Add another tally."""
        self.counts.add(other.counts)
        for name in ("failures", "findings", "actions", "unexamined", "links", "notices"):
            getattr(self, name).extend(getattr(other, name))
        self.left_read_only |= other.left_read_only
        self.is_interrupted |= other.is_interrupted

    @property
    def left_something(self) -> bool:
        """Whether anything isn't as it should be, for whatever reason."""
        return bool(self.failures or self.findings or self.unexamined or self.notices or self.counts.skipped)

    @property
    def exit_code(self) -> int:
        """0 done, 1 some file failed or was found wanting, 3 not everything could be examined."""
        if self.unexamined:
            return 3
        return 1 if self.failures or any(not finding.known for finding in self.findings) else 0


def path_fields(name: str, path: str | None) -> dict[str, Any]:
    """A path for JSON: as text, and where its bytes are no UTF-8, U+FFFD in their place and `<name>_hex` beside it."""
    if path is None:
        return {name: None}
    data = os.fsencode(path)
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "replace"), f"{name}_hex": data.hex()}
