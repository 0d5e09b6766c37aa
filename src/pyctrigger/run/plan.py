"""The plan: what a tree needs, found by reading only. `--dry-run`, `verify`, `status` and the real run share it.

A plan is a stream: one `DirectoryPlan` for each directory, on the way down, and one `Emptied` for each directory that
the planned removals leave empty, on the way up. It holds one directory in memory, whatever the tree's size.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple, Union

from ..pyc.header import HeaderFormat, InvalidationMode, Verdict
from ..pyc.names import NAME_MAX, PYCACHE, SOURCE_SUFFIX, PycNames, pyc_suffix, writer_of
from ..target.scope import PACKAGE_DIRECTORIES
from ..tree.source import SourceRefused, source_status

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ..tree.layout import Layout
    from .transaction import Unit

#: Seconds. Importers take no lock, so what looks like their residue may be a pyc in the making.
RESIDUE_AGE = 3600
#: Directories below each other. Import paths end at PATH_MAX; what is deeper than this is no package.
_DEEPEST = 200
_OPEN_PYC = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UINT32 = 0xFFFFFFFF


class Wanted(NamedTuple):
    """The bytecode that every source should have."""

    cache_tag: str
    header: HeaderFormat
    levels: tuple[int, ...]
    mode: InvalidationMode
    writer: str
    """The id in our temporary names; residue of this writer is known to be dead once the lock is ours."""
    exclude: tuple[str, ...] = ()
    create_missing: bool = True
    source_date_epoch: int | None = None
    """No timestamp in a pyc is later than this (seconds): the sources' own will be clamped to it."""
    trust_nothing: bool = False
    """A repair: every pyc is compared with a new compilation."""
    sweep_only: bool = False
    purge: bool = False
    """Every pyc of this cache tag goes, its source or not."""
    measure: bool = False
    """Count the bytes of the pycs, which costs a call for each."""

    def mtime(self, status: os.stat_result) -> int:
        """The mtime that belongs into a pyc, as importlib computes it: `int()` of the float, not the nanoseconds."""
        mtime = int(status.st_mtime)
        return mtime if self.source_date_epoch is None else min(mtime, self.source_date_epoch)


class LevelState(NamedTuple):
    """One optimization level of a source that isn't fresh."""

    level: int
    pyc: str
    verdict: Verdict
    source_hash: bytes | None = None
    """For an UNPROVEN pyc, the hash in its header."""


class Stale(NamedTuple):
    """A source with bytecode to write, or to prove."""

    name: str
    status: os.stat_result
    levels: tuple[LevelState, ...]


class Removal(NamedTuple):
    """A file among the pycs that should go."""

    name: str
    kind: str
    """orphan, residue or pyc (a purge)."""
    source: str | None = None


class DirectoryPlan(NamedTuple):
    """What one directory needs."""

    relative: str
    sources: int
    fresh: int
    stale: list[Stale]
    removals: list[Removal]
    skipped: list[tuple[str, str]]
    """Sources that bytecode isn't written for, with the reason."""
    refused: list[tuple[str, str]]
    """Sources that must not be read, with the reason."""
    obstacle: str | None = None
    """What stands in the way of the `__pycache__`."""
    source_bytes: int = 0
    pyc_bytes: int = 0
    """Of this cache tag; 0 unless they were to be measured."""


class Emptied(NamedTuple):
    """A directory that the removals leave empty."""

    relative: str
    pycache: bool
    """The directory of its pycs, or the directory itself."""


class Unexamined(NamedTuple):
    """A directory that could not be looked at."""

    relative: str
    reason: str


Step = Union[DirectoryPlan, Emptied, Unexamined]


class _Listing(NamedTuple):
    sources: list[tuple[str, os.stat_result]]
    links: list[str]
    directories: list[str]
    names: set[str]
    """Every name that a source could have, for telling orphans."""
    has_pycache: bool
    others: int


