"""Collects results for the tally and the observer. A place that can't be written is one line, not one for each file."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable

from ...outcome.observer import Observer
from ...outcome.outcome import Failure, Finding, Link, Tally
from ...state.records.manifest import Manifest
from ...state.records.record import identity_at
from ...tree.layout import Layout, Place, is_mounted_read_only, may_change
from ...tree.opened import Opened
from ...typed import TYPE_CHECKING
from ..scope.sites import reason_to_refuse
from .knowledge import Knowledge
from .steps import Removal, Stale, Step

if TYPE_CHECKING:
    from ...workers.pool import Apart


class _ReadOnly:
    """A directory that can't be written, with everything below it: a mount, or a whole tree."""

    def __init__(self, path: str, *, turned: bool, mounted: bool) -> None:
        self.path = path
        #: Whether it was writable when the run began.
        self.turned = turned
        #: Whether it was mounted read-only from the start. Directories below are checked: they may be other mounts.
        self.is_mounted = mounted and not turned
        #: Sources left without the bytecode that they need.
        self.left = 0


class Denial:
    """The topmost directory that this account may not write if it may not write the pycs of `relative`."""

    def __init__(self, layout: Layout, relative: str) -> None:
        top = layout.forbidden_top(relative)
        self.path = layout.pycs.describe(top)
        self._owner = layout.owner_of(top)
        #: The account that can't write there; None: our own.
        self._account = layout.pycs.account_at(top)
        #: Sources left without the bytecode that they need.
        self.left = 0

    def failure(self) -> Failure:
        """Returns what to report, once it is known how much was left."""
        left = f"; sources that were left: {self.left}" if self.left else ""
        owner, uid = self._owner, self._account.uid if self._account is not None else None
        needs_root = False
        if uid == owner:
            reason = f"account {uid}, whose it is, has no right to write here: chmod u+w it"
        elif uid is not None:
            reason = (
                f"it belongs to account {owner}, and account {uid}, in whose directory it lies, may not write here: "
                f"chown -R {uid} it"
            )
        elif owner == os.geteuid():
            reason = "its owner has no right to write here: chmod u+w it"
        else:
            needs_root, reason = True, f"you have no right to write here, account {owner} has"
        return Failure(self.path, "refused", reason + left, needs_root=needs_root)


