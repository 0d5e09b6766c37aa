"""Judging the pycs of an archive by their headers: against its own sources, and against an interpreter."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ...pyc.magic import header_size, is_magic, number_of, release_of
from ...pyc.names import PYCACHE, CachedName, cached_name
from .contents import Contents, PackedSource

_UINT32 = 0xFFFFFFFF
_HASH_BASED, _CHECK_SOURCE = 0b01, 0b10
#: Seconds. A zip's times are in somebody's local time: whole quarters of an hour off, up to 14 hours (tz database).
_ZONE_STEP, _LARGEST_ZONE = 900, 14 * 3600
#: Seconds by which a time in steps of two may be rounded, up or down.
_ROUNDED = 1


class TargetFacts(NamedTuple):
    """The interpreter that bytecode is compared with."""

    magic_number: bytes
    cache_tag: str
    implementation: str
    version: tuple[int, int]
    library: str
    """The name of its library's directory, such as `python3.14`: where sourceless bytecode of its own lies."""


#: Every kind of finding, and its reasons.
REASONS = {
    "stale": ("magic",),
    "orphan": ("source", "sourceless"),
    "mismatched": ("mtime", "size", "hash"),
    "corrupt": ("magic", "header", "body"),
    "climbing": ("absolute", "parent", "link-absolute", "link-parent", "hardlink-parent"),
}
KINDS = tuple(REASONS)


class ArchiveFinding(NamedTuple):
    """Something in an archive that isn't as it should be: its kind, and the reason, of `REASONS`."""

    kind: str
    reason: str
    pyc: str | None
    source: str | None = None
    member: str | None = None
    """For climbing: the member, whatever it is."""


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


def judge(contents: Contents, target: TargetFacts | None) -> Verdicts:
    """Look at every pyc of an archive, in the order of their paths."""
    verdicts = Verdicts()
    for path in sorted(contents.pycs):
        head = contents.pycs[path]
        if not is_magic(head):
            verdicts.findings.append(ArchiveFinding("corrupt", "magic", path))
            continue
        magic_number = head[:4]
        directory, _, name = path.rpartition("/")
        cached = cached_name(name) if _is_pycache(directory) else None
        tags = verdicts.magic_numbers.setdefault(magic_number, {})
        tag = cached.cache_tag if cached else ""
        tags[tag] = tags.get(tag, 0) + 1
        if target is not None:
            _compare(path, cached, target, verdicts, magic_number)
        _judge_header(contents, path, cached, verdicts)
    return verdicts


def _compare(
    path: str, cached: CachedName | None, target: TargetFacts, verdicts: Verdicts, magic_number: bytes
) -> None:
    if not _is_own(path, cached, magic_number, target):
        verdicts.foreign += 1
    elif magic_number != target.magic_number:
        verdicts.findings.append(ArchiveFinding("stale", "magic", path, _source_path(path, cached)))


def _is_pycache(directory: str) -> bool:
    return directory == PYCACHE or directory.endswith("/" + PYCACHE)


def _source_path(path: str, cached: CachedName | None) -> str | None:
    """The source that a pyc belongs to; None for one in a pycache whose name isn't importlib's (pytest's, Numba's)."""
    directory = path.rpartition("/")[0]
    if _is_pycache(directory):
        if cached is None:
            return None
        above = directory[: -len(PYCACHE)]
        return above + cached.source
    return path[:-1]


def _is_own(path: str, cached: CachedName | None, magic_number: bytes, target: TargetFacts) -> bool:
    """Whether the target would take this pyc for its own, if its magic number fitted.

    A tag says so; without one, the directory, or which version wrote it.
    """
    if cached is not None:
        return cached.cache_tag == target.cache_tag
    if _is_pycache(path.rpartition("/")[0]):
        return False
    release = release_of(number_of(magic_number))
    if target.library in path.split("/")[:-1]:
        return True
    return (release.implementation, release.version) == (target.implementation, target.version)


def _judge_header(contents: Contents, path: str, cached: CachedName | None, verdicts: Verdicts) -> None:
    head = contents.pycs[path]
    size = header_size(number_of(head))
    if len(head) <= size:
        verdicts.findings.append(ArchiveFinding("corrupt", "header" if len(head) < size else "body", path))
        return
    name = _source_path(path, cached)
    if name is None:
        return
    source = contents.sources.get(name)
    if source is None:
        reason = "source" if cached else "sourceless"
        verdicts.findings.append(ArchiveFinding("orphan", reason, path, name))
        return
    (flags,) = struct.unpack_from("<I", head, 4) if size == 16 else (0,)
    if flags not in (0, _HASH_BASED, _HASH_BASED | _CHECK_SOURCE):
        verdicts.findings.append(ArchiveFinding("corrupt", "header", path, name))
    elif source.is_link:
        return
    elif flags:
        verdicts.doubts.append(Doubt(path, name, head[:4], head[8:16]))
    else:
        verdicts.findings += [
            ArchiveFinding("mismatched", reason, path, name) for reason in _differs(head, size, source)
        ]


def _differs(head: bytes, size: int, source: PackedSource) -> Iterator[str]:
    """At most one reason: the time is compared first, as importlib does."""
    fields = struct.unpack_from("<I" if size == 8 else "<II", head, 4 if size < 16 else 8)
    if not _same_time(fields[0], source):
        yield "mtime"
    elif size > 8 and fields[1] != source.size & _UINT32:
        yield "size"


def _same_time(recorded: int, source: PackedSource) -> bool:
    if source.has_exact_time:
        return recorded == source.mtime & _UINT32
    difference = recorded - source.mtime
    rest = (difference + _ROUNDED) % _ZONE_STEP
    return abs(difference) <= _LARGEST_ZONE + _ROUNDED and rest <= 2 * _ROUNDED