class Planner:
    """Plans one site directory. `known` says whether a source is known not to compile in its present state."""

    def __init__(
        self,
        layout: Layout,
        wanted: Wanted,
        *,
        others: frozenset[tuple[int, int]] = frozenset(),
        skip_packages: bool = False,
        known: Callable[[str, os.stat_result], bool] = lambda path, status: False,
    ) -> None:
        self._layout = layout
        self._wanted = wanted
        self._others = others - {layout.sources.identity}
        self._skip_packages = skip_packages
        self._known = known
        self._names = PycNames(wanted.cache_tag)
        self._suffixes = [(level, pyc_suffix(wanted.cache_tag, level)) for level in wanted.levels]
        self._longest = NAME_MAX - max((len(suffix) for _, suffix in self._suffixes), default=0) + len(SOURCE_SUFFIX)
        patterns = [fnmatch.translate(pattern) for pattern in wanted.exclude]
        self._excluded = re.compile("|".join(patterns)) if patterns else None
        self._old = time.time() - RESIDUE_AGE

    def plan(self, units: list[Unit]) -> Iterator[Step]:
        """The steps for these units, and for every top-level directory that holds nothing but bytecode."""
        seen = set()
        for unit in units:
            yield from self._directory(unit.relative, deep=unit.deep, depth=unit.relative.count("/"))
            seen.add(unit.relative)
        if units and not any(unit == ("", True) for unit in units):
            for name in self._dead_packages():
                if name not in seen:
                    yield from self._directory(name, deep=True, depth=0)

    def _dead_packages(self) -> list[str]:
        """Top-level directories that hold nothing but bytecode: pkg reports neither what only the old version of a
        package had nor a package that was renamed, and `import` still finds them, as namespace packages.
        """
        listing = self._list("")
        if listing is None:
            return []
        return [name for name in listing.directories if self._is_dead(name, 0)]

    def _is_dead(self, relative: str, depth: int) -> bool:
        try:
            listing = self._list(relative) if depth < _DEEPEST else None
        except OSError:
            return False
        if listing is None or listing.others or listing.sources or listing.links:
            return False
        if not (listing.has_pycache or listing.directories):
            return False
        return all(self._is_dead(f"{relative}/{name}", depth + 1) for name in listing.directories)

    def _directory(self, relative: str, *, deep: bool, depth: int) -> Generator[Step, None, bool]:
        """Steps for one directory and what lies below. Returns whether they leave it empty."""
        try:
            listing = self._list(relative)
            pycs = self._pycs(relative, listing)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                yield Unexamined(relative, error.strerror or str(error))
            return False  # gone meanwhile, or never a directory: nothing below it is ours
        if depth >= _DEEPEST:
            yield Unexamined(relative, f"more than {_DEEPEST} directories deep")
            return False
        plan = self._examine(relative, listing, pycs)
        yield plan
        emptied = 0
        below = self._below(listing, pycs) if deep else []
        for name in below:
            inner = f"{relative}/{name}" if relative else name
            if (yield from self._directory(inner, deep=True, depth=depth + 1)):
                emptied += 1
        if self._layout.has_prefix:
            return (yield from self._leave_prefix(relative, plan, pycs, emptied))
        return (yield from self._leave(relative, listing, plan, pycs, emptied))

    def _leave(
        self, relative: str, listing: _Listing | None, plan: DirectoryPlan, pycs: _Pycs | None, emptied: int
    ) -> Generator[Step, None, bool]:
        if listing is None:
            return False
        barren = not (listing.sources or listing.links or listing.others) and emptied == len(listing.directories)
        pycache_goes = bool(
            pycs
            and pycs.whole
            and not plan.stale
            and len(plan.removals) == len(pycs.names)
            and (plan.removals or (barren and relative))
        )
        if pycache_goes:
            yield Emptied(relative, pycache=True)
        if relative and barren and (pycache_goes or (emptied and not listing.has_pycache)):
            yield Emptied(relative, pycache=False)
            return True
        return False

    def _leave_prefix(
        self, relative: str, plan: DirectoryPlan, pycs: _Pycs | None, emptied: int
    ) -> Generator[Step, None, bool]:
        if not (relative and pycs and (plan.removals or emptied)):
            return False
        if len(plan.removals) + emptied == len(pycs.names) + len(pycs.directories):
            yield Emptied(relative, pycache=True)
            return True
        return False

    def _below(self, listing: _Listing | None, pycs: _Pycs | None) -> list[str]:
        names = listing.directories if listing else []
        if self._layout.has_prefix and pycs:
            return sorted({*names, *pycs.directories})
        return names

    def _list(self, relative: str) -> _Listing | None:
        """What stands in a source directory; None where, with a pycache prefix, only its pycs are left."""
        try:
            directory = self._layout.sources.directory(relative)
        except FileNotFoundError:
            if self._layout.has_prefix:
                return None
            raise
        if self._others and relative:
            status = os.fstat(directory)
            if (status.st_dev, status.st_ino) in self._others:
                raise FileNotFoundError(errno.ENOENT, "a site directory of its own")
        return _listing(directory, skip=PACKAGE_DIRECTORIES if self._skip_packages and not relative else frozenset())

    def _pycs(self, relative: str, listing: _Listing | None) -> _Pycs | None:
        """What stands in the directory of the pycs; None where there is none."""
        if not self._layout.has_prefix and not (listing and listing.has_pycache):
            return None
        try:
            return _pycs(self._layout.pycs.directory(self._layout.pycache(relative)))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR) and not self._layout.has_prefix:
                return _Pycs({}, [], obstacle="is a link or a file")
            raise

    def _examine(self, relative: str, listing: _Listing | None, pycs: _Pycs | None) -> DirectoryPlan:
        plan = DirectoryPlan(relative, 0, 0, [], [], [], [], pycs.obstacle if pycs else None)
        if listing and not (self._wanted.sweep_only or self._wanted.purge):
            plan = self._sources(plan, listing, pycs)
        if pycs and pycs.names:
            plan.removals.extend(self._removals(relative, listing.names if listing else set(), pycs))
        if self._wanted.measure:
            plan = plan._replace(
                source_bytes=sum(status.st_size for _, status in listing.sources) if listing else 0,
                pyc_bytes=self._bytes(relative, pycs) if pycs else 0,
            )
        return plan

    def _bytes(self, relative: str, pycs: _Pycs) -> int:
        """The size of all pycs of our cache tag in one directory."""
        total = 0
        for name, regular in pycs.names.items():
            if regular and self._names.source_of(name) is not None:
                with contextlib.suppress(FileNotFoundError):
                    total += self._layout.pycs.lstat(self._layout.pycache(relative), name).st_size
        return total

    def _sources(self, plan: DirectoryPlan, listing: _Listing, pycs: _Pycs | None) -> DirectoryPlan:
        """The verdict on every source of a directory: the loop that an idle run spends its time in."""
        relative, wanted = plan.relative, self._wanted
        names = pycs.names if pycs else {}
        sources = listing.sources
        if listing.links:
            sources = sorted([*sources, *self._linked(relative, listing.links, plan)])
        path = self._layout.describe_source(relative) + "/"
        descriptor = self._layout.pycs.directory(self._layout.pycache(relative)) if names else -1
        fresh = count = 0
        for name, status in sources:
            count += 1
            if self._excluded and self._excluded.match(path + name):
                plan.skipped.append((name, "excluded"))
                continue
            expected = wanted.header.timestamp(wanted.mtime(status), status.st_size)
            states = self._levels(name, expected, names, descriptor)
            if not states:
                fresh += 1
            elif reason := self._reason_to_skip(path + name, name, status, states):
                plan.skipped.append((name, reason))
            else:
                plan.stale.append(Stale(name, status, states))
        return plan._replace(sources=count + len(plan.refused), fresh=fresh)

    def _levels(self, name: str, expected: bytes, names: dict[str, bool], descriptor: int) -> tuple[LevelState, ...]:
        """The levels of one source that aren't fresh."""
        wanted = self._wanted
        stem = name[:-3]
        states = []
        for level, suffix in self._suffixes:
            pyc = stem + suffix
            regular = names.get(pyc)
            found = b""
            if regular is None:
                verdict = Verdict.MISSING
            elif not regular:
                verdict = Verdict.OBSTRUCTED
            else:
                found = _head(descriptor, pyc, wanted.header.size + 1)
                if wanted.mode is InvalidationMode.TIMESTAMP and found[:-1] == expected and not wanted.trust_nothing:
                    continue
                verdict = wanted.header.judge(found, wanted.mode, expected)
                if wanted.trust_nothing and verdict in (Verdict.FRESH, Verdict.UNPROVEN):
                    verdict = Verdict.SUSPECT
                if verdict is Verdict.FRESH:
                    continue
            if verdict is Verdict.MISSING and not wanted.create_missing:
                continue
            known = wanted.header.source_hash(found) if verdict is Verdict.UNPROVEN else None
            states.append(LevelState(level, pyc, verdict, known))
        return tuple(states)

    def _reason_to_skip(
        self, path: str, name: str, status: os.stat_result, states: tuple[LevelState, ...]
    ) -> str | None:
        if len(name) > self._longest // 4 and len(os.fsencode(name)) > self._longest:
            return "its name leaves no room for a pyc's"
        if not self._wanted.header.has_modes and not 0 <= self._wanted.mtime(status) <= _UINT32:
            return "3.6 accepts no bytecode for a source of before 1970 or after 2106"
        if not self._wanted.trust_nothing and self._known(path, status):
            return "uncompilable"
        return None

    def _linked(self, relative: str, links: list[str], plan: DirectoryPlan) -> list[tuple[str, os.stat_result]]:
        """Sources that are links, with the status that the target's import sees."""
        found = []
        for name in links:
            try:
                found.append((name, source_status(self._layout.sources, relative, name)))
            except SourceRefused as refusal:
                status = self._layout.sources.lstat(relative, name)
                if self._known(self._layout.describe_source(relative, name), status):
                    plan.skipped.append((name, "uncompilable"))
                else:
                    plan.refused.append((name, str(refusal)))
            except OSError:
                continue  # dangling: import doesn't find it either
        return found

    def _removals(self, relative: str, sources: set[str], pycs: _Pycs) -> Iterator[Removal]:
        own_tag = "." + self._wanted.cache_tag
        live = {source[:-3] + suffix for source in sources for _, suffix in self._suffixes}
        suspects = pycs.names.keys() if self._wanted.purge else pycs.names.keys() - live
        for name in sorted(suspects):
            regular = pycs.names[name]
            if name in pycs.directories:
                continue
            writer = writer_of(name)
            if writer is not None:
                if writer == self._wanted.writer or self._is_old(relative, name):
                    yield Removal(name, "residue")
            elif own_tag not in name:
                continue
            elif (source := self._names.source_of(name)) is not None:
                if self._wanted.purge:
                    yield Removal(name, "pyc", source)
                elif source not in sources:
                    yield Removal(name, "orphan", source)
            elif regular and self._names.is_residue(name) and self._is_old(relative, name):
                yield Removal(name, "residue")

    def _is_old(self, relative: str, name: str) -> bool:
        try:
            status = self._layout.pycs.lstat(self._layout.pycache(relative), name)
        except OSError:
            return False
        return max(status.st_mtime, status.st_ctime) < self._old