class Results:
    """Collects what became of each file."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.tally = Tally()
        #: By layout, and by path relative to its pycs.
        self._read_only: dict[int, dict[str, _ReadOnly]] = {}
        self._seen_writable: dict[int, set[str]] = {}
        #: The places where this account may not write, by path; and the trees in which a system call said so.
        self._denials: dict[str, Denial] = {}
        self._denied: set[int] = set()
        #: By device: a tree that was written.
        self._written: dict[int, Layout] = {}
        #: Everything is read after this (nanoseconds since the epoch).
        self.began = time.time_ns()

    def note(self, layout: Layout, step: Step, knowledge: Knowledge | None = None) -> None:
        """Report what a step says, except changes. With `knowledge`, links won't be reported again."""
        tally, relative = self.tally, step.relative
        if not step.reports:
            return
        for name, reason in step.skipped:
            path = layout.describe_source(relative, name)
            if reason == "uncompilable":
                self.uncompilable(path)
            else:
                tally.counts.skipped += 1
                self.observer.skipped(path, reason)
        for pyc, source in step.owned:
            owned, path = layout.describe_pyc(relative, pyc), layout.describe_source(relative, source)
            tally.findings.append(Finding("stale", owned, path, True, "a package owns it"))
        tally.counts.skipped += len({source for _, source in step.owned})
        refused = [(layout.describe_source(relative, name), reason) for name, reason in step.refused]
        tally.failures += [Failure(path, "refused", reason) for path, reason in refused]
        tally.links += [Link(layout.describe_source(relative, name), goal) for name, goal in step.links]
        if knowledge is not None:
            tally.counts.failed += len(refused)
            links = [(*each, "refused") for each in step.refused] + [(*each, "link") for each in step.links]
            for name, reason, kind in links:
                with contextlib.suppress(OSError):
                    seen = identity_at(layout.sources.lstat(relative, name), self.began)
                    knowledge.learn_failure(layout.describe_source(relative, name), seen, b"", kind, reason)
        if step.forbidden is not None:
            tally.failures.append(Failure(layout.describe_source(relative), "refused", step.forbidden))
        if step.unexamined is not None:
            tally.unexamined.append(Failure(layout.describe_source(relative), "io", step.unexamined))

    def finish(self, place: Place, *names: str) -> None:
        """Note that nothing more is to be done for these sources, or, for an empty name, for the directory itself."""

    def set_apart(self, place: Place, stale: Stale, need: Apart) -> None:
        """Note that a source needs a worker of its own, which isn't to be had here."""

    def leave_slow(self, place: Place, stale: Stale) -> None:
        """Note that a source needs more time than there is here."""

    # -- places that can't be written ----------------------------------------------------------------------------

    def can_write(self, layout: Layout, relative: str) -> bool:
        """Whether the file system of a directory's pycs is writable, as far as is known."""
        return self._can_write(layout, relative, layout.nearest(relative))

    def may_write(self, layout: Layout, relative: str, sources: int = 0, *, is_bare: bool = False) -> bool:
        """Whether it is, and this account may write there; if not, this many sources are left."""
        nearest = layout.nearest(relative, is_bare=is_bare)
        if not self._can_write(layout, relative, nearest):
            if sources:
                self.leave(layout, relative, sources)
            return False
        if may_change(nearest):
            return True
        denial = Denial(layout, relative)
        self._denials.setdefault(denial.path, denial).left += sources
        self.tally.counts.failed += sources
        return False

    def still_writes(self, layout: Layout, relative: str) -> bool:
        """Whether nothing has shown otherwise since `can_write`."""
        found = self._found_read_only(layout, relative)
        return found is None or found.is_mounted

    def leave(self, layout: Layout, relative: str, sources: int) -> None:
        """Count sources left on a read-only file system: as skipped if it always was read-only, else as failed."""
        place = self._read_only_place(layout, relative)
        place.left += sources
        if place.turned:
            self.tally.counts.failed += sources
        else:
            self.tally.counts.skipped += sources

    def _can_write(self, layout: Layout, relative: str, nearest: Opened) -> bool:
        if not self.still_writes(layout, relative):
            return False
        if is_mounted_read_only(nearest):
            self._read_only_place(layout, relative)
            return False
        self._seen_writable.setdefault(id(layout), set()).add(layout.pycache(relative))
        return True

    def _found_read_only(self, layout: Layout, relative: str) -> _ReadOnly | None:
        known = self._read_only.get(id(layout))
        if known is None:
            return None
        pycache = layout.pycache(relative)
        return next((place for top, place in known.items() if _is_below(pycache, top)), None)

    def _read_only_place(self, layout: Layout, relative: str) -> _ReadOnly:
        """Returns the read-only place that contains a directory, and reports it once."""
        if known := self._found_read_only(layout, relative):
            return known
        top = layout.read_only_top(relative)
        seen = self._seen_writable.get(id(layout), ())
        mounted = layout.is_read_only(relative)
        turned = mounted and any(_is_below(pycache, top) for pycache in seen)
        place = _ReadOnly(layout.pycs.describe(top), turned=turned, mounted=mounted)
        self._read_only.setdefault(id(layout), {})[top] = place
        if not turned:
            self.tally.left_read_only = True
            self.tally.notices.append(f"{place.path} is on a read-only file system; nothing was changed there")
        return place

    # -- the end -------------------------------------------------------------------------------------------------

    def tell_places(self) -> None:
        """Report what was left for lack of rights, or because a file system turned read-only."""
        self.tally.failures += [denial.failure() for denial in self._denials.values()]
        self._denials.clear()
        for place in (place for known in self._read_only.values() for place in known.values() if place.turned):
            self.tally.is_interrupted = True
            reason = f"it became read-only during the run; sources that were left: {place.left}"
            self.tally.failures.append(Failure(place.path, "io", reason))

    def sync(self) -> bool:
        """Sync everything that was written to disk. Returns whether that succeeded."""
        if not self._written:
            return True
        from ...clibrary import sync_file_system  # an idle run never needs it

        is_synced = True
        for layout in self._written.values():
            try:
                sync_file_system(layout.pycs.directory(""))
            except OSError as error:
                self.io_failure(layout, "", layout.pycs.path, error)
                is_synced = False
        self._written.clear()
        return is_synced

    # -- what became of files ------------------------------------------------------------------------------------

    def remove(self, place: Place, removals: Iterable[Removal], manifest: Manifest) -> None:
        """Remove files from a directory of pycs; an orphan only if its source is gone at that moment."""
        from ...tree.sweep import remove_files  # an idle run never needs it

        kinds = {each.name: each.kind for each in removals}
        tried = {each.name for each in removals if each.was_tried}
        doomed = ((each.name, each.source if each.kind == "orphan" else None) for each in removals)
        for name, is_removed, error in remove_files(place.layout, place.relative, doomed):
            manifest.pycs.note(place.pyc_directory, name, None)
            if error is not None:
                self.io_failure(place.layout, place.relative, place.pyc(name), error)
                if not self.still_writes(place.layout, place.relative):
                    return
            elif is_removed or name in tried:
                self.tally.counts.removed += 1
                self.observer.removed(place.pyc(name), kinds[name])

    def wrote(self, layout: Layout) -> None:
        """Note that this tree was written to."""
        self._written[layout.pycs.identity[0]] = layout

    def io_failure(self, layout: Layout, relative: str, path: str, error: OSError, *, source: bool = False) -> None:
        """Report a system call that failed on a pyc or a directory of `relative`; if `source`, on a whole source."""
        if error.errno == errno.EROFS:
            self.leave(layout, relative, int(source))
            return
        self.tally.counts.failed += source
        reason, kind = error.strerror or str(error), "io"
        if error.errno in (errno.EACCES, errno.EPERM):
            # It is somebody else's tree: the first file is enough.
            if id(layout) in self._denied:
                return
            self._denied.add(id(layout))
            refusal = reason_to_refuse(layout.pycs.account_at(layout.pycache(relative)), error, path)
            if refusal is not None:
                kind, reason = "refused", refusal
            reason += f" (what else may not be written below {layout.pycs.path} is counted, not listed)"
        self.tally.failures.append(Failure(path, kind, reason))

    def unreadable(self, path: str, error: Exception) -> None:
        """Report a source that can't be read, unless it is gone."""
        from ...tree.source import SourceRefused  # an idle hook reads none

        if isinstance(error, SourceRefused):
            self.tally.fail(Failure(path, "refused", str(error)))
        elif isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            self.tally.fail(Failure(path, "io", error.strerror or str(error)))

    def uncompilable(self, path: str) -> None:
        """Report a source that is known not to compile, and was announced before."""
        self.tally.counts.skipped += 1
        self.tally.findings.append(Finding("uncompilable", None, path, known=True))


def _is_below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(top + "/")
