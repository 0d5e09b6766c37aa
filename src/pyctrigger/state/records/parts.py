"""The parts of a scope as they were when nothing more could be done for them: what a hook compares at a glance.

A part is a top-level package, or the modules directly in a site directory. Its note has one identity for each of its
directories. Like every record it is a hint: a part without a note, or one that isn't just as it was, is looked at.
"""

from __future__ import annotations

import json
import os
import struct
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ...tuples import NamedTuple
from .. import files
from ..quota import Quota

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMAT = 2
#: The file of the records that these notes rest on.
MANIFEST = "manifest.sqlite"
#: What identifies one state of a file or directory; see `state.record`.
identity = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
#: An identity in bytes. Times before 1677 or after 2262 have no room in it.
PACKED = struct.Struct("<QQQqq")
#: In the place of the identity of what isn't there, or can't be asked.
ABSENT = (0, 0, 0, 0, 0)
#: In the place of an identity: what lies there is on a read-only file system.
READ_ONLY = (1, 0, 0, 0, 0)

# The names in a note. Those of directories are relative to the site directory, and never begin with a slash.
#: The site directory itself.
TOP = "."
#: A directory of pycs that lies in the tree of a pycache prefix.
PREFIXED = "/pycs/"
#: A link to a source; its identity is that of what it leads to.
LINK = "/link/"
#: A directory that needs something and can't be written.
CLOSED = "/closed/"

#: No path has it.
_BETWEEN = "\0"
#: Bytes that a run takes down at most, but for the part that it ends with: of a larger tree the next takes down more.
_MOST_NOTED = 4 << 20
#: Bytes of the notes of a stranger's tree: with more there are none.
_MOST_OF_STRANGERS = 8 << 20


class Part(NamedTuple):
    """One part. Without names it was never as it should be, and is looked at."""

    names: str = ""
    """The directories, from the top down, joined by NUL."""
    seen: str = ""
    """Their identities, packed, in hexadecimal."""
    until: float | None = None
    """Seconds since the epoch: something in it is to go then, though nothing changes."""
    owned: tuple[str, ...] = ()
    """The pycs that were left to the packages that own them, and were told."""

    @classmethod
    def of(cls, entries: dict[str, bytes], until: float | None, owned: tuple[str, ...]) -> Part:
        """A part by its directories, each with its packed identity."""
        return cls(_BETWEEN.join(entries), b"".join(entries.values()).hex(), until, owned)

    def entries(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Each name with its identity. Raises ValueError and struct.error for a damaged note."""
        names, seen = self.names.split(_BETWEEN), bytes.fromhex(self.seen)
        if len(seen) != len(names) * PACKED.size:
            raise ValueError("a note without its identities")
        return zip(names, PACKED.iter_unpack(seen))


class Parts:
    """The notes of one installation, by site directory. Without a state directory there are none, and none are kept."""

    def __init__(self, directory: str | None, quota: Quota | None = None) -> None:
        self._quota = quota or Quota()
        self._path = os.path.join(directory, "parts.json") if directory is not None else None
        self._records = os.path.join(directory, MANIFEST) if directory is not None else ""
        self._sites: dict[str, Any] | None = None
        self._vouched: Any = None
        self._size = 0
        self._has_changed = False

    @property
    def are_kept(self) -> bool:
        """Whether there is a place for them."""
        return self._path is not None

    @property
    def know_records(self) -> bool:
        """Whether there are notes, and the records are those that they rest on."""
        return bool(self._known())

    def has_other(self, site: str, terms: str) -> bool:
        """Whether there are notes of a site directory that were made on other terms."""
        known = self._known().get(site)
        return known is not None and known.get("terms") != terms

    def of(self, site: str, terms: str) -> dict[str, Part]:
        """The notes of a site directory, by the first component of the paths in each; "" is for its modules."""
        known = self._known().get(site)
        if known is None or known.get("terms") != terms:
            return {}
        return {name: Part._make(fields) for name, fields in known["parts"].items()}

    def note(self, site: str, terms: str, name: str, part: Part) -> None:
        """Take down a part, in the place of what was known of it."""
        parts = self._parts(site, terms)
        fields = list(part)
        if self._size > _MOST_NOTED and part.names:
            parts.pop(name, None)
            return
        self._size += len(part.names) + len(part.seen)
        if parts.get(name) != fields:
            parts[name] = fields
            self._has_changed = True

    def forget(self, site: str, terms: str, name: str) -> None:
        """A part is gone, or not as it should be."""
        if self._parts(site, terms).pop(name, None) is not None:
            self._has_changed = True

    def save(self) -> None:
        """Write what changed, once the records are saved. Raises OSError."""
        if self._path is None:
            return
        known, vouched = self._known(), self._seen_records()
        if self._has_changed or (known and vouched != self._vouched):
            text = json.dumps({"format": _FORMAT, "records": vouched, "sites": known})
            if self._quota.left is not None and len(text) > _MOST_OF_STRANGERS:
                self._sites, text = {}, "{}"
            self._quota.spend(len(text))
            files.write_lightly(self._path, text)
        self._vouched = vouched
        self._has_changed, self._size = False, 0

    def load(self) -> None:
        """Read them, before the records are saved."""
        self._known()

    def _parts(self, site: str, terms: str) -> dict[str, Any]:
        known = self._known().get(site)
        if known is None or known.get("terms") != terms:
            known = self._known()[site] = {"terms": terms, "parts": {}}
        parts: dict[str, Any] = known["parts"]
        return parts

    def _known(self) -> dict[str, Any]:
        if self._sites is None:
            self._vouched = self._seen_records()
            try:
                self._sites = _load(files.read(self._path), self._vouched) if self._path is not None else {}
            except (KeyError, TypeError, ValueError, AttributeError):
                self._sites = {}
        return self._sites

    def _seen_records(self) -> list[int] | None:
        """What the manifest looks like: one that was lost, damaged or rolled back knows less than these notes."""
        try:
            return list(identity(os.stat(self._records)))
        except OSError:
            return None


def _load(stored: Any, records: list[int] | None) -> dict[str, Any]:
    if stored["format"] != _FORMAT or stored["records"] != records:
        raise ValueError("another format, or of other records")
    sites: dict[str, Any] = stored["sites"]
    for site in sites.values():
        for fields in site["parts"].values():
            names, seen, until, owned = fields
            if not (isinstance(names, str) and isinstance(seen, str) and isinstance(until, (float, int, type(None)))):
                raise TypeError("no note of a part")
            fields[3] = tuple(map(str, owned))
    return sites
