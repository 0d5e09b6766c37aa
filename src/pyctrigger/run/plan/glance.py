"""A hook's glance at its whole scope: the parts that aren't as they were when nothing more could be done for them.

It heals what no hook was told of: a transaction that failed midway, a trigger that another one stopped. One status a
directory tells that a name in it came, went or was replaced, which is how package managers change files; a file that
was rewritten in place leaves its directory as it was.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator

from ...interpreter.scope import PACKAGE_DIRECTORIES, SiteDirectory
from ...pyc.names import PYCACHE
from ...stamps import inode_of, stamp_of
from ...state.records.parts import ABSENT, CLOSED, LINK, PREFIXED, READ_ONLY, Part, Parts
from ...tree.identity import ForeignPlaceError
from ...tree.layout import Layout
from ..scope.paths import Units, units_for
from ..scope.request import Request
from ..scope.sites import OpenSites
from ..scope.target import Target
from .notes import Notes
from .steps import SeenPart
from .wanted import Wanted

#: Parts to name: of more, everything is looked at.
_MOST_PARTS = 1000
#: Pycs to name.
_FEW = 3
_SKIPPED = frozenset({PYCACHE})


class Overview:
    """What is known of the parts of one target's scope, and what one run learns of them."""

    def __init__(self, target: Target, request: Request, wanted: Wanted, parts: Parts) -> None:
        self._target = target
        self._request = request
        self._wanted = wanted
        self._parts = parts
        self._began = time.time_ns()
        self._unserved: dict[str, list[str]] = {}
        self._owned: list[str] = []
        self._terms_of: dict[str, str] = {}

    # -- the glance ----------------------------------------------------------------------------------------------

    def changed(self, sites: OpenSites) -> Units | None:
        """The parts to look at; None for everything.

        Raises ForeignPlaceError where only an account that we don't act as can tell.
        """
        for error in sites.find_foreign().values():
            raise error
        found: Units = {}
        count = most = 0
        others = sites.identities
        for site, layout in sites.layouts:
            with _told_by_who_looks():
                names = self._names(site, layout, others)
                most += len(names)
                if changed := list(self._changed(site, layout, names)):
                    count += len(changed)
                    found[site.path] = units_for(changed)
        return None if count and (count == most or count > _MOST_PARTS) else found

    def _names(self, site: SiteDirectory, layout: Layout, others: frozenset[tuple[int, int]]) -> list[str]:
        """The parts of a site directory that are there."""
        skipped = _SKIPPED | PACKAGE_DIRECTORIES if site.is_stdlib else _SKIPPED
        names = set(layout.sources.directories_in(""))
        if layout.has_prefix:
            with contextlib.suppress(OSError):
                names.update(layout.pycs.directories_in(layout.pycache("")))
        if len(others) > 1:
            names = {name for name in names if _inode(layout, name) not in others}
        return ["", *sorted(names - skipped)]

    def _changed(self, site: SiteDirectory, layout: Layout, names: list[str]) -> Iterator[str]:
        terms = self._terms(site.path)
        known = self._parts.of(site.path, terms)
        now = time.time()
        for name in names:
            part = known.pop(name, None)
            if part is None or (part.until is not None and part.until <= now) or not _is_as_it_was(part, layout, name):
                yield name
        for name in known:
            self._parts.forget(site.path, terms, name)

    def _terms(self, site: str) -> str:
        """Under other options, or another scope, a part may need something."""
        known = self._terms_of.get(site)
        if known is None:
            top = site.rstrip("/") + "/"
            nested = sorted(other.path for other in self._target.sites if other.path.startswith(top))
            wanted = self._wanted
            known = self._terms_of[site] = repr(
                (
                    wanted.terms,
                    wanted.keep_owned,
                    wanted.trust_all_directories,
                    sorted(wanted.limits.items()),
                    self._request.scope.pycache_prefix,
                    nested,
                )
            )
        return known

    # -- what a look has seen ------------------------------------------------------------------------------------

    @property
    def is_hooks(self) -> bool:
        """Whether it is a hook's, whose glance has seen all that is told in a moment."""
        return self._request.running.hook

    def notes(self, layout: Layout, *, again: bool = False) -> Notes:
        """Where a look at a site directory keeps what it sees of a part; `again`, the run has done what it could."""
        return Notes(layout, self._began, again=again)

    def unserved(self, site: str) -> list[str]:
        """The parts of a site directory that needed something when they were looked at."""
        return self._unserved.get(site, [])

    def learn(self, site: str, seen: SeenPart) -> None:
        """Keep what was seen of a part of a site directory."""
        name, part, is_served = seen
        if not is_served:
            self._unserved.setdefault(site, []).append(name)
        terms = self._terms(site)
        if not self._request.running.hook and self._parts.has_other(site, terms):
            return  # a person's options are no reason for the next hook to look at everything
        told = self._parts.owned_in(site, terms, name)
        self._owned += [path for path in part.owned if path not in told]
        if part == Part():
            self._parts.forget(site, terms, name)
        else:
            self._parts.note(site, terms, name, part)

    def left_to_packages(self) -> str | None:
        """One line about the pycs that packages own and that nobody was told of."""
        paths = sorted(self._owned)
        if not paths:
            return None
        more = f" and {len(paths) - _FEW} more" if len(paths) > _FEW else ""
        return (
            f"{len(paths)} {'pyc' if len(paths) == 1 else 'pycs'}, stale or without a source, stay as their packages "
            f"made them: {', '.join(paths[:_FEW])}{more}; a package's next version brings new ones, and "
            'owned_stale = "replace" in the configuration has stale ones rewritten'
        )


def _inode(layout: Layout, name: str) -> tuple[int, int] | None:
    try:
        status = layout.sources.lstat("", name)
    except OSError:
        return None
    return inode_of(status)


@contextlib.contextmanager
def _told_by_who_looks() -> Iterator[None]:
    """Pass over what can't be looked at, unless others can."""
    try:
        yield
    except ForeignPlaceError:
        raise
    except OSError:
        pass


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
    """The same. None, if that is `judged`, where it may be for somebody else to tell."""
    sources, pycs = layout.sources.directory(""), layout.pycs.directory("")
    try:
        for name, seen in part.entries():
            if name[:1] != "/":
                try:
                    status = os.stat(name, dir_fd=sources, follow_symlinks=False)
                    if status.st_uid and judged:
                        return None
                    found = stamp_of(status)
                except OSError:
                    found = ABSENT
            else:
                found = _found(layout, name, pycs)
            if found != seen:
                return False
    except (ValueError, struct.error):
        return False
    return True


def _found(layout: Layout, name: str, pycs: int) -> tuple[int, ...]:
    """What isn't a directory of the site directory's own."""
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
    """Paths that stand for parts, as a hook would name them."""
    return tuple(
        # By the site directory itself, most managers mean everything in it.
        f"{site.rstrip('/')}/{unit.relative or PYCACHE}"
        for site, found in units.items()
        for unit in found
    )
