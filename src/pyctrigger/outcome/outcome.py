"""Results for files, as values instead of exceptions, and a tally that adds them up."""

from __future__ import annotations

import os

from ..typed import Any, NamedTuple

#: Kinds that are facts about the source, and so are remembered; all others are temporary.
LASTING_KINDS = frozenset({"syntax", "encoding", "recursion", "unmarshallable"})


class Failure(NamedTuple):
    """Work on one file that could not be done."""

    path: str
    kind: str
    """syntax, encoding, recursion, memory, timeout, crash, unmarshallable, io, refused."""
    message: str
    """The reason and, if known, the line; never text of the source."""
    is_remembered: bool = False
    """Only another source, interpreter or limit, or a repair, could change the result."""
    needs_root: bool = False
    """A place that this account may not write, and root may; reported once for all that lies below."""
    has_remedy: bool = False
    """The message says as well what to do."""


class Untried:
    """Sources that weren't tried for lack of time: the first one, and their number."""

    def __init__(self) -> None:
        self._first = ""
        self.count = 0

    def add(self, path: str) -> None:
        """Count one more."""
        self._first = self._first or path
        self.count += 1

    def failure(self) -> Failure:
        """Returns one failure for all of them."""
        more = self.count - 1
        others = f", nor {more} other{'s' if more > 1 else ''}" if more else ""
        return Failure(self._first, "timeout", f"not tried{others}: slow sources have used up their time")


class Finding(NamedTuple):
    """Something wrong, found by reading only."""

    kind: str
    """missing, stale, corrupt, mismatched, orphan, residue, obstructed, foreign-magic, unreadable, unwanted,
    uncompilable.
    """
    pyc: str | None
    source: str | None
    known: bool = False
    """Reported before, or harmless, and so no reason for exit code 1."""
    reason: str | None = None
    """Why, in a sentence."""
    store: str | None = None
    """The store that the code of a pyc came from, if it did."""
    signer: str | None = None
    """Who signed it there."""


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

    FIELDS = ("compiled", "stored", "refreshed", "fresh", "failed", "skipped", "removed", "removed_directories")
    __slots__ = FIELDS

    def __init__(self) -> None:
        self.compiled = self.stored = self.refreshed = self.fresh = self.failed = self.skipped = 0
        self.removed = self.removed_directories = 0

    def add(self, other: Counts) -> None:
        """Add another tally's numbers."""
        for field in self.FIELDS:
            setattr(self, field, getattr(self, field) + getattr(other, field))

    @property
    def changes(self) -> int:
        """How much was changed or failed: 0 if all was as it should be."""
        return self.compiled + self.stored + self.refreshed + self.failed + self.removed + self.removed_directories

    def as_dict(self) -> dict[str, int]:
        """Returns the numbers by name."""
        return {field: getattr(self, field) for field in self.FIELDS}


class Tally:
    """The results for all of a flavour's files. Tallies can be added."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.failures: list[Failure] = []
        self.findings: list[Finding] = []
        self.actions: list[Action] = []
        self.unexamined: list[Failure] = []
        #: Reported once each, and no failure.
        self.links: list[Link] = []
        #: Lines for people, such as about a read-only tree, that aren't about a single file.
        self.notices: list[str] = []
        #: Whether something that needs work is on a file system that is mounted read-only.
        self.left_read_only = False
        #: Whether a file system became read-only during the work; the rest is done once it is writable again.
        self.is_interrupted = False

    def fail(self, failure: Failure) -> None:
        """Count a source that failed."""
        self.counts.failed += 1
        self.failures.append(failure)

    def take(self) -> Tally:
        """Returns what is in it, and empties it."""
        taken = Tally()
        self.__dict__, taken.__dict__ = taken.__dict__, self.__dict__
        return taken

    def add(self, other: Tally) -> None:
        """Add another tally."""
        self.counts.add(other.counts)
        for name in ("failures", "findings", "actions", "unexamined", "links", "notices"):
            getattr(self, name).extend(getattr(other, name))
        self.left_read_only |= other.left_read_only
        self.is_interrupted |= other.is_interrupted

    def sort(self) -> None:
        """Put all in the order of their paths: it mustn't show which worker was the faster one."""
        self.failures.sort(key=lambda failure: failure.path)
        self.findings.sort(key=lambda finding: finding.pyc or finding.source or "")
        self.links.sort()

    @property
    def listed(self) -> list[Failure]:
        """Failures that get a line of their own. Those that need root are one error for all flavours."""
        return [failure for failure in (*self.failures, *self.unexamined) if not failure.needs_root]

    @property
    def left_something(self) -> bool:
        """Whether anything is wrong or left over, for any reason."""
        return bool(self.failures or self.findings or self.unexamined or self.notices or self.counts.skipped)

    @property
    def exit_code(self) -> int:
        """0: done; 1: a file failed, or there are findings; 3: not everything could be examined."""
        if self.unexamined:
            return 3
        return 1 if self.failures or any(not finding.known for finding in self.findings) else 0


def path_fields(name: str, path: str | None) -> dict[str, Any]:
    """Returns a path for JSON: as text with U+FFFD for bytes that aren't UTF-8, and then also as `<name>_hex`."""
    if path is None:
        return {name: None}
    data = os.fsencode(path)
    try:
        return {name: data.decode("utf-8")}
    except UnicodeDecodeError:
        return {name: data.decode("utf-8", "replace"), f"{name}_hex": data.hex()}