class _Pycs(NamedTuple):
    names: dict[str, bool]
    """Every file, and whether it is a regular one."""
    directories: list[str]
    obstacle: str | None = None

    @property
    def whole(self) -> bool:
        """Whether `names` is all that stands there."""
        return not self.directories and self.obstacle is None


def _listing(directory: int, skip: frozenset[str]) -> _Listing:
    sources, links, directories, names = [], [], [], set()
    has_pycache, others = False, 0
    with os.scandir(directory) as entries:
        for entry in entries:
            name = entry.name
            if name[-3:] == SOURCE_SUFFIX:
                names.add(name)
                if name != SOURCE_SUFFIX and entry.is_file(follow_symlinks=False):
                    try:
                        sources.append((name, entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        names.discard(name)
                    continue
                if name != SOURCE_SUFFIX and entry.is_symlink():
                    links.append(name)
                    continue
            if name == PYCACHE:
                has_pycache = True
            elif entry.is_dir(follow_symlinks=False) and name not in skip:
                directories.append(name)
            else:
                others += 1
    sources.sort()
    directories.sort()
    return _Listing(sources, links, directories, names, has_pycache, others)


def _pycs(directory: int) -> _Pycs:
    names, directories = {}, []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            names[entry.name] = entry.is_file(follow_symlinks=False)
    return _Pycs(names, directories)


def _head(directory: int, name: str, size: int) -> bytes:
    """The first bytes of a pyc; none where it can't be read."""
    try:
        descriptor = os.open(name, _OPEN_PYC, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
