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
from typing import TYPE_CHECKING

from ...interpreter.scope import PACKAGE_DIRECTORIES
from ...pyc.names import PYCACHE
from ...stamps import inode_of, stamp_of
from ...state.records.parts import ABSENT, CLOSED, LINK, PREFIXED, READ_ONLY, Part
from ...tree.identity import ForeignPlaceError
from ..scope.target import open_layout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...interpreter.scope import SiteDirectory
    from ...state.records.parts import Parts
    from ...tree.layout import Layout
    from ..scope.request import Request
    from ..scope.target import Target
    from .notes import Notes
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

    # -- the glance ----------------------------------------------------------------------------------------------

    def changed(self) -> tuple[str, ...] | None:
        """Paths that stand for the parts to look at, as a hook would name them; None for everything.

        Raises ForeignPlaceError where only an account that we don't act as can tell.
        """
        paths: list[str] = []
        count = 0
        with contextlib.ExitStack() as stack:
            layouts = []
            for site in self._target.sites:
                with _told_by_who_looks():
                    layouts.append((site, stack.enter_context(open_layout(site, self._request))))
            others = {layout.sources.identity for _, layout in layouts}
            for site, layout in layouts:
                with _told_by_who_looks():
                    names = self._names(site, layout, others)
                    count += len(names)
                    # By the site directory itself, most managers mean everything in it.
                    paths += (
                        f"{site.path.rstrip('/')}/{name or PYCACHE}" for name in self._changed(site, layout, names)
                    )
        is_everything = paths and (len(paths) == count or len(paths) > _MOST_PARTS)
        return None if is_everything else tuple(paths)

    def _names(self, site: SiteDirectory, layout: Layout, others: set[tuple[int, int]]) -> list[str]:
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
        terms = self._terms(site)
        known = self._parts.of(site.path, terms)
        now = time.time()
        for name in names:
            part = known.pop(name, None)
            if part is None or (part.until is not None and part.until <= now) or not _is_as_it_was(part, layout, name):
                yield name
        for name in known:
            self._parts.forget(site.path, terms, name)

    def _terms(self, site: SiteDirectory) -> str:
        """Under other options, or another scope, a part may need something."""
        top = site.path.rstrip("/") + "/"
        nested = sorted(other.path for other in self._target.sites if other.path.startswith(top))
        wanted = self._wanted
        return repr(
            (
                wanted.terms,
                wanted.keep_owned,
                wanted.trust_all_directories,
                sorted(wanted.limits.items()),
                self._request.scope.pycache_prefix,
                nested,
            )
        )

    # -- taking down ---------------------------------------------------------------------------------------------

    def notes(self, site: str, layout: Layout, *, again: bool = False) -> Notes:
        """Where a look at a site directory takes down what it sees; `again`, the run has done what it could."""
        from .notes import Notes  # not for a glance

        return Notes(layout, self._began, again=again)

    def unserved(self, site: str) -> list[str]:
        """The parts of a site directory that needed something when they were looked at."""
        return self._unserved.get(site, [])

    def learn(self, site: SiteDirectory, notes: Notes) -> None:
        """Keep what was seen of a site directory."""
        terms = self._terms(site)
        self._unserved[site.path] = list(notes.unserved)
        if not self._request.running.hook and self._parts.has_other(site.path, terms):
            return  # a person's options are no reason for the next hook to look at everything
        known = self._parts.of(site.path, terms)
        for name, part in notes.parts():
            told = known.get(name, Part()).owned
            self._owned += [path for path in part.owned if path not in told]
            if part == Part():
                self._parts.forget(site.path, terms, name)
            else:
                self._parts.note(site.path, terms, name, part)

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
