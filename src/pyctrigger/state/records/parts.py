"""Records of the parts of a scope that needed no more work, by which a hook recognises unchanged ones by stat alone.

A part is a top-level package, or the modules directly in a site directory. Its note has the identity of each of its
directories. Like every record it is a hint: a part that has no note, or has changed in any way, is examined.

The file has one line of JSON, and after it the names and identities of one part after the other as they are: each hook
reads all of them, and as JSON that took it 3 ms for 12,000 sources.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

from ...stamps import stamp_of
from ...typed import TYPE_CHECKING, Any, NamedTuple
from .. import own_files
from .record import PACKED

if TYPE_CHECKING:
    from ..quota import Quota

_FORMAT = 3
#: The file of the records that these notes depend on.
MANIFEST = "manifest.sqlite"
#: Instead of a stamp: the entry doesn't exist, or can't be examined.
ABSENT = (0, 0, 0, 0, 0)
#: Instead of a stamp: the directory is on a read-only file system.
READ_ONLY = (1, 0, 0, 0, 0)

# The names in a note. Those of directories are relative to the site directory, and never begin with a slash.
#: The site directory itself.
TOP = "."
#: A directory of pycs in the tree of a pycache prefix.
PREFIXED = "/pycs/"
#: A link to a source. The identity is that of the file that it leads to.
LINK = "/link/"
#: A directory that needs work, but can't be written.
CLOSED = "/closed/"

#: Separates paths, which can't contain it.
_SEPARATOR = b"\0"
#: Bytes. Once a run has noted that much, it leaves the remaining parts to the next run.
_MAX_NOTED = 4 << 20
#: Bytes. The notes about a foreign root are dropped if they exceed this.
_MAX_FOREIGN = 8 << 20


class Part(NamedTuple):
    """The note of one part. Without names the part always needs examination."""

    names: bytes = b""
    """Its directories from the top down, joined by NUL."""
    seen: bytes = b""
    """Their identities, packed."""
    until: float | None = None
    """Seconds since the epoch: when something in it is due for removal, although nothing has changed."""
    owned: tuple[str, ...] = ()
    """Pycs that were reported, and left to the packages that own them."""

    @classmethod
    def of(cls, entries: dict[str, bytes], until: float | None, owned: tuple[str, ...]) -> Part:
        """Returns the note of a part, from its directories and their packed identities."""
        return cls(_SEPARATOR.join(map(os.fsencode, entries)), b"".join(entries.values()), until, owned)

    def entries(self) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
        """Yields each name with its identity. Raises ValueError for a damaged note."""
        names = self.names.split(_SEPARATOR)
        if len(self.seen) != len(names) * PACKED.size or b"" in names:
            raise ValueError("a note without all names and identities")
        return zip(names, PACKED.iter_unpack(self.seen))


#: By site directory: the options that its parts were examined with, and their notes by name.
_Sites = dict[str, tuple[str, dict[str, Part]]]


class Parts:
    """The notes of one installation, by site directory. Without a state directory there are none."""

    def __init__(self, directory: str | None, quota: Quota | None = None) -> None:
        self._quota = quota
        self._path = os.path.join(directory, "parts") if directory is not None else None
        self._records = os.path.join(directory, MANIFEST) if directory is not None else ""
        self._sites: _Sites | None = None
        self._manifest_identity: Any = None
        self._size = 0
        self._has_changed = False

    @property
    def are_kept(self) -> bool:
        """Whether there is a directory to save them in."""
        return self._path is not None

    @property
    def know_records(self) -> bool:
        """Whether there are notes, and the manifest is the one that they depend on."""
        return bool(self._load_sites())

    def has_other(self, site: str, terms: str) -> bool:
        """Whether there are notes of a site directory that were made with other options (`terms`)."""
        return site in self._load_sites() and self._notes_of(site, terms) is None

    def of(self, site: str, terms: str) -> dict[str, Part]:
        """Returns the notes of a site directory by top-level package; "" stands for its own modules."""
        return dict(self._notes_of(site, terms) or {})

    def owned_in(self, site: str, terms: str, name: str) -> tuple[str, ...]:
        """Returns the pycs of a part that were reported, and left to the packages that own them."""
        return (self._notes_of(site, terms) or {}).get(name, Part()).owned

    def note(self, site: str, terms: str, name: str, part: Part) -> None:
        """Record the note of a part, replacing an older one."""
        if self._size > _MAX_NOTED and part.names:
            self.forget(site, terms, name)
            return
        self._size += len(part.names) + len(part.seen)
        parts = self._notes_to_change(site, terms)
        if parts.get(name) != part:
            parts[name] = part
            self._has_changed = True

    def forget(self, site: str, terms: str, name: str) -> None:
        """Drop the note of a part: it is gone, or needs work."""
        if self._notes_to_change(site, terms).pop(name, None) is not None:
            self._has_changed = True

    def save(self) -> None:
        """Write all changes, after the manifest was saved. Raises OSError."""
        if self._path is None:
            return
        known, manifest = self._load_sites(), self._identify_manifest()
        if self._has_changed or (known and manifest != self._manifest_identity):
            data = _stored_notes(known, manifest)
            if self._quota is not None:
                if len(data) > _MAX_FOREIGN:
                    self._sites, data = {}, b""
                self._quota.spend(len(data))
            own_files.write_bytes(self._path, data, durable=False)
        self._manifest_identity = manifest
        self._has_changed, self._size = False, 0

    def load(self) -> None:
        """Read the notes, before the manifest is saved."""
        self._load_sites()

    def _notes_of(self, site: str, terms: str) -> dict[str, Part] | None:
        known, parts = self._load_sites().get(site, (None, None))
        return parts if known == terms else None

    def _notes_to_change(self, site: str, terms: str) -> dict[str, Part]:
        """Returns the notes of a site directory to change: new ones, if it has none that were made with these terms."""
        parts = self._notes_of(site, terms)
        if parts is None:
            parts = {}
            self._load_sites()[site] = (terms, parts)
        return parts

    def _load_sites(self) -> _Sites:
        if self._sites is None:
            self._manifest_identity = self._identify_manifest()
            self._sites = {}
            if self._path is not None:
                with contextlib.suppress(OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
                    self._sites = _load_notes(own_files.read_bytes(self._path), self._manifest_identity)
        return self._sites

    def _identify_manifest(self) -> list[int] | None:
        """Returns the manifest's identity. One that was lost, damaged or rolled back lacks what these notes rely on."""
        try:
            return list(stamp_of(os.stat(self._records)))
        except OSError:
            return None


