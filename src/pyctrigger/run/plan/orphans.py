"""What the planned removals leave empty: steps on the way up, from what was seen in each directory on the way down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tuples import NamedTuple
from .steps import Emptied

if TYPE_CHECKING:
    from collections.abc import Generator

    from ...tree.listing import PycListing, SourceListing
    from .steps import Step


class Seen(NamedTuple):
    """What stands in one directory, and what it needs."""

    sources: SourceListing | None
    """None where, with a pycache prefix, only the pycs are left."""
    pycs: PycListing | None
    removals: int
    """How many of the pycs go."""
    keeps_pycache: bool
    """Whether the `__pycache__` has a use, or is none."""


def emptied_directories(relative: str, seen: Seen, emptied: set[str], *, purges: bool) -> Generator[Step, None, bool]:
    """What becomes empty here: the `__pycache__`, and then the directory, never the site directory itself."""
    listing, pycs = seen.sources, seen.pycs
    if listing is None:
        return False
    barren = listing.is_barren and emptied.issuperset(listing.directories)
    pycache_goes = (
        pycs is not None
        and not pycs.directories
        and not seen.keeps_pycache
        and seen.removals == len(pycs.names)
        # An empty one may be what a purge that was killed has left.
        and (seen.removals > 0 or purges or (barren and relative != ""))
    )
    if pycache_goes:
        yield Emptied(relative, pycache=True)
    if relative and barren and (pycache_goes or (emptied and not listing.has_pycache)):
        yield Emptied(relative, pycache=False)
        return True
    return False


def emptied_prefix(relative: str, seen: Seen, emptied: set[str], *, purges: bool) -> Generator[Step, None, bool]:
    """With a pycache prefix only that tree's own directories become empty."""
    pycs = seen.pycs
    if not (relative and pycs and (seen.removals or emptied or purges)) or seen.keeps_pycache:
        return False
    if seen.removals + len(emptied) == len(pycs.names) + len(pycs.directories):
        yield Emptied(relative, pycache=True)
        return True
    return False
