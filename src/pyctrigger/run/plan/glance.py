"""A hook's glance at its whole scope: the parts that aren't as they were when nothing more could be done for them.

It repairs what no hook was called for: a transaction that failed midway, or a trigger that another one stopped. One
stat() for each directory shows whether a name in it was added, removed or replaced, which is how package managers
change files. It doesn't show that a file was rewritten in place.

Each run records what the next hook compares. A part is done when nothing in it needs work. What a run couldn't do
counts as done as well, if a second look finds everything as it was when the run began: trying again would end in the
same way, and what failed only for the moment is in the journal.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from collections.abc import Callable, Iterable, Iterator

from ...errors import name_few
from ...interpreter.scope import PACKAGE_DIRECTORIES, SiteDirectory
from ...pyc.names import PYCACHE
from ...stamps import inode_of, stamp_of
from ...state.records.parts import ABSENT, CLOSED, LINK, PREFIXED, READ_ONLY, TOP, Part, Parts
from ...state.records.record import PACKED, is_older
from ...tree.identity import ForeignPlaceError
from ...tree.layout import Layout
from ..scope.paths import Units, units_for
from ..scope.sites import OpenSites
from ..scope.target import Assignment
from .steps import SeenPart, Step
from .wanted import Wanted

#: Parts to name. With more of them, everything is examined.
_MOST_PARTS = 1000
#: Pycs to name.
_FEW = 3
_SKIPPED = frozenset({PYCACHE})
#: Bytes of a path below a site directory. Import paths end at PATH_MAX.
_LONGEST = 4000
#: Bytes of names and identities that are kept for a part, since its owner decides how many it has. A part with more is
#: examined each time.
_MOST_HELD = 16 << 20
#: Directories from which on another process may look at them: it takes as long to start as to look at so many.
_MANY = 1500
_SLASH = ord("/")
_NOTHING = PACKED.pack(*ABSENT)
_READ_ONLY = PACKED.pack(*READ_ONLY)


class Overview:
    """What is known about the parts of a target's scope, and what one run adds."""

    def __init__(self, own: Assignment, wanted: Wanted, parts: Parts) -> None:
        self._target, request, _ = own
        self._prefix = request.scope.pycache_prefix
        self._wanted = wanted
        self._parts = parts
        #: Nanoseconds since the epoch.
        self.began = time.time_ns()
        #: Whether the run is a hook, which has already had its glance.
        self.is_hook = request.running.hook
        #: Whether it had one: without notes of earlier runs it would look at everything each time.
        self.has_glanced = self.is_hook and parts.are_kept
        #: By site directory: the parts that needed something when they were looked at.
        self.unfinished: dict[str, list[str]] = {}
        self._owned: list[str] = []
        self._terms = {site.path: self._terms_of(site.path) for site in self._target.sites}

    # -- the glance ----------------------------------------------------------------------------------------------

    def changed(self, sites: OpenSites, soon: Callable[[int], None] | None = None) -> Units | None:
        """Returns the parts to examine, or None for everything.

        `soon` is called where a package has come or changed, with the owner of the site directory, while there is still
        more to look at: most likely something of it is to be compiled. Raises ForeignPlaceError where only another
        account can find out.
        """
        for error in sites.find_foreign().values():
            raise error
        places: list[_Place] = []
        for site, layout in sites.layouts:
            with _unless_foreign():
                names = self._names(site, layout, sites.identities)
                terms = self._terms[site.path]
                known = self._parts.of(site.path, terms)
                for name in known.keys() - set(names):
                    self._parts.forget(site.path, terms, name)
                places.append(_Place(site.path, layout, names, known))
        found: Units = {}
        count = most = 0
        for place, changed in zip(places, _changed(places, soon)):
            most += len(place.names)
            if changed:
                count += len(changed)
                found[place.site] = units_for([name for name in place.names if name in changed])
        return None if count and (count == most or count > _MOST_PARTS) else found

    def _names(self, site: SiteDirectory, layout: Layout, others: frozenset[tuple[int, int]]) -> list[str]:
        """Returns the parts that exist in a site directory."""
        skipped = _SKIPPED | PACKAGE_DIRECTORIES if site.is_stdlib else _SKIPPED
        names = set(layout.sources.directories_in(""))
        if layout.has_prefix:
            with contextlib.suppress(OSError):
                names.update(layout.pycs.directories_in(layout.pycache("")))
        if len(others) > 1:
            names = {name for name in names if _inode(layout, name) not in others}
        return ["", *sorted(names - skipped)]

    def _terms_of(self, site: str) -> str:
        """Returns what decides whether a part needs something: with other options, or another scope, it may."""
        wanted, top = self._wanted, site.rstrip("/") + "/"
        nested = sorted(other.path for other in self._target.sites if other.path.startswith(top))
        limits, prefix = sorted(wanted.limits.items()), self._prefix
        return repr((wanted.terms, wanted.keep_owned, wanted.trust_all_directories, limits, prefix, nested))

    # -- what a look has seen ------------------------------------------------------------------------------------

    def learn(self, site: str, seen: SeenPart) -> None:
        """Record what was seen of a part of a site directory."""
        name, part, is_done = seen
        if not is_done:
            self.unfinished.setdefault(site, []).append(name)
        terms = self._terms[site]
        if not self.is_hook and self._parts.has_other(site, terms):
            return  # a person's options are no reason for the next hook to look at everything
        reported = self._parts.owned_in(site, terms, name)
        self._owned += [path for path in part.owned if path not in reported]
        if part == Part():
            self._parts.forget(site, terms, name)
        else:
            self._parts.note(site, terms, name, part)

    def left_to_packages(self) -> str | None:
        """Returns one line about pycs of packages that weren't reported before, or None."""
        paths = sorted(self._owned)
        if not paths:
            return None
        return (
            f"{len(paths)} {'pyc' if len(paths) == 1 else 'pycs'}, stale or without a source, stay as their packages "
            f"made them: {name_few(paths, _FEW)}; a package's next version brings new ones, and "
            'owned_stale = "replace" in the configuration has stale ones rewritten'
        )


