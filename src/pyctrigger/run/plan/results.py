"""Where results go while work is done: into the tally, and to the observer; a read-only place is one line in it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Mapping

from ...outcome.observer import Observer
from ...outcome.outcome import Failure, Finding, Link, Tally
from ...state.records.manifest import Manifest
from ...state.records.record import identity_at
from ...tree.layout import Layout, Place
from ..scope.sites import reason_to_refuse
from .knowledge import Knowledge
from .steps import Step


class _ReadOnly:
    """A directory that can't be written, with all below it: a mount of its own, or a whole tree."""

    def __init__(self, path: str, *, turned: bool, mounted: bool) -> None:
        self.path = path
        #: Whether it could be written when the run began.
        self.turned = turned
        #: Whether it was so from the start, by its mount: each directory below can be asked, and may be another mount.
        self.is_mounted = mounted and not turned
        #: Sources left without the bytecode that they need.
        self.left = 0


class Results:
    """Takes in what became of each file."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.tally = Tally()
        #: By layout, and by path relative to its pycs.
        self._read_only: dict[int, dict[str, _ReadOnly]] = {}
        self._seen_writable: dict[int, set[str]] = {}
        self._denied: set[int] = set()
        self._denials: Denials | None = None
        self._written: dict[tuple[int, int], Layout] = {}
        #: What is read or looked at is so after this (nanoseconds since the epoch).
        self.began = time.time_ns()

    def note(self, layout: Layout, step: Step, knowledge: Knowledge) -> None:
        """Take in what a step says, but for what is to be changed."""
        tally, relative = self.tally, step.relative
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
        for name, reason in step.refused:
            tally.fail(Failure(layout.describe_source(relative, name), "refused", reason))
            self._remember_link(layout, relative, name, knowledge, "refused", reason)
        for name, goal in step.links:
            tally.links.append(Link(layout.describe_source(relative, name), goal))
            self._remember_link(layout, relative, name, knowledge, "link", goal)
        if step.forbidden is not None:
            tally.failures.append(Failure(layout.describe_source(relative), "refused", step.forbidden))
        if step.unexamined is not None:
            tally.unexamined.append(Failure(layout.describe_source(relative), "io", step.unexamined))

    def _remember_link(
        self, layout: Layout, relative: str, name: str, knowledge: Knowledge, kind: str, reason: str
    ) -> None:
        with contextlib.suppress(OSError):
            seen = identity_at(layout.sources.lstat(relative, name), self.began)
            knowledge.learn_refusal(layout.describe_source(relative, name), seen, kind, reason)

    def can_write(self, layout: Layout, relative: str) -> bool:
        """Whether the file system takes writes where the pycs of a directory are, as far as is known."""
        if not self.still_writes(layout, relative):
            return False
        if layout.is_read_only(relative):
            if self._found_read_only(layout, relative) is None:
                self._note_read_only(layout, relative)
            return False
        self._seen_writable.setdefault(id(layout), set()).add(layout.pycache(relative))
        return True

    def may_write(self, layout: Layout, relative: str, sources: int = 0) -> bool:
        """The same, and whether this account has the right to; if not, so many sources are left."""
        if not self.can_write(layout, relative):
            if sources:
                self.leave(layout, relative, sources)
            return False
        if layout.may_write(relative):
            return True
        if self._denials is None:
            self._denials = Denials(self.tally)
        self._denials.note(layout, relative, sources)
        return False

    def still_writes(self, layout: Layout, relative: str) -> bool:
        """Whether nothing has said otherwise since `can_write`."""
        found = self._found_read_only(layout, relative)
        return found is None or found.is_mounted

    def leave(self, layout: Layout, relative: str, sources: int) -> None:
        """Count sources that a read-only file system keeps from their bytecode: no fault, where it always was."""
        place = self._found_read_only(layout, relative) or self._note_read_only(layout, relative)
        place.left += sources
        if place.turned:
            self.tally.counts.failed += sources
        else:
            self.tally.counts.skipped += sources

    def _found_read_only(self, layout: Layout, relative: str) -> _ReadOnly | None:
        known = self._read_only.get(id(layout))
        if known is None:
            return None
        pycache = layout.pycache(relative)
        return next((place for top, place in known.items() if _is_below(pycache, top)), None)

    def _note_read_only(self, layout: Layout, relative: str) -> _ReadOnly:
        """Say once that nothing can be written here, not once for each file."""
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

    def tell_places(self) -> None:
        """Say what was left for lack of rights, or as a file system turned read-only."""
        if self._denials is not None:
            self._denials.tell()
        for known in self._read_only.values():
            for place in known.values():
                if place.turned:
                    self.tally.is_interrupted = True
                    reason = f"it turned read-only in the middle of the work; sources that were left: {place.left}"
                    self.tally.failures.append(Failure(place.path, "io", reason))

    def remove(
        self, place: Place, doomed: Iterable[tuple[str, str | None]], manifest: Manifest, reasons: Mapping[str, str]
    ) -> None:
        """Remove pycs of a directory, each with the source that has to be gone, or None; `reasons` is by name."""
        from ...tree.sweep import remove_files  # an idle run never needs it

        for name, is_removed, error in remove_files(place.layout, place.relative, doomed):
            manifest.pycs.note(place.pyc_directory, name, None)
            if error is not None:
                self.io_failure(place.layout, place.relative, place.pyc(name), error)
                if not self.still_writes(place.layout, place.relative):
                    return
            elif is_removed:
                self.tally.counts.removed += 1
                self.observer.removed(place.pyc(name), reasons[name])

    def wrote(self, layout: Layout) -> None:
        """Something was written into this tree."""
        self._written[layout.pycs.identity] = layout

    def sync(self) -> bool:
        """Bring everything that was written to the disk; only if that is so anybody may say that it is there."""
        from ...tree.durability import sync_file_system

        is_synced = True
        devices: dict[int, Layout] = {device: layout for (device, _), layout in self._written.items()}
        for layout in devices.values():
            try:
                sync_file_system(layout.pycs.directory(""))
            except OSError as error:
                self.io_failure(layout, "", layout.pycs.path, error)
                is_synced = False
        self._written.clear()
        return is_synced

    def io_failure(self, layout: Layout, relative: str, path: str, error: OSError, *, source: bool = False) -> None:
        """A system call failed over a pyc or a directory of `relative`, or, if `source`, over a whole source."""
        if error.errno == errno.EROFS:
            self.leave(layout, relative, int(source))
            return
        reason, kind = error.strerror or str(error), "io"
        if error.errno in (errno.EACCES, errno.EPERM):
            # Somebody else's tree: the first file says it for all of them.
            if id(layout) in self._denied:
                self.tally.counts.failed += source
                return
            self._denied.add(id(layout))
            refusal = reason_to_refuse(layout.pycs.account_at(layout.pycache(relative)), error, path)
            if refusal is not None:
                kind, reason = "refused", refusal
            reason += f" (what else may not be written below {layout.pycs.path} is counted, not listed)"
        failure = Failure(path, kind, reason)
        if source:
            self.tally.fail(failure)
        else:
            self.tally.failures.append(failure)

    def uncompilable(self, path: str) -> None:
        """A source that is known not to compile: it was announced before."""
        self.tally.counts.skipped += 1
        self.tally.findings.append(Finding("uncompilable", None, path, known=True))


def _is_below(path: str, top: str) -> bool:
    return not top or path == top or path.startswith(top + "/")


class Denials:
    """Notes where nothing may be written, before anything is tried there."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        #: Sources that were left without the bytecode that they need, by the path of the place.
        self._left: dict[str, int] = {}
        self._owners: dict[str, int] = {}
        #: As whom nothing can be written there, by the path of the place.
        self._accounts: dict[str, int] = {}

    def note(self, layout: Layout, relative: str, sources: int = 0) -> None:
        """The pycs of a directory may not be written, and so many sources need some."""
        top = layout.forbidden_top(relative)
        path = layout.pycs.describe(top)
        self._left[path] = self._left.get(path, 0) + sources
        self._owners.setdefault(path, layout.owner_of(top))
        account = layout.pycs.account_at(top)
        if account is not None:
            self._accounts[path] = account.uid
        self._tally.counts.failed += sources

    def tell(self) -> None:
        """Make failures of them, once it is known how much was left."""
        for path, sources in self._left.items():
            left = f"; sources that were left: {sources}" if sources else ""
            account = self._accounts.get(path)
            failure = (
                _failure(path, self._owners[path], left)
                if account is None
                else Failure(path, "refused", refusal_of(account, self._owners[path], left))
            )
            self._tally.failures.append(failure)
        self._left.clear()


def denials_of(places: list[tuple[Layout, str]]) -> list[Failure]:
    """The failures of directories of which nothing was tried yet."""
    tally = Tally()
    denials = Denials(tally)
    for layout, relative in places:
        denials.note(layout, relative)
    denials.tell()
    return tally.failures


def refusal_of(account: int, owner: int, left: str = "") -> str:
    """Why an account may not write below a directory of its own, where only it writes, and what can be done."""
    if account == owner:
        return f"account {account}, whose it is, has no right to write here: chmod u+w it{left}"
    return (
        f"it belongs to account {owner}, and account {account}, in whose directory it lies, may not write here: "
        f"chown -R {account} it{left}"
    )


def _failure(path: str, owner: int, left: str) -> Failure:
    if owner == os.geteuid():
        return Failure(path, "refused", f"its owner has no right to write here: chmod u+w it{left}")
    return Failure(path, "refused", f"you have no right to write here, account {owner} has{left}", needs_root=True)
