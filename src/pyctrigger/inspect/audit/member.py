"""One member of an archive, whatever the archive's format."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from .streams import Readable

FILE, DIRECTORY, LINK, HARD_LINK, OTHER = "file", "directory", "link", "hardlink", "other"


class Member(NamedTuple):
    """A member; its content is there to be read only until the next one is asked for."""

    name: str
    """As it stands in the archive, bytes that are no UTF-8 as surrogates."""
    kind: str
    size: int = 0
    mtime: int = 0
    """Seconds since 1970."""
    has_exact_time: bool = True
    """False for a zip's: local time without a zone, in steps of two seconds."""
    target: str = ""
    """What a link names."""
    open: Callable[[], Readable] | None = None
