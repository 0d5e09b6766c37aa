"""rpm: a database that has had four formats, and file triggers, which only packages can have.

The current format, SQLite with a package's whole header in each row (rpm 4.16 and later), is read directly; for the
others rpm is run. A query takes no lock (rpm(8), QUERY OPTIONS).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Collection, Iterator

from ..errors import ManagerError
from .databases import Source
from .hook import HookFile, Subject, quoted, render
from .manager import Manager, ask, is_wanted

_DIRECTORIES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_PROGRAMS = ("/usr/bin/rpm", "/bin/rpm")
#: Our command's path in the package.
_COMMAND = b"/usr/bin/pyctrigger"
#: Seconds.
_PATIENCE = 60
#: Skips the headers of packages without bytecode, which most are. In hexadecimal, so that bytes are compared.
_WITH_PYC = "select blob from Packages where instr(blob, x'2e707963')"
_WITH_FILE = "select blob from Packages where hnum in (select hnum from Basenames where key = cast(? as text))"


class Rpm(Manager):
    """The package manager of Fedora and openSUSE."""

    name = "rpm"
    sites = ("/usr/lib/{library}/site-packages", "/usr/lib64/{library}/site-packages")
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

    def read_owned(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        if self.database.endswith(".sqlite"):
            yield from self._read_headers(paths)
            return
        for line in self._query("-qa", "--qf", "[%{=NAME}\\t%{FILENAMES}\\n]").split(b"\n"):
            package, _, path = line.partition(b"\t")
            if is_wanted(path, paths):
                yield path, os.fsdecode(package)

    def _read_headers(self, paths: Collection[bytes] | None) -> Iterator[tuple[bytes, str]]:
        """Read the table `Packages`, which has a package's header in each row."""
        from .rpm_header import PackageHeader  # not needed to examine a hook

        tables = ["Packages"] if paths is None else ["Packages", "Basenames"]
        try:
            with self._files.open_database(self.database, tables) as database:
                if paths is None:
                    for (blob,) in database.execute(_WITH_PYC):
                        yield from ((path, "") for path in PackageHeader(bytes(blob)).files(b".pyc"))
                for base in {os.path.basename(path) for path in paths or ()}:
                    for (blob,) in database.execute(_WITH_FILE, (base,)):
                        header = PackageHeader(bytes(blob))
                        found = [path for path in header.files(base) if is_wanted(path, paths)]
                        yield from ((path, os.fsdecode(header.name)) for path in found)
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise ManagerError(f"{self._files.describe(self.database)} can't be read: {error}") from error

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        if self._files.is_foreign:
            # The database shows whether the package is installed; only rpm could list its triggers: assume all Pythons.
            owners = dict(self.find_owned({_COMMAND}))
            return (self.database, ()) if owners.get(_COMMAND) == "pyctrigger" else None
        packages = self._query("-qa", "--qf", "%{NAME}\\n").split(b"\n")
        if b"pyctrigger" not in packages:
            return None
        calls = re.findall(rb"--hook\b.*?--python ([^\s']+)", self._query("-q", "--filetriggers", "pyctrigger"))
        return self.database, tuple(dict.fromkeys(map(os.fsdecode, calls)))

    def _query(self, *words: str) -> bytes:
        if self._files.is_foreign:
            raise self._unreadable_error()
        program = next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)
        if program is None:
            raise ManagerError(f"{self._files.describe(self.database)} exists, but rpm, which could read it, doesn't")
        return ask([program, "--dbpath", os.path.dirname(self._files.describe(self.database)), *words], _PATIENCE)

    def _unreadable_error(self) -> ManagerError:
        """Returns the error for a database that only rpm can read: rpm would trust a foreign root."""
        return ManagerError(f"{self._files.describe(self.database)}: rpm isn't run on the database of a root")

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """Returns file triggers for a package's spec: rpm reads no hook files that an administrator could add."""
        prefixes = cls.watched(subject, [f"/usr/{lib}/{subject.library}" for lib in ("lib", "lib64")])
        for prefix in prefixes:
            quoted(prefix, forbidden=" '")  # a spec has no way to quote a prefix
        words = {name: _escape_macros(word) for name, word in subject.shell_words.items()}
        words["VERSION"] = subject.version
        every = [_escape_macros(f"{prefix}/") for prefix in prefixes]
        texts = [render("rpm/file-triggers.spec", {**words, "PREFIXES": " ".join(every)})]
        texts += [render("rpm/after-removal.spec", {**words, "PREFIX": prefix}) for prefix in every]
        return [HookFile(f"/usr/lib/rpm/pyctrigger-{subject.name}.spec", "".join(texts))]


def _escape_macros(text: str) -> str:
    return text.replace("%", "%%")
