"""Bytecode on the disk: the names in a directory, the first bytes of a pyc, the fields of its header."""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from shlex import quote
from typing import Any, NamedTuple

from ...pyc.header import HeaderFormat, InvalidationMode
from ...pyc.names import NAME_MAX, pyc_suffix
from ...run.plan.steps import Step
from ...tree.directory import Tree, open_in_root
from ...tree.elsewhere import goal_of
from ...tree.layout import Layout
from ...tree.listing import list_pycs
from ...tree.source import SourceRefused, look_at_pyc, source_status

#: Bytes, of the longest header.
_HEADER = 16


class Header(NamedTuple):
    """The fields of a pyc's header, as far as its first bytes have them."""

    magic_number: bytes
    invalidation_mode: str | None
    mtime: int | None = None
    size: int | None = None
    source_hash: bytes | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the header for JSON."""
        source_hash = None if self.source_hash is None else self.source_hash.hex()
        return {**self._asdict(), "magic_number": self.magic_number.hex(), "source_hash": source_hash}


def read_header(head: bytes, form: HeaderFormat) -> Header | None:
    """Returns the fields in the first bytes of a pyc, whatever they are, or None if there are too few."""
    if len(head) < form.size:
        return None
    if not form.has_modes:
        return Header(head[:4], "timestamp", *struct.unpack_from("<II", head, 4))
    (flags,) = struct.unpack_from("<I", head, 4)
    mode = next((each.value for each in InvalidationMode if each.flags == flags), None)
    if mode in (None, InvalidationMode.TIMESTAMP.value):
        return Header(head[:4], mode, *struct.unpack_from("<II", head, 8))
    return Header(head[:4], mode, source_hash=head[8:16])


class Directory:
    """A directory of sources, open, with the directory of its pycs."""

    def __init__(self, layout: Layout, relative: str, plan: Step, *, in_scope: bool) -> None:
        self.layout = layout
        self.relative = relative
        #: What a run needs to do; empty outside of the scope.
        self.plan = plan
        self.in_scope = in_scope
        #: Everything in the directory of the pycs, and whether it is a regular file.
        self.names: dict[str, bool] = {}
        with contextlib.suppress(OSError), layout.pycs.entered(layout.pycache(relative)) as directory:
            self.names = list_pycs(directory).entries

    def read_head(self, pyc: str, size: int) -> bytes:
        """Returns the first bytes of a pyc, or none if there is none to be read."""
        if not self.names.get(pyc):
            return b""
        try:
            with self.layout.pycs.entered(self.layout.pycache(self.relative)) as directory:
                return look_at_pyc(directory, pyc, size)[0]
        except OSError:
            return b""

    def status_of(self, source: str) -> tuple[os.stat_result | None, str | None]:
        """Returns the status of a source as the target sees it, and why it must not be read."""
        try:
            status = source_status(self.layout.sources, self.relative, source)
        except SourceRefused as refusal:
            return None, str(refusal)
        except OSError:
            return None, None
        return (status, None) if stat.S_ISREG(status.st_mode) else (None, "no regular file")


def name_of_pyc(source: str, cache_tag: str, level: int) -> str | None:
    """Returns the name of a source's pyc, or None if it would be too long."""
    name = source[:-3] + pyc_suffix(cache_tag, level)
    return name if len(os.fsencode(name)) <= NAME_MAX else None


def describe_link(tree: Tree, relative: str) -> str | None:
    """Returns what to say of a path that leads through a link to a directory, or None of any other."""
    above = ""
    with contextlib.suppress(OSError):
        for name in relative.split("/") if relative else ():
            goal = goal_of(tree, above, name)
            if goal is not None:
                link = f"{tree.describe(above, name)} is a link to {goal}"
                if tree.resolve(above, name) is not None:
                    return f"{link}; sources there are compiled there"
                return (
                    f"{link}; its sources aren't compiled through it; "
                    f"compile where they are: pyctrigger run --site-dir {quote(goal)}"
                )
            above = f"{above}/{name}" if above else name
    return None


def head_of(path: str, root: str | None) -> bytes | None:
    """Returns the first bytes of a file, or None if there is nothing of its name."""
    directory, name = os.path.split(path)
    try:
        with Tree.open(directory, root) as tree:
            tree.lstat("", name)
            with tree.entered("") as descriptor:
                return look_at_pyc(descriptor, name, _HEADER)[0]
    except (OSError, ValueError):
        return None


def files_in(directory: str, root: str | None) -> list[str]:
    """Returns the paths of everything in a directory that isn't a directory; none if it can't be read."""
    with contextlib.suppress(OSError, ValueError), Tree.open(directory, root) as tree, tree.entered("") as descriptor:
        return [os.path.join(directory, name) for name in sorted(list_pycs(descriptor).names)]
    return []


def is_directory(path: str, root: str | None) -> bool:
    """Whether a path, as seen inside `root`, is a directory."""
    if root is None:
        return os.path.isdir(path)
    try:
        os.close(open_in_root(root, path))
    except (OSError, ValueError):
        return False
    return True
