"""Judging the pycs of an archive by their headers: against its own sources, and against an interpreter."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from ...pyc.magic import header_size, is_magic, number_of, release_of
from ...pyc.names import PYCACHE, CachedName, cached_name
from .contents import ArchiveFinding, Contents, PackedSource

_UINT32 = 0xFFFFFFFF
_HASH_BASED, _CHECK_SOURCE = 0b01, 0b10
#: Seconds. A zip's times are in somebody's local time: whole quarters of an hour off, up to 14 hours (tz database).
_ZONE_STEP, _LARGEST_ZONE = 900, 14 * 3600
#: Seconds by which a time in steps of two may be rounded, up or down.
_ROUNDED = 1


class TargetFacts(NamedTuple):
    """The interpreter that bytecode is compared with."""

    magic_number: str
    """In hexadecimal."""
    cache_tag: str
    implementation: str
    version: Sequence[int]
    """Major and minor."""
    library: str
    """The name of its library's directory, such as `python3.14`: where sourceless bytecode of its own lies."""


#: Every kind of finding, and its reasons: as programs get them, and as sentences.
REASONS = {
    "stale": {"magic": "its magic number is another Python's"},
    "orphan": {
        "source": "the archive has no source for it",
        "sourceless": "the archive has no source for it; outside __pycache__, Python imports it without one",
    },
    "mismatched": {
        "mtime": "it was made from a source with another mtime than the one in the archive",
        "size": "it was made from a source with another size than the one in the archive",
        "hash": "it was made from a source with other content than the one in the archive",
    },
    "corrupt": {
        "magic": "it doesn't begin with a magic number",
        "header": "its header is incomplete or invalid",
        "body": "it has a header, but no code",
    },
    "climbing": {
        "absolute": "its name is an absolute path",
        "parent": "its name contains ..",
        "link-absolute": "it is a link to an absolute path",
        "link-parent": "it is a link to a path outside of the archive",
        "hardlink-parent": "it is a hard link, and its target contains ..",
    },
}
KINDS = tuple(REASONS)


class Doubt(NamedTuple):
    """A hash-based pyc whose source is in the archive: only the source's content can tell."""

    pyc: str
    source: str
    magic_number: bytes
    recorded: bytes


class Verdicts:
    """What came out: findings, doubts that a second look settles, and how many pycs there are for which number."""

    def __init__(self) -> None:
        self.findings: list[ArchiveFinding] = []
        self.doubts: list[Doubt] = []
        #: Pycs that the target would never look at: another's.
        self.foreign = 0
        #: How many pycs, and with which cache tags ("" is none), by magic number.
        self.magic_numbers: dict[bytes, dict[str, int]] = {}


class _PackedPyc(NamedTuple):
    """A pyc in an archive."""

    path: str
    head: bytes
    is_in_pycache: bool
    cached: CachedName | None
    """The parts of its name in a pycache; None for one that isn't importlib's (pytest's, Numba's)."""

    @classmethod
    def of(cls, path: str, head: bytes) -> _PackedPyc:
        directory, _, name = path.rpartition("/")
        is_in_pycache = directory.rpartition("/")[2] == PYCACHE
        return cls(path, head, is_in_pycache, cached_name(name) if is_in_pycache else None)

    @property
    def source(self) -> str | None:
        """The path of its source, or None if it belongs to none."""
        if not self.is_in_pycache:
            return self.path[:-1]
        return self.path.rpartition("/")[0][: -len(PYCACHE)] + self.cached.source if self.cached else None

    def is_for(self, target: TargetFacts) -> bool:
        """Whether the target would take this pyc for its own, if its magic number fitted.

        A tag says so; without one, the directory, or which version wrote it.
        """
        if self.is_in_pycache:
            return self.cached is not None and self.cached.cache_tag == target.cache_tag
        if target.library in self.path.split("/")[:-1]:
            return True
        release = release_of(number_of(self.head))
        return (release.implementation, [*release.version]) == (target.implementation, [*target.version])


def judge(contents: Contents, target: TargetFacts | None) -> Verdicts:
    """Judge every pyc of an archive, in the order of their paths."""
    verdicts = Verdicts()
    for path, head in sorted(contents.pycs.items()):
        if not is_magic(head):
            verdicts.findings.append(ArchiveFinding("corrupt", "magic", path))
            continue
        pyc = _PackedPyc.of(path, head)
        tags = verdicts.magic_numbers.setdefault(head[:4], {})
        tag = pyc.cached.cache_tag if pyc.cached else ""
        tags[tag] = tags.get(tag, 0) + 1
        if target is not None and not pyc.is_for(target):
            verdicts.foreign += 1
        elif target is not None and head[:4].hex() != target.magic_number:
            verdicts.findings.append(ArchiveFinding("stale", "magic", path, pyc.source))
        _judge_header(contents, pyc, verdicts)
    return verdicts


def _judge_header(contents: Contents, pyc: _PackedPyc, verdicts: Verdicts) -> None:
    path, head, name = pyc.path, pyc.head, pyc.source
    size = header_size(number_of(head))
    if len(head) <= size:
        verdicts.findings.append(ArchiveFinding("corrupt", "header" if len(head) < size else "body", path))
        return
    if name is None:
        return
    source = contents.sources.get(name)
    if source is None:
        verdicts.findings.append(ArchiveFinding("orphan", "source" if pyc.cached else "sourceless", path, name))
        return
    (flags,) = struct.unpack_from("<I", head, 4) if size == 16 else (0,)
    if flags not in (0, _HASH_BASED, _HASH_BASED | _CHECK_SOURCE):
        verdicts.findings.append(ArchiveFinding("corrupt", "header", path, name))
    elif source.is_link:
        return
    elif flags:
        verdicts.doubts.append(Doubt(path, name, head[:4], head[8:16]))
    elif reason := _differs(head, size, source):
        verdicts.findings.append(ArchiveFinding("mismatched", reason, path, name))


def _differs(head: bytes, size: int, source: PackedSource) -> str | None:
    """Returns in what a header differs from its source: the time is compared first, as importlib does."""
    fields = struct.unpack_from("<I" if size == 8 else "<II", head, 4 if size < 16 else 8)
    if not _same_time(fields[0], source):
        return "mtime"
    return "size" if size > 8 and fields[1] != source.size & _UINT32 else None


def _same_time(recorded: int, source: PackedSource) -> bool:
    if source.has_exact_time:
        return recorded == source.mtime & _UINT32
    difference = recorded - source.mtime
    rest = (difference + _ROUNDED) % _ZONE_STEP
    return abs(difference) <= _LARGEST_ZONE + _ROUNDED and rest <= 2 * _ROUNDED
