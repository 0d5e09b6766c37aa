"""The site directory: what the model's package manager has put there, and what other programs have."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .package import File

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .package import Files

PYCACHE = b"__pycache__"
#: What a manager calls a file that it unpacks, before it gets its name.
_UNPACKED = b".soak-new"


class FileChange(NamedTuple):
    """One step of a package manager, or of a person with an editor."""

    path: bytes
    """Below the site directory."""
    file: File | None
    """None: it goes."""
    in_place: bool = False
    """Overwritten, where a package manager would rename a new file to it."""


class Site:
    """A site directory and the model of it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.packages: dict[str, Files] = {}
        """What is installed, in whole."""
        self.files: Files = {}
        """Every file that should be there, also those of packages that were installed in part."""
        self.strangers: dict[bytes, bytes] = {}
        """What programs other than a package manager have made, and nobody may touch."""

    @property
    def sources(self) -> int:
        """How many there are."""
        return sum(path.endswith(b".py") for path in self.files)

    def path(self, relative: bytes) -> bytes:
        """Where something is."""
        return os.path.join(os.fsencode(self.top), relative)

    # -- what managers and persons do ------------------------------------------------------------------------------

    def change(self, changes: Sequence[FileChange]) -> None:
        """Carry changes out, one after the other."""
        for each in changes:
            if each.file is None:
                self.files.pop(each.path, None)
                self._remove(each.path)
            else:
                self.files[each.path] = each.file
                self._write(each.path, each.file, in_place=each.in_place)

    def add_stranger(self, relative: bytes, data: bytes) -> None:
        """Another program writes a file."""
        path = self.path(relative)
        self.strangers[relative] = data
        while True:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                with open(path, "wb") as file:
                    file.write(data)
                return
            except FileNotFoundError:  # a sweep took the directory away
                continue

    def _write(self, relative: bytes, file: File, *, in_place: bool) -> None:
        path = self.path(relative)
        target = path if in_place else os.path.join(os.path.dirname(path), _UNPACKED)
        while True:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                with open(target, "wb") as stream:
                    stream.write(file.data)
                os.utime(target, ns=(file.mtime, file.mtime))
                if not in_place:
                    os.rename(target, path)
                return
            except FileNotFoundError:  # a sweep took the directory away
                continue

    def _remove(self, relative: bytes) -> None:
        """Remove a file, and the directories that this leaves empty; bytecode isn't a manager's."""
        path = self.path(relative)
        try:
            os.unlink(path)
            while (path := os.path.dirname(path)) != os.fsencode(self.top):
                os.rmdir(path)
        except OSError:  # "directory not empty so not removed"
            pass

    # -- going back ------------------------------------------------------------------------------------------------

    def snapshot(self, place: Path) -> Snapshot:
        """Copy the tree with its times, as a backup does."""
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.top, place, symlinks=True)
        return Snapshot(place, *copy.deepcopy((self.packages, self.files, self.strangers)))

    def go_back(self, snapshot: Snapshot, *, synchronise: bool) -> None:
        """Put a copy in the place of the tree, or make the tree like it file by file, as rsync does."""
        self.packages, self.files, self.strangers = copy.deepcopy(snapshot[1:])
        if synchronise:
            _synchronise(os.fsencode(snapshot.place), os.fsencode(self.top))
            return
        for entry in list(os.scandir(self.top)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)
        shutil.copytree(snapshot.place, self.top, symlinks=True, dirs_exist_ok=True)

    def walk(self) -> Iterator[tuple[bytes, list[bytes], list[bytes]]]:
        """Every directory, by its path below the site directory ("" the first), with what is in it."""
        top = os.fsencode(self.top)
        for directory, directories, names in os.walk(top):
            yield directory[len(top) + 1 :], directories, names


class Snapshot(NamedTuple):
    """A copy of a site directory, with what the model knew then."""

    place: Path
    packages: dict[str, Files]
    files: Files
    strangers: dict[bytes, bytes]


def _synchronise(source: bytes, target: bytes) -> None:
    """As `rsync -a --checksum --delete` does: what has other bytes is replaced by rename, times are set."""
    wanted = {entry.name: entry for entry in os.scandir(source)}
    for entry in list(os.scandir(target)):
        there = wanted.get(entry.name)
        if there is not None and _kind(there) == _kind(entry):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    for name, entry in wanted.items():
        path = os.path.join(target, name)
        if entry.is_dir(follow_symlinks=False):
            os.makedirs(path, exist_ok=True)
            _synchronise(entry.path, path)
        elif entry.is_symlink():
            if not os.path.lexists(path):
                os.symlink(os.readlink(entry.path), path)
        elif not os.path.exists(path) or _bytes(path) != _bytes(entry.path):
            shutil.copy2(entry.path, path + _UNPACKED)
            os.rename(path + _UNPACKED, path)
        else:
            shutil.copystat(entry.path, path)
    shutil.copystat(source, target)


def _kind(entry: os.DirEntry[bytes]) -> tuple[bool, bool]:
    return entry.is_symlink(), entry.is_dir(follow_symlinks=False)


def _bytes(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