class Notes:
    """Records the parts of a site directory, one after the other. With `again`, the run has done what it could."""

    def __init__(self, layout: Layout, began: int, *, again: bool = False) -> None:
        self._layout = layout
        #: Nanoseconds since the epoch.
        self._began = began
        self.again = again
        self.begin("")

    def begin(self, name: str) -> None:
        """Start with another part, by the first component of its paths; "" stands for the modules directly here."""
        self._name = name
        self._when = time.time_ns()
        self._entries: dict[str, bytes] = {}
        self._owned: list[str] = []
        self._until: float | None = None
        self._is_old = self._is_untouched = True
        self._needs, self._is_there = False, not name
        #: Bytes of what is kept for this part.
        self._size = 0

    def end(self) -> SeenPart | None:
        """Returns the part that was examined, if there is anything to record."""
        name, owned = self._name, tuple(self._owned)
        if not (self._is_there or owned):
            return None
        is_done = self._is_old and (not self._needs or (self.again and self._is_untouched))
        # A glance lists directories, and drops the notes of anything else.
        if self._is_there and self._entries and is_done:
            return SeenPart(name, Part.of(self._entries, self._until, owned), is_done=True)
        return SeenPart(name, Part(owned=owned), is_done=False)

    # -- what a look sees, in its order --------------------------------------------------------------------------

    def unchanged(self, relative: str, seen: bytes) -> None:
        """A directory is as it was when it needed nothing: its identity, and its `__pycache__`'s if it has one."""
        self._is_there = True
        self._enter(relative or TOP, seen[: PACKED.size])
        if len(seen) > PACKED.size:
            self._enter(self._layout.pycache(relative), seen[PACKED.size :])

    def directory(self, relative: str, status: os.stat_result | None) -> None:
        """A directory with this status is about to be listed; None if it can't be opened."""
        if status is None:
            above, _, name = relative.rpartition("/")
            with contextlib.suppress(OSError):
                status = self._layout.sources.lstat(above, name)
        self._is_there |= status is not None and stat.S_ISDIR(status.st_mode)
        self._take(relative or TOP, status)

    def pycache(self, relative: str, descriptor: int | None) -> None:
        """The directory of its pycs is about to be listed, or isn't there."""
        name = self._layout.pycache(relative)
        if self._layout.has_prefix:
            name = PREFIXED + name
        self._is_there |= descriptor is not None
        self._take(name, os.fstat(descriptor) if descriptor is not None else None)

    def link(self, relative: str, name: str, status: os.stat_result | None) -> None:
        """A link leads to this source, or to nothing."""
        self._take(LINK + (f"{relative}/{name}" if relative else name), status)

    def step(self, step: Step) -> None:
        """A step of the plan for this part."""
        if not step.is_needed:
            return
        if step.owned:
            self._owned += (self._layout.describe_pyc(step.relative, pyc) for pyc, _ in step.owned)
        if not (step.would_change or step.refused or step.unexamined or step.forbidden):
            return  # what is left is reported once, and stays as it is
        if self.again:
            self._is_untouched &= all(each.status and is_older(each.status, self._began) for each in step.stale)
        self.need(step.relative)

    def need(self, relative: str) -> None:
        """Something is left to do in a directory."""
        self._needs = True
        if self.again and self._layout.is_read_only(relative):
            self._enter(CLOSED + relative, _READ_ONLY)

    def wait(self, relative: str, owned: Iterable[str], until: float | None) -> None:
        """Some pycs aren't removed because packages own them, and others not before a certain time."""
        self._owned += (self._layout.describe_pyc(relative, pyc) for pyc in owned)
        if until is not None:
            self._until = min(until, self._until or until)

    def _take(self, name: str, status: os.stat_result | None) -> None:
        if self._needs and not self.again:
            return  # of a part that needs something, nothing is recorded
        if status is None:
            self._enter(name, _NOTHING)
            return
        self._is_old &= is_older(status, self._when)
        self._is_untouched &= is_older(status, self._began)
        try:
            self._enter(name, PACKED.pack(*stamp_of(status)))
        except struct.error:
            self._is_old = False  # its time can't be stored

    def _enter(self, name: str, seen: bytes) -> None:
        if len(name) >= _LONGEST:
            return
        self._size += len(name) + len(seen)
        if self._size > _MOST_HELD:
            self._entries, self._is_old = {}, False
        else:
            self._entries[name] = seen


