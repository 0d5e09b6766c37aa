"""The members of an archive, and what matters of them: heads of pycs, times of sources, names that climb out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from .streams import Readable, pieces

FILE, DIRECTORY, LINK, HARD_LINK, OTHER = "file", "directory", "link", "hardlink", "other"

#: The longest header, and one byte after it, which a pyc without a body lacks.
HEAD = 17
_PYC_SUFFIXES = (".pyc", ".pyo")
#: Formats that are unpacked at `/`, where an absolute link means what it says.
_SYSTEM_FORMATS = frozenset({"deb", "rpm", "pkg", "arch", "apk"})


class Member(NamedTuple):
    """A member, whatever the archive's format; its content is there to be read only until the next one is asked for."""

    name: str
    """As it stands in the archive, bytes that are no UTF-8 as surrogates."""
    kind: str
    size: int = 0
    mtime: int = 0
    """Seconds since 1970."""
    has_exact_time: bool = True
    """False for a zip's: local time without a zone, in steps of two seconds."""
    target: str = ""
    """What a link names."""
    open: Callable[[], Readable] | None = None
    """Returns its content, if it's a file."""

    def read(self, size: int) -> bytes:
        """Returns the first bytes of a file's content, or all of it if it is shorter."""
        assert self.open is not None
        return b"".join(pieces(self.open(), size))


class PackedSource(NamedTuple):
    """A source in the archive. A link's content is elsewhere: nothing is known but that there is one."""

    size: int
    mtime: int
    has_exact_time: bool
    is_link: bool = False


class ArchiveFinding(NamedTuple):
    """Something in an archive that isn't as it should be: its kind, and the reason, of `judgement.REASONS`."""

    kind: str
    reason: str
    pyc: str | None
    source: str | None = None
    member: str | None = None
    """The member that would reach outside of where the archive is unpacked, whatever it is."""


class Contents:
    """Collects the members, one after the other; the last of a name counts, as when they are unpacked."""

    def __init__(self) -> None:
        self.members = 0
        self.sources: dict[str, PackedSource] = {}
        #: The heads of the pycs.
        self.pycs: dict[str, bytes] = {}
        #: Where the content of a source is that is a hard link.
        self.linked: dict[str, str] = {}
        self._climbing: list[ArchiveFinding] = []
        self._hard_links: list[tuple[str, str]] = []

    def take(self, member: Member) -> None:
        """Collect a member. Its content, if it is needed, is read now or never."""
        self.members += 1
        path = self._inside(member)
        if path is None:
            return
        if path.endswith(".py") and member.kind != DIRECTORY:
            self.sources[path] = PackedSource(member.size, member.mtime, member.has_exact_time, member.kind != FILE)
        if path.endswith(_PYC_SUFFIXES) and member.kind == FILE:
            self.pycs[path] = member.read(HEAD)
        if member.kind == HARD_LINK and path.endswith((".py", *_PYC_SUFFIXES)):
            self._hard_links.append((path, normal(member.target)))

    def finish(self) -> None:
        """Give hard links the content of what they are linked with, once all members are collected."""
        for path, target in self._hard_links:
            if target in self.pycs:
                self.pycs[path] = self.pycs[target]
            if target in self.sources:
                self.sources[path] = self.sources[target]
                self.linked[path] = target
        self._hard_links = []

    def climbing(self, kind: str) -> list[ArchiveFinding]:
        """Returns the members that climb, in an archive of this format: pkg and rpm list absolute names by design."""
        harmless = set()
        if kind in ("pkg", "rpm"):
            harmless.add("absolute")
        if kind in _SYSTEM_FORMATS:
            harmless.add("link-absolute")
        return [each for each in self._climbing if each.reason not in harmless]

    def _climb(self, member: Member, reason: str) -> None:
        self._climbing.append(ArchiveFinding("climbing", reason, None, None, member.name))

    def _inside(self, member: Member) -> str | None:
        """Returns the path below the place where the archive is unpacked, or None if the member would leave it."""
        if ".." in member.name.split("/"):
            self._climb(member, "parent")
            return None
        if member.name.startswith("/"):
            self._climb(member, "absolute")
        path = normal(member.name)
        if member.kind == LINK and _leaves(os.path.dirname(path), member.target):
            reason = "link-absolute" if member.target.startswith("/") else "link-parent"
            self._climb(member, reason)
        if member.kind == HARD_LINK and ".." in member.target.split("/"):
            self._climb(member, "hardlink-parent")
        return path


def normal(name: str) -> str:
    """Returns a member's name without what makes no difference: `./usr//lib/x`, `/usr/lib/x`, `usr/lib/x`."""
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
