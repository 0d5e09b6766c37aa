"""What an archive holds that matters here: heads of pycs, times and sizes of sources, names that climb out of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from .member import DIRECTORY, FILE, HARD_LINK, LINK, Member

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .limits import Budget

#: The longest header, and one byte behind it, which tells a pyc without a body.
HEAD = 17
_PYC_SUFFIXES = (".pyc", ".pyo")
#: Formats that are unpacked at `/`, where an absolute link means what it says.
_SYSTEM_FORMATS = frozenset({"deb", "rpm", "pkg", "arch", "apk"})


class Source(NamedTuple):
    """A source in the archive. A link's content is elsewhere: nothing is known but that there is one."""

    size: int
    mtime: int
    has_exact_time: bool
    is_link: bool = False


class Pyc(NamedTuple):
    """A pyc in the archive, as far as it was read."""

    head: bytes


class Climbing(NamedTuple):
    """A member that would reach outside of where the archive is unpacked."""

    name: str
    reason: str
    """absolute or parent; link-absolute or link-parent for where a link leads; hardlink-parent likewise."""


class Contents:
    """Takes the members in, one after the other; the last of a name counts, as when they are unpacked."""

    def __init__(self) -> None:
        self.members = 0
        self.sources: dict[str, Source] = {}
        self.pycs: dict[str, Pyc] = {}
        #: Where the content of a source is that is a hard link.
        self.linked: dict[str, str] = {}
        self._climbing: list[Climbing] = []
        self._hard_links: list[tuple[str, str]] = []

    def take(self, member: Member, budget: Budget) -> None:
        """One member. Its content, where it is wanted, is read now or never."""
        self.members += 1
        path = self._inside(member)
        if path is None:
            return
        if path.endswith(".py") and member.kind != DIRECTORY:
            self.sources[path] = Source(member.size, member.mtime, member.has_exact_time, member.kind != FILE)
        if path.endswith(_PYC_SUFFIXES) and member.kind == FILE and member.open is not None:
            self.pycs[path] = Pyc(_head(member))
        if member.kind == HARD_LINK and path.endswith((".py", *_PYC_SUFFIXES)):
            self._hard_links.append((path, normal(member.target)))

    def finish(self) -> None:
        """All were there: a hard link is what it is linked with."""
        for path, target in self._hard_links:
            if target in self.pycs:
                self.pycs[path] = self.pycs[target]
            if target in self.sources:
                self.sources[path] = self.sources[target]
                self.linked[path] = target
        self._hard_links = []

    def climbing(self, kind: str) -> list[Climbing]:
        """The members that climb, in an archive of this format: in pkg's, and rpm's lists, absolute is by design."""
        harmless = set()
        if kind in ("pkg", "rpm"):
            harmless.add("absolute")
        if kind in _SYSTEM_FORMATS:
            harmless.add("link-absolute")
        return [each for each in self._climbing if each.reason not in harmless]

    def _inside(self, member: Member) -> str | None:
        """The path below where the archive is unpacked; None for a member that would leave it."""
        if ".." in member.name.split("/"):
            self._climbing.append(Climbing(member.name, "parent"))
            return None
        if member.name.startswith("/"):
            self._climbing.append(Climbing(member.name, "absolute"))
        path = normal(member.name)
        if member.kind == LINK and _leaves(os.path.dirname(path), member.target):
            reason = "link-absolute" if member.target.startswith("/") else "link-parent"
            self._climbing.append(Climbing(member.name, reason))
        if member.kind == HARD_LINK and ".." in member.target.split("/"):
            self._climbing.append(Climbing(member.name, "hardlink-parent"))
        return path


def normal(name: str) -> str:
    """A member's name without what makes no difference: `./usr//lib/x`, `/usr/lib/x`, `usr/lib/x`."""
    if not name.startswith(("/", "./")) and "//" not in name and "/./" not in name:
        return name
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _leaves(directory: str, target: str) -> bool:
    """Whether a link in this directory names something outside of where the archive is unpacked."""
    if target.startswith("/"):
        return True
    depth = len(directory.split("/")) if directory else 0
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False


def _head(member: Member) -> bytes:
    assert member.open is not None
    file = member.open()
    head = b""
    while len(head) < HEAD:
        piece = file.read(HEAD - len(head))
        if not piece:
            break
        head += piece
    return head


def read_whole(member: Member, most: int) -> bytes | None:
    """The content of a source; None for one of more bytes than `most`."""
    assert member.open is not None
    if member.size > most:
        return None
    file = member.open()
    pieces: list[bytes] = []
    left = most + 1
    while left:
        piece = file.read(min(left, 1 << 18))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces) if left else None


def files_named(members: Iterable[Member], wanted: set[str]) -> Iterable[tuple[str, Member]]:
    """Those of the members that are files with one of these paths."""
    for member in members:
        path = normal(member.name)
        if path in wanted and member.kind == FILE:
            yield path, member
