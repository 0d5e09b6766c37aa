"""rpm: a database that has had four formats, and file triggers that only packages can have.

Today's format, SQLite with a package's whole header in each row (rpm 4.16 and later), is read as it lies on the disk;
for the others rpm itself is asked. A query takes no lock (rpm(8), QUERY OPTIONS).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from .files import ManagerError, Source
from .hook import HookFile, quoted, render, shell
from .manager import INTERPRETERS_OWN, Manager, ask, pycs_in_list

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .hook import Subject

_DIRECTORIES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_PROGRAMS = ("/usr/bin/rpm", "/bin/rpm")
#: Our own, as the package has it.
_COMMAND = b"/usr/bin/pyctrigger"
#: Seconds.
_PATIENCE = 60


class Rpm(Manager):
    """Fedora's, openSUSE's."""

    name = "rpm"
    package_with_hooks = "pyctrigger"

    @property
    def database(self) -> str:
        candidates = [os.path.join(directory, name) for directory in _DIRECTORIES for name in _FILES]
        return next((path for path in candidates if self._files.has(path)), candidates[0])

    @property
    def sources(self) -> list[Source]:
        if not self.database.endswith(".sqlite"):
            raise self._unreadable()
        return [Source("database", self.database)]

    def owned_pycs(self) -> Iterator[bytes]:
        if self.database.endswith(".sqlite"):
            from .rpm_database import owned_pycs  # nothing of it is needed to look at a hook

            return owned_pycs(self._files, self.database)
        return pycs_in_list(self._ask("[%{FILENAMES}\\n]"))

    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        if self.database.endswith(".sqlite"):
            from .rpm_database import owners

            return owners(self._files, self.database, paths)
        found = {}
        for line in self._ask("[%{=NAME}\\t%{FILENAMES}\\n]").split(b"\n"):
            package, _, path = line.partition(b"\t")
            if path in paths:
                found[path] = os.fsdecode(package)
        return found

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        if self._files.is_foreign:
            # Whether the package is there can be read; its triggers, which only rpm can tell, are for every Python.
            owners = self._files.owners(self, {_COMMAND})
            return (self.database, ()) if owners.get(_COMMAND) == "pyctrigger" else None
        packages = self._ask("%{NAME}\\n").split(b"\n")
        if b"pyctrigger" not in packages:
            return None
        calls = re.findall(rb"--hook\b.*?--python ([^\s']+)", self._query("-q", "--filetriggers", "pyctrigger"))
        return self.database, tuple(dict.fromkeys(map(os.fsdecode, calls)))

    def _ask(self, form: str) -> bytes:
        """What rpm says of all packages, each in this form. Raises ManagerError."""
        return self._query("-qa", "--qf", form)

    def _query(self, *words: str) -> bytes:
        if self._files.is_foreign:
            raise self._unreadable()
        program = next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)
        if program is None:
            raise ManagerError(f"{self._files.describe(self.database)} is there, but no rpm to read it")
        return ask([program, "--dbpath", os.path.dirname(self._files.describe(self.database)), *words], _PATIENCE)

    def _unreadable(self) -> ManagerError:
        """Only rpm itself can read it, which would trust whoever wrote it."""
        return ManagerError(f"{self._files.describe(self.database)}: rpm isn't run over a root's database")

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/lib/{library}/site-packages", f"/usr/lib64/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """The file triggers of a package's spec: rpm reads no file that an administrator could add."""
        sites = subject.site_directories or cls.site_directories(subject.library)
        libraries = subject.libraries or [f"/usr/{lib}/{subject.library}" for lib in ("lib", "lib64")]
        prefixes = [*sites, *(f"{library}/{INTERPRETERS_OWN}" for library in libraries)]
        for prefix in prefixes:
            quoted(prefix, forbidden=" '")  # a spec has no way to quote a prefix
        python = _macro_free(shell([subject.python]))
        words = {"PROGRAM": _macro_free(shell(subject.program)), "VERSION": subject.version, "PYTHON": python}
        every = [_macro_free(f"{prefix}/") for prefix in prefixes]
        texts = [render("rpm/file-triggers.spec", {**words, "PREFIXES": " ".join(every)})]
        texts += [render("rpm/after-removal.spec", {**words, "PREFIX": prefix}) for prefix in every]
        return [HookFile(f"/usr/lib/rpm/pyctrigger-{subject.name}.spec", "".join(texts))]


def _macro_free(text: str) -> str:
    return text.replace("%", "%%")
