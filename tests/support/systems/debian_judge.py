"""Judges what is on a Debian's disk: each flavour's bytecode in the packages' directory, and what dpkg says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from debian_chroot import EXECUTABLES
from debian_packages import DIST_PACKAGES
from packages import not_fresh, pycs_below, sources_below

if TYPE_CHECKING:
    from collections.abc import Iterator

    from debian_chroot import Chroot
    from interpreters import Interpreter

#: The cache tag of each flavour of sid.
TAGS = {"py314": "cpython-314", "py315": "cpython-315", "pypy311": "pypy311"}
_BYTECODE = "__pycache__"


class Judge:
    """Looks at one system, by its own interpreters; believes no message."""

    def __init__(self, sid: Chroot, doors: Path) -> None:
        self._sid = sid
        self._doors = doors
        self._known: dict[str, Interpreter] = {}
        self.strangers: set[bytes] = set()
        """Files that are no business of anybody's here: they may stay, and their directories with them."""

    @property
    def site(self) -> Path:
        """The packages' directory, from outside."""
        return self._sid.outside(DIST_PACKAGES)

    def targets(self) -> dict[str, Interpreter]:
        """The interpreters that are there now, by flavour."""
        found = {}
        for path in EXECUTABLES:
            if self._sid.outside(path).is_file():
                target = self._known.get(path) or self._sid.interpreter(path, self._doors)
                self._known[path] = found[target.flavour] = target
        return found

    def owned(self) -> set[bytes]:
        """Every path of every package, as seen inside."""
        lists = self._sid.outside("/var/lib/dpkg/info").glob("*.list")
        return {line for each in lists for line in each.read_bytes().splitlines()}

    def faults(self, *, everywhere: bool = False) -> list[str]:
        """All that is wrong; empty for a correct system."""
        return [*self.bytecode_faults(), *self.database_faults(everywhere=everywhere)]

    def database_faults(self, *, everywhere: bool = False) -> list[str]:
        """What dpkg complains about: packages half-configured, files that aren't as they were packed.

        That is asked for the packages of Python modules and ours, or `everywhere`. Not for those of which only their
        configuration is left: dpkg goes on listing the directories that bytecode kept it from removing, until purge.
        """
        shown = self._sid.run("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n").out
        installed = [line.split()[1] for line in shown.splitlines() if not line.startswith("config-files ")]
        asked = [name for name in installed if everywhere or self._has_modules(name)]
        said = [self._sid.run("dpkg", "--audit"), self._sid.run("dpkg", "--verify", *asked)]
        return [line for outcome in said for line in (outcome.out + outcome.err).splitlines()]

    def _has_modules(self, package: str) -> bool:
        listed = self._sid.outside(f"/var/lib/dpkg/info/{package}.list")
        return package == "pyctrigger" or (listed.is_file() and f"{DIST_PACKAGES}/" in listed.read_text())

    def bytecode_faults(self) -> list[str]:
        """Sources without fresh bytecode; bytecode without a source; directories that would still be imported."""
        owned = self.owned()
        targets = self.targets()
        sources = [self._sid.inside(path) for path in sources_below(self.site)]
        expected = set()
        found = []
        for flavour, target in targets.items():
            pycs = {source: _pyc(source, TAGS[flavour]) for source in sources}
            expected |= set(pycs.values())
            judged = [source for source, pyc in pycs.items() if pyc not in owned]
            found += [f"{flavour}: {source.decode()}: {reason}" for source, reason in not_fresh(target, judged)]
        for path in map(self._sid.inside, pycs_below(self.site)):
            if path not in expected | owned | self.strangers:
                found.append(f"left over: {path.decode()}")
        found += [f"left over: {path.decode()}/" for path in self._directories() if path not in owned]
        return found

    def _directories(self) -> Iterator[bytes]:
        """Directories without a source, another file or such a directory, as seen inside."""
        for top, _, names in os.walk(os.fsencode(self.site)):
            path = self._sid.inside(top)
            kept = any(stranger.startswith(path + b"/") for stranger in self.strangers)
            if os.path.basename(path) != _BYTECODE.encode():
                if not kept:
                    yield path
            elif not (names or kept):
                yield path


def _pyc(source: bytes, tag: str) -> bytes:
    """Where the bytecode of a source belongs (PEP 3147)."""
    directory, name = os.path.split(source)
    return os.path.join(directory, _BYTECODE.encode(), name[: -len(b".py")] + f".{tag}.pyc".encode())
