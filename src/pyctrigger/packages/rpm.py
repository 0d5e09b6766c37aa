"""rpm: a database that has had four formats, and file triggers, which only packages can have.

The current format, SQLite with a package's whole header in each row (rpm 4.16 and later), is read directly; for the
others rpm is run. A query takes no lock (rpm(8), QUERY OPTIONS).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator

from .files import ManagerError, Source
from .hook import HookFile, Subject, quoted, render, shell
from .manager import INTERPRETERS_OWN, Manager, ask, pycs_in_list

_DIRECTORIES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_PROGRAMS = ("/usr/bin/rpm", "/bin/rpm")
#: Our command's path in the package.
_COMMAND = b"/usr/bin/pyctrigger"
#: Seconds.
_PATIENCE = 60


class Rpm(Manager):
    """The package manager of Fedora and openSUSE."""

    name = "rpm"
    package_with_hooks = "pyctrigger"

    @property
    def database(self) -> str:
        candidates = [os.path.join(directory, name) for directory in _DIRECTORIES for name in _FILES]
        return next((path for path in candidates if self._files.has(path)), candidates[0])

    @property
    def sources(self) -> list[Source]:
        if not self.database.endswith(".sqlite"):
            raise self._unreadable_error()
        return [Source("database", self.database)]

    def owned_pycs(self) -> Iterator[bytes]:
        if self.database.endswith(".sqlite"):
            from .rpm_database import owned_pycs  # not needed to examine a hook

            return owned_pycs(self._files, self.database)
        return pycs_in_list(self._query_all("[%{FILENAMES}\\n]"))

    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        if self.database.endswith(".sqlite"):
            from .rpm_database import owners

            return owners(self._files, self.database, paths)
        found = {}
        for line in self._query_all("[%{=NAME}\\t%{FILENAMES}\\n]").split(b"\n"):
            package, _, path = line.partition(b"\t")
            if path in paths:
                found[path] = os.fsdecode(package)
        return found

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        if self._files.is_foreign:
            # The database shows whether the package is installed; only rpm could list its triggers: assume all Pythons.
            owners = self._files.owners(self, {_COMMAND})
            return (self.database, ()) if owners.get(_COMMAND) == "pyctrigger" else None
        packages = self._query_all("%{NAME}\\n").split(b"\n")
        if b"pyctrigger" not in packages:
            return None
        calls = re.findall(rb"--hook\b.*?--python ([^\s']+)", self._query("-q", "--filetriggers", "pyctrigger"))
        return self.database, tuple(dict.fromkeys(map(os.fsdecode, calls)))

    def _query_all(self, form: str) -> bytes:
        """Query all packages with this format. Returns rpm's output. Raises ManagerError."""
        return self._query("-qa", "--qf", form)

    def _query(self, *words: str) -> bytes:
        if self._files.is_foreign:
            raise self._unreadable_error()
        program = next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)
        if program is None:
            raise ManagerError(f"{self._files.describe(self.database)} exists, but rpm, which could read it, doesn't")
        return ask([program, "--dbpath", os.path.dirname(self._files.describe(self.database)), *words], _PATIENCE)

    def _unreadable_error(self) -> ManagerError:
        """Returns the error for a database that only rpm can read: rpm would trust a foreign root."""
        return ManagerError(f"{self._files.describe(self.database)}: rpm isn't run over a root's database")

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/lib/{library}/site-packages", f"/usr/lib64/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """Returns file triggers for a package's spec: rpm reads no hook files that an administrator could add."""
        sites = subject.site_directories or cls.site_directories(subject.library)
        libraries = subject.libraries or [f"/usr/{lib}/{subject.library}" for lib in ("lib", "lib64")]
        prefixes = [*sites, *(f"{library}/{INTERPRETERS_OWN}" for library in libraries)]
        for prefix in prefixes:
            quoted(prefix, forbidden=" '")  # a spec has no way to quote a prefix
        python = _escape_macros(shell([subject.python]))
        words = {"PROGRAM": _escape_macros(shell(subject.program)), "VERSION": subject.version, "PYTHON": python}
        every = [_escape_macros(f"{prefix}/") for prefix in prefixes]
        texts = [render("rpm/file-triggers.spec", {**words, "PREFIXES": " ".join(every)})]
        texts += [render("rpm/after-removal.spec", {**words, "PREFIX": prefix}) for prefix in every]
        return [HookFile(f"/usr/lib/rpm/pyctrigger-{subject.name}.spec", "".join(texts))]


def _escape_macros(text: str) -> str:
    return text.replace("%", "%%")
