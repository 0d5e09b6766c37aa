"""dpkg: one list of paths for each package, in `/var/lib/dpkg/info` (dpkg-query(1), FILES).

Triggers belong to packages, and have no patterns: the package pyctrigger has one for all flavours. An administrator can
add a command that apt runs after dpkg (apt.conf(5), DPkg::Post-Invoke).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator

from .databases import Source
from .hook import HookFile, Subject, quoted, render
from .manager import Manager, is_wanted, lines_in

#: Three lines for each diversion: the path, where other packages' file of that path is put, and the diverting package
#: (":" for the administrator).
_DIVERSIONS = "/var/lib/dpkg/diversions"
_LIST = ".list"
#: Which CPythons py3compile compiles for, of those that are installed (python3-minimal).
_DEFAULTS = "/usr/share/python3/debian_defaults"


class Dpkg(Manager):
    """Debian's package manager."""

    name = "dpkg"
    sites = ("/usr/lib/python3/dist-packages",)  # of all flavours, PyPy too (Debian Python Policy, 2.5)
    database = "/var/lib/dpkg/info"

    @property
    def sources(self) -> list[Source]:
        return [Source("files", self.database, _LIST), Source("file", _DIVERSIONS)]

    def read_owned(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        wanted, diverted = paths, {}
        if paths is not None:
            diverted = self._diversions()
            wanted = {*paths, *(listed for listed, (path, _) in diverted.items() if path in paths)}
        for package, text in self._files.read_below(self.database, _LIST):
            for listed in lines_in(text, wanted):
                path, by = diverted.get(listed, (listed, ""))
                path = listed if by == package.partition(":")[0] else path
                if is_wanted(path, paths):
                    yield path, package

    def _diversions(self) -> dict[bytes, tuple[bytes, str]]:
        """Returns where other packages' files of a path are put, and which package diverts them (dpkg-divert(1))."""
        try:
            lines = self._files.read(_DIVERSIONS).split(b"\n")
        except FileNotFoundError:
            return {}
        threes = zip(lines[::3], lines[1::3], lines[2::3])
        return {listed: (path, os.fsdecode(package)) for listed, path, package in threes}

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        path = f"{self.database}/pyctrigger.triggers"  # gone as soon as the package is removed, purged or not
        return (path, ()) if self._files.has_file(path) else None

    def compiles(self, implementation: str, version: tuple[int, int]) -> bool:
        if implementation != "cpython":
            return self._files.has_file("/usr/bin/pypy3compile")
        name = "python{}.{}".format(*version)
        if not (self._files.has_file("/usr/bin/py3compile") and self._files.has_file(f"/usr/bin/{name}")):
            return False
        try:
            supported = re.search(rb"(?m)^supported-versions *=(.*)$", self._files.read(_DEFAULTS))
        except FileNotFoundError:
            return False
        return supported is not None and name.encode() in supported[1].replace(b",", b" ").split()

    @staticmethod
    def compile_command(version: str, directory: str) -> str | None:
        """Returns the command by which Debian recompiles a directory, or None if it isn't installed."""
        if not all(os.path.exists(f"/usr/bin/{name}") for name in ("py3compile", f"python{version}")):
            return None
        return shlex.join(["py3compile", "-V", version, directory])

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        for word in subject.shell_words.values():
            quoted(word)  # only to check it: the template has the quotation marks
        text = render("dpkg/apt.conf", subject.shell_words)
        return [HookFile(f"/etc/apt/apt.conf.d/90pyctrigger-{subject.name}", text)]