def _stored_notes(sites: _Sites, records: list[int] | None) -> bytes:
    """Returns what is stored, which begins with the sizes of all that comes after the first line."""
    heads, pieces = {}, list[bytes]()
    for site, (terms, parts) in sites.items():
        sizes = {name: (len(names), len(seen), until, owned) for name, (names, seen, until, owned) in parts.items()}
        heads[site] = {"terms": terms, "parts": sizes}
        for part in parts.values():
            pieces += part[:2]
    line = json.dumps({"format": _FORMAT, "records": records, "sites": heads})
    return b"".join([line.encode(), b"\n", *pieces])


def _load_notes(stored: bytes, records: list[int] | None) -> _Sites:
    line, _, body = stored.partition(b"\n")
    head = json.loads(line)
    if head["format"] != _FORMAT or head["records"] != records:
        raise ValueError("another format, or another manifest")
    sites: _Sites = {}
    at = 0
    for site, each in head["sites"].items():
        parts: dict[str, Part] = {}
        for name, (names, seen, until, owned) in each["parts"].items():
            if names < 0 or seen < 0 or not isinstance(until, (float, int, type(None))):
                raise TypeError("not a note of a part")
            begin, middle, at = at, at + names, at + names + seen
            parts[name] = Part(body[begin:middle], body[middle:at], until, tuple(map(str, owned)))
        sites[site] = each["terms"], parts
    if at != len(body):
        raise ValueError("another size than it should have")
    return sites
