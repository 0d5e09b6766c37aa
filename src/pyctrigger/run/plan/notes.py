"""What a look sees of the parts of a site directory, for the next hook's glance.

A part is served when a look at it finds nothing to do. What a run couldn't do counts as done as well, if a second look
finds all of it as it was when the run began: trying again would end in the same way, and what failed for the moment is
in the journal.
"""

from __future__ import annotations

import os
import stat
import struct
import time
from collections.abc import Iterable

from ...stamps import stamp_of
from ...state.records.parts import ABSENT, CLOSED, LINK, PACKED, PREFIXED, READ_ONLY, TOP, Part
from ...state.records.record import is_older
from ...tree.layout import Layout
from .steps import SeenPart, Step

#: Bytes of a path below a site directory. Import paths end at PATH_MAX.
_LONGEST = 4000
#: Bytes of names and identities that are held of a part; whoever owns a tree decides how many it has. A part with more
#: is looked at each time.
_MOST_HELD = 16 << 20
_NOTHING = PACKED.pack(*ABSENT)
_READ_ONLY = PACKED.pack(*READ_ONLY)


class Notes:
    """What one look sees of the parts of one site directory, one after the other. With `again` the run is done."""

    def __init__(self, layout: Layout, began: int, *, again: bool = False) -> None:
        self._layout = layout
        #: Nanoseconds since the epoch.
        self._began = began
        self.again = again
        self._name: str | None = None
        self._entries: dict[str, bytes] = {}
        self._is_old = self._is_untouched = self._needs = self._is_there = False
        self._when = 0
        self._until: float | None = None
        self._owned: list[str] = []
        #: Bytes of what is held about this part.
        self._size = 0

    def begin(self, name: str) -> SeenPart | None:
        """Go on with another part, by the first component of its paths; "" is the modules directly here.

        Returns the one before.
        """
        seen = self.end()
        self._name = name
        self._entries, self._owned, self._until, self._size = {}, [], None, 0
        self._is_old = self._is_untouched = True
        self._needs = False
        self._is_there = not name
        self._when = time.time_ns()
        return seen

    def end(self) -> SeenPart | None:
        """Return the part that has been looked at, if there is anything to say of it."""
        name, self._name = self._name, None
        owned = tuple(self._owned)
        if name is None or not (self._is_there or owned):
            return None
        is_served = self._is_old and (not self._needs or (self.again and self._is_untouched))
        # A glance goes by directories: the note of anything else it would forget every time.
        if self._is_there and self._entries and is_served:
            return SeenPart(name, Part.of(self._entries, self._until, owned), is_served=True)
        return SeenPart(name, Part(owned=owned), is_served=False)

    # -- what a look sees, in its order --------------------------------------------------------------------------

    def unchanged(self, relative: str, seen: bytes) -> None:
        """A directory is as it was when it needed nothing: its identity, and its `__pycache__`'s if it has one."""
        self._is_there = True
        self._enter(relative or TOP, seen[: PACKED.size])
        if len(seen) > PACKED.size:
            self._enter(self._layout.pycache(relative), seen[PACKED.size :])

    def directory(self, relative: str) -> None:
        """A directory is about to be listed."""
        above, _, name = relative.rpartition("/")
        try:
            sources = self._layout.sources
            status = sources.lstat(above, name) if relative else os.fstat(sources.directory(""))
        except OSError:
            self._enter(relative or TOP, _NOTHING)
        else:
            self._is_there |= stat.S_ISDIR(status.st_mode)
            self._take(relative or TOP, status)

    def pycache(self, relative: str, descriptor: int | None) -> None:
        """The directory of its pycs is about to be listed, or isn't there."""
        name = self._layout.pycache(relative)
        if self._layout.has_prefix:
            name = PREFIXED + name
        if descriptor is None:
            self._enter(name, _NOTHING)
        else:
            self._is_there = True
            self._take(name, os.fstat(descriptor))

    def link(self, relative: str, name: str, status: os.stat_result | None) -> None:
        """A link leads to this source, or to nothing."""
        path = LINK + (f"{relative}/{name}" if relative else name)
        if status is None:
            self._enter(path, _NOTHING)
        else:
            self._take(path, status)

    def step(self, step: Step) -> None:
        """A step of the plan for this part."""
        if not step.is_needed:
            return
        self._leave(step.relative, (pyc for pyc, _ in step.owned))
        if not (step.would_change or step.refused or step.unexamined or step.forbidden):
            return  # what is left is told, and then stays as it is
        self._is_untouched &= all(is_older(stale.status, self._began) for stale in step.stale)
        self.need(step.relative)

    def need(self, relative: str) -> None:
        """Something is left to do in a directory, by whomever."""
        self._needs = True
        if self.again and self._layout.is_read_only(relative):
            self._enter(CLOSED + relative, _READ_ONLY)

    def _leave(self, relative: str, owned: Iterable[str]) -> None:
        self._owned += (self._layout.describe_pyc(relative, pyc) for pyc in owned)

    def wait(self, relative: str, owned: Iterable[str], until: float | None) -> None:
        """Some pycs should go, but are left to the packages that own them; some are to go at a time, but not yet."""
        self._leave(relative, owned)
        if until is not None:
            self._until = min(until, self._until or until)

    def _take(self, name: str, status: os.stat_result) -> None:
        self._is_old &= is_older(status, self._when)
        self._is_untouched &= is_older(status, self._began)
        try:
            self._enter(name, PACKED.pack(*stamp_of(status)))
        except struct.error:
            self._is_old = False  # of no time that can be told

    def _enter(self, name: str, seen: bytes) -> None:
        if len(name) >= _LONGEST:
            return
        self._size += len(name) + len(seen)
        if self._size > _MOST_HELD:
            self._entries, self._is_old = {}, False
        else:
            self._entries[name] = seen
