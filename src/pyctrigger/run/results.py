"""Where results go while work is done: into the tally, and to the observer; a read-only tree is one line in it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .outcome import Failure, Finding, Tally

if TYPE_CHECKING:
    from ..tree.layout import Layout
    from .observer import Observer


class Results:
    """Takes in what became of each file."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.tally = Tally()
        self._read_only: set[int] = set()
        self._denied: set[int] = set()
        self._written: dict[tuple[int, int], Layout] = {}

    def can_write(self, layout: Layout) -> bool:
        """Whether the file system of the pycs takes writes, as far as is known."""
        if layout.is_read_only:
            self.read_only(layout)
        return id(layout) not in self._read_only

    def read_only(self, layout: Layout) -> None:
        """Say once that nothing can be written here, not once for each file."""
        if id(layout) not in self._read_only:
            self._read_only.add(id(layout))
            self.tally.notices.append(f"{layout.pycs.path} is on a read-only file system; nothing was changed there")

    def wrote(self, layout: Layout) -> None:
        """Something was written into this tree."""
        self._written[layout.pycs.identity] = layout

    def sync(self) -> bool:
        """Bring everything that was written to the disk; only if that is so anybody may say that it is there."""
        from ..tree.durability import sync_file_system

        settled = True
        devices: dict[int, Layout] = {device: layout for (device, _), layout in self._written.items()}
        for layout in devices.values():
            try:
                sync_file_system(layout.pycs.directory(""))
            except OSError as error:
                self.io_failure(layout, layout.pycs.path, error)
                settled = False
        self._written.clear()
        return settled

    def io_failure(self, layout: Layout, path: str, error: OSError, *, source: bool = False) -> None:
        """A system call failed over a pyc or a directory, or, if `source`, over a whole source."""
        if error.errno == errno.EROFS:
            self.read_only(layout)
            self.tally.counts.skipped += source
            return
        reason = error.strerror or str(error)
        if error.errno in (errno.EACCES, errno.EPERM):
            # Somebody else's tree: the first file says it for all of them.
            if id(layout) in self._denied:
                self.tally.counts.failed += source
                return
            self._denied.add(id(layout))
            reason += f" (what else may not be written below {layout.pycs.path} is counted, not listed)"
        failure = Failure(path, "io", reason)
        if source:
            self.tally.fail(failure)
        else:
            self.tally.failures.append(failure)

    def uncompilable(self, path: str) -> None:
        """A source that is known not to compile: it was announced before."""
        self.tally.counts.skipped += 1
        self.tally.findings.append(Finding("uncompilable", None, path, known=True))