class _Place:
    """A site directory to look at, with its parts and their notes."""

    def __init__(self, site: str, layout: Layout, names: list[str], known: dict[str, Part]) -> None:
        self.site = site
        self.layout = layout
        self.names = names
        self.known = known
        #: The parts that have no note.
        self.new = [name for name in names if name not in known]


def _changed(places: list[_Place], soon: Callable[[int], None] | None) -> list[set[str]]:
    """Returns the new and changed parts of each place. While there is something to start, another process looks."""
    found = None
    if soon is not None and (owners := [place.layout.sources.owner for place in places if any(place.new)]):
        answer = _look_aside(places)
        for owner in owners:
            soon(owner)
        found = answer() if answer is not None else None
    if found is None:
        found = [_look(place, soon) for place in places]
    return [{*place.new, *changed} for place, changed in zip(places, found)]


def _look_aside(places: list[_Place]) -> Callable[[], list[list[str]] | None] | None:
    """Have another process look, if that is worth its start, and there is a processor for it. Returns what waits."""
    entries = sum(len(part.seen) for place in places for part in place.known.values()) // PACKED.size
    if entries < _MANY or _count_processors() < 2:
        return None
    from ...aside import Aside  # an idle hook needs none

    try:
        return Aside(lambda: [_look(place) for place in places]).answer
    except OSError:
        return None


def _count_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _look(place: _Place, soon: Callable[[int], None] | None = None) -> list[str]:
    """Returns the changed parts among those that are known. Raises ForeignPlaceError."""
    changed: list[str] = []
    now = time.time()
    with _unless_foreign():
        for name in place.names:
            part = place.known.get(name)
            if part is None or ((part.until is None or part.until > now) and _is_as_it_was(part, place.layout, name)):
                continue
            changed.append(name)
            if name and soon is not None:  # the site directory itself also changes when something goes
                soon(place.layout.sources.owner)
    return changed


@contextlib.contextmanager
def _unless_foreign() -> Iterator[None]:
    """Pass over what can't be looked at: whoever looks there says why. Raises ForeignPlaceError."""
    try:
        yield
    except ForeignPlaceError:
        raise
    except OSError:
        pass


def _inode(layout: Layout, name: str) -> tuple[int, int] | None:
    try:
        status = layout.sources.lstat("", name)
    except OSError:
        return None
    return inode_of(status)


def _is_as_it_was(part: Part, layout: Layout, name: str) -> bool:
    """Whether all directories are what they were; each is reached by way of those that were just seen to be.

    Those of a part that was as it should be are all of one account.
    """
    tree = layout.sources
    with tree.entered(""):
        found = _are_as_they_were(part, layout, judged=tree.is_judged and tree.account_at("") is None)
    if found is not None:
        return found
    try:
        with tree.entered(name):
            return bool(_are_as_they_were(part, layout, judged=False))
    except ForeignPlaceError:
        raise
    except OSError:
        return False


def _are_as_they_were(part: Part, layout: Layout, *, judged: bool) -> bool | None:
    """The same; None if `judged` and another account's directory is among them."""
    sources, pycs = layout.sources.directory(""), layout.pycs.directory("")
    try:
        for name, seen in part.entries():
            if name[0] != _SLASH:
                try:
                    status = os.stat(name, dir_fd=sources, follow_symlinks=False)
                    if status.st_uid and judged:
                        return None
                    found = stamp_of(status)
                except OSError:
                    found = ABSENT
            else:
                found = _found(layout, os.fsdecode(name), pycs)
            if found != seen:
                return False
    except ValueError:
        return False
    return True


def _found(layout: Layout, name: str, pycs: int) -> tuple[int, ...]:
    """Returns the identity of what isn't a directory in the site directory."""
    from ...tree.source import SourceRefused, source_status  # few notes have such names

    try:
        if name.startswith(CLOSED):
            return READ_ONLY if layout.is_read_only(name[len(CLOSED) :]) else ABSENT
        if name.startswith(LINK):
            above, _, last = name[len(LINK) :].rpartition("/")
            found: tuple[int, ...] = stamp_of(source_status(layout.sources, above, last))
        else:
            found = stamp_of(os.stat(name[len(PREFIXED) :], dir_fd=pycs, follow_symlinks=False))
    except (OSError, SourceRefused):
        return ABSENT
    return found


def paths_of(units: Units) -> tuple[str, ...]:
    """Returns paths that stand for parts, as a hook would name them."""
    return tuple(
        # By the site directory itself, most managers mean everything in it.
        f"{site.rstrip('/')}/{unit.relative or PYCACHE}"
        for site, found in units.items()
        for unit in found
    )
