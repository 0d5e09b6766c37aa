"""Small real trees, and what a plan says of them, line by line."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from pyctrigger.packages.ownership import Ownership
from pyctrigger.pyc.header import HeaderFormat, InvalidationMode
from pyctrigger.run.plan.glance import Notes
from pyctrigger.run.plan.knowledge import Knowledge, PlannedSite
from pyctrigger.run.plan.walk import Planner
from pyctrigger.run.plan.wanted import Wanted
from pyctrigger.run.scope.paths import Unit
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import Record, digest_of, identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyctrigger.run.plan.steps import Step

TAG = "cpython-311"
MAGIC = b"\xa7\r\r\n"
HEADER = HeaderFormat(MAGIC, 16)
#: What every source has, unless a row says otherwise.
TEXT, MTIME = b"x = 1\n", 1_600_000_000
BODY = b"code"
EVERYTHING = [Unit("", deep=True)]
#: Who works, as its temporary names say.
WRITER = "cpython-311-00000000"


class Link(str):
    """A link to this path."""

    __slots__ = ()


#: A file's content, a link, or None for a directory.
Entries = Mapping[str, Union[bytes, Link, None]]


def pyc(
    mtime: int = MTIME, *, size: int = len(TEXT), magic: bytes = MAGIC, flags: int = 0, body: bytes = BODY
) -> bytes:
    """A pyc that fits a source of these trees, but for what is named."""
    return magic + b"".join(number.to_bytes(4, "little") for number in (flags, mtime, size)) + body


def cached(name: str, level: int = 0) -> str:
    """The name of the pyc of a module."""
    return f"{name}.{TAG}{f'.opt-{level}' if level else ''}.pyc"


@contextlib.contextmanager
def in_memory(entries: Entries | None = None) -> Iterator[Path]:
    """A directory with these entries on a file system in memory, if there is one; gone afterwards."""
    place = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="plan-", dir=place if os.path.isdir(place) else None) as top:
        yield make(Path(top), entries or {})


def make(top: Path, entries: Entries) -> Path:
    """Make these entries below a directory; files have the mtime of a source."""
    for name, content in entries.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, Link):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
            os.utime(path, (MTIME, MTIME))
    return top


def record(top: Path, manifest: Manifest) -> None:
    """Record every pyc as made from its source."""
    for path in top.rglob("*.pyc"):
        source = path.parent.parent / f"{path.name.partition('.')[0]}.py"
        if source.exists():
            seen, found, data = identity_of(source.stat()), identity_of(path.stat()), path.read_bytes()
            new = Record(seen, digest_of(source.read_bytes()), found, digest_of(data[16:]), data[:16])
            manifest.pycs.note(str(path.parent), path.name, new)


def wanted(**changes: Any) -> Wanted:
    """Timestamps at level 0 by default."""
    return Wanted(TAG, HEADER, (0,), InvalidationMode.TIMESTAMP, WRITER)._replace(**changes)


def knowledge_of(manifest: Manifest | None = None, owned: Sequence[str] = ()) -> Knowledge:
    """What is known: by a manifest, without one headers are believed; and of a dpkg that owns these paths."""
    texts = {"/var/lib/dpkg/info/p.list": "\n".join([*owned, ""]).encode(), "/var/lib/dpkg/status": b""}
    ownership = Ownership(FilesInMemory(texts if owned else {}), print)
    return Knowledge(manifest or Manifest(None), wanted(), ownership, compares_records=manifest is not None)


def plan(
    top: Path,
    units: Sequence[Unit] = EVERYTHING,
    *,
    manifest: Manifest | None = None,
    prefix: Path | None = None,
    owned: Sequence[str] = (),
    learns: bool = False,
    **options: Any,
) -> list[Step]:
    """The steps for a tree. With `learns` the manifest records what they prove."""
    knowledge = knowledge_of(manifest, owned)
    with Layout(Tree.open(str(top)), Tree.open(str(prefix)) if prefix else None) as layout:
        steps = list(steps_in(layout, knowledge, units, **options))
        for step in steps if learns else ():
            knowledge.learn(layout, step)
    return steps


def steps_in(
    layout: Layout,
    knowledge: Knowledge | None = None,
    units: Sequence[Unit] = EVERYTHING,
    *,
    is_library: bool = False,
    is_noted: bool = False,
    **options: Any,
) -> Iterator[Step]:
    """The steps for an open tree. If `is_noted` they have its parts."""
    known, notes = knowledge or knowledge_of(), Notes(layout, time.time_ns()) if is_noted else None
    planner = Planner(PlannedSite(layout, wanted(**options), known, is_library=is_library, notes=notes))
    return planner.plan(list(units))


def said(steps: Sequence[Step]) -> list[str]:
    """What steps say, a line for each thing; "." is the site directory."""
    return [f"{step.relative or '.'}: {line}" for step in steps for line in _lines(step)]


def _lines(step: Step) -> Iterator[str]:
    if step.obstacle and not step.goes_on:
        yield f"obstacle: {step.obstacle}"
    if step.unexamined:
        yield f"unexamined: {step.unexamined}"
    if step.opens_pycache:
        yield "open __pycache__"
    for stale in step.stale:
        levels = ", ".join(f"{each.level} {each.verdict.value}" for each in stale.levels)
        yield f"write {stale.name}: {levels}"
    yield from (f"{removal.kind} {removal.name}" for removal in step.removals)
    yield from (f"skip {name}: {reason}" for name, reason in step.skipped)
    yield from (f"refuse {name}: {reason}" for name, reason in step.refused)
    yield from (f"owned {name}" for name, _ in step.owned)
    yield from (f"link {name}: {goal}" for name, goal in step.links)
    yield from (f"unwanted {each.pyc}" for each in step.unwanted)
    if step.emptied_pycache:
        yield "empty __pycache__"
    if step.emptied:
        yield "empty"
