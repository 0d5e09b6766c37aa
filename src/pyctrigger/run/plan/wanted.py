"""The bytecode that every source of a target should have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from ...errors import UsageError
from ...pyc.header import HeaderFormat, InvalidationMode
from ...pyc.names import pyc_suffix
from ...typed import TYPE_CHECKING, NamedTuple
from ...version import VERSION
from ..scope.config import Settings
from ..scope.request import Request, Work
from ..scope.target import Target

if TYPE_CHECKING:
    from ...packages.bcep import Exclusion

EVERY_LEVEL = (0, 1, 2)
#: Where Debian's packages say what they ask not to compile; what reads it is imported only where it exists.
BCEP = "/usr/share/python3/bcep"
#: Raise it with the rules for what a directory needs, between two versions.
_RULES = 3


class Wanted(NamedTuple):
    """The bytecode that is wanted, and how much of what exists is trusted."""

    cache_tag: str
    header: HeaderFormat
    levels: tuple[int, ...]
    mode: InvalidationMode
    writer: str
    """The id in our temporary names; residue of this writer is known to be dead once the lock is ours."""
    work: Work = Work.RUN
    exclude: tuple[str, ...] = ()
    left_out: tuple[Exclusion, ...] = ()
    """What packages ask not to compile, on Debian."""
    create_missing: bool = True
    source_date_epoch: int | None = None
    """No timestamp in a pyc is later than this (seconds): the sources' own will be clamped to it."""
    compare_code: bool = False
    """Compare every pyc with a new compilation, and write nothing."""
    bound: frozenset[int] | None = None
    """The only levels that are swept, purged or examined; None for every level."""
    sweeps_unwanted: bool = False
    """Also sweep pycs of levels that aren't wanted."""
    trust_all_directories: bool = False
    """Also write into directories that everybody, or an account that owns none of the sources, may write."""
    reports_shared: bool = False
    """Report where a group may write beside root; hooks don't."""
    links_twins: bool = True
    """Equal code at several levels is one file with several names."""
    keep_owned: bool = True
    """Leave pycs of packages as they are, stale or not."""
    limits: Mapping[str, float] = MappingProxyType({})
    """By kind of failure (`timeout`, `memory`): what one source may use."""

    @property
    def suffixes(self) -> list[tuple[int, str]]:
        """What follows a module's name in the names of its pycs, by level."""
        return [(level, pyc_suffix(self.cache_tag, level)) for level in self.levels]

    @property
    def trust_nothing(self) -> bool:
        """Whether every pyc is compared with a new compilation, and obstacles are replaced."""
        return self.work is Work.REPAIR

    @property
    def purges(self) -> bool:
        """Whether every pyc of this cache tag is removed, even beside its source."""
        return self.work is Work.PURGE

    @property
    def judges_sources(self) -> bool:
        """Whether sources are checked for missing and stale bytecode."""
        return self.work not in (Work.SWEEP, Work.PURGE)

    @property
    def passes_unchanged(self) -> bool:
        """Whether unchanged directories that needed nothing are skipped."""
        return self.work in (Work.RUN, Work.VERIFY) and not self.compare_code

    @property
    def measures(self) -> bool:
        """Whether the bytes of sources and pycs are counted, which costs a call for each pyc."""
        return self.work is Work.STATUS

    def mtime(self, status: os.stat_result) -> int:
        """Returns the mtime for a pyc as importlib computes it: `int()` of the float, not the nanoseconds."""
        mtime = int(status.st_mtime)
        return mtime if self.source_date_epoch is None else min(mtime, self.source_date_epoch)

    def expected_header(self, status: os.stat_result) -> bytes:
        """Returns the header of a timestamp pyc of a source with this status."""
        return self.header.timestamp(self.mtime(status), status.st_size)

    @property
    def terms(self) -> str:
        """What decides whether a directory needs something; another version may judge otherwise."""
        files = (self.cache_tag, *self.header, self.levels, self.mode.value, self.source_date_epoch)
        return repr((VERSION, _RULES, *files, self.exclude, self.create_missing, *map(tuple, self.left_out)))


def wanted_bytecode(target: Target, request: Request, settings: Settings, writer: str) -> Wanted:
    """Returns what every source of this target should have. `writer` is the id in our temporary names."""
    header = target.header
    mode = request.bytecode.invalidation_mode or settings.invalidation_mode
    bound = None
    # For a run, `--optimize` says what to write; orphans go at every level.
    if request.bytecode.optimize is not None and request.work not in (Work.RUN, Work.REPAIR):
        named = frozenset(request.bytecode.optimize)
        bound = None if named == frozenset(EVERY_LEVEL) else named
    # For a sweep, `--optimize` says what to remove; the wanted levels come from the configuration alone.
    asked = request.bytecode._replace(optimize=None) if request.work is Work.SWEEP else request.bytecode
    levels = asked.levels(settings, target.dotted)
    keeps_system = request.scope.keep_system and request.work is Work.SWEEP
    if keeps_system:  # a purge of what the system's own tools don't write
        levels = (0,)
    if request.bytecode.unwanted and bound is not None and bound <= set(levels):
        levels_named = ", ".join(map(str, sorted(bound)))
        raise UsageError(
            f"--unwanted --optimize {levels_named.replace(' ', '')}: the configuration wants level {levels_named}",
            hint="name the levels to remove, or leave out --optimize",
        )
    return Wanted(
        cache_tag=target.interpreter.cache_tag,
        header=header,
        levels=levels,
        # 3.6 has no other mode.
        mode=mode if header.has_modes else InvalidationMode.TIMESTAMP,
        writer=writer,
        work=request.work,
        exclude=(*settings.exclude, *request.scope.exclude),
        left_out=_left_out(target, request.scope.root),
        create_missing=settings.create_missing,
        source_date_epoch=request.bytecode.source_date_epoch,
        compare_code=request.bytecode.compare_code,
        bound=bound,
        sweeps_unwanted=request.bytecode.unwanted or keeps_system,
        trust_all_directories=settings.untrusted_directories == "allow",
        reports_shared=os.geteuid() == 0 and not request.running.hook,
        links_twins=settings.duplicates == "hardlink",
        # verify and status report every stale pyc, also a package's.
        keep_owned=settings.owned_stale == "keep" and request.work.writes and not request.bytecode.replaces_owned,
        limits=settings.limits,
    )


def _left_out(target: Target, root: str | None) -> tuple[Exclusion, ...]:
    """Returns what packages of this system, or of a root, ask not to compile."""
    if root is None and not os.path.isdir(BCEP):
        return ()
    from ...packages.bcep import read_exclusions  # few systems have any
    from ...packages.databases import Files

    files = Files()
    if root is not None:
        from ..scope.root_files import files_of  # imports what a hook of this system's never needs

        files = files_of(root)
    return read_exclusions(files, target.interpreter.version[:2])
