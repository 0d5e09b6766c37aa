"""rpm: its database has had four formats, so rpm itself is asked; a query takes no lock (rpm(8), QUERY OPTIONS)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .hook import HookFile, quoted, render, shell
from .manager import Manager, ManagerError, pycs_in_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .hook import Subject

_DIRECTORIES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")
_PROGRAMS = ("/usr/bin/rpm", "/bin/rpm")
#: Seconds.
_PATIENCE = 60


class Rpm(Manager):
    """Fedora's, openSUSE's."""

    name = "rpm"
    package_with_hooks = "pyctrigger"

    @property
    def database(self) -> str:
        candidates = [os.path.join(directory, name) for directory in _DIRECTORIES for name in _FILES]
        return next((path for path in candidates if os.path.exists(self.inside(path))), candidates[0])

    def owned_pycs(self) -> Iterator[bytes]:
        import subprocess  # only where a package manager has to be asked

        program = next((path for path in _PROGRAMS if os.access(path, os.X_OK)), None)
        if program is None:
            raise ManagerError(f"{self.inside(self.database)} is there, but no rpm to read it")
        command = [program, "--dbpath", self.inside(os.path.dirname(self.database)), "-qa", "--qf", "[%{FILENAMES}\\n]"]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}
        try:
            child = subprocess.run(
                command,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ManagerError(f"{program} can't be asked: {type(error).__name__}") from error
        if child.returncode:
            raise ManagerError(f"{program} can't read {self.inside(self.database)}: exit status {child.returncode}")
        yield from pycs_in_list(child.stdout)

    @staticmethod
    def site_directories(library: str) -> list[str]:
        return [f"/usr/lib/{library}/site-packages", f"/usr/lib64/{library}/site-packages"]

    @classmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """The file triggers of a package's spec: rpm reads no file that an administrator could add."""
        sites = subject.site_directories or cls.site_directories(subject.library)
        for site in sites:
            quoted(site, forbidden=" '")  # a spec has no way to quote a prefix
        words = {
            "PROGRAM": _macro_free(shell(subject.program)),
            "VERSION": subject.version,
            "PREFIXES": _macro_free(" ".join(f"{site}/" for site in sites)),
        }
        return [HookFile(f"/usr/lib/rpm/pyctrigger-{subject.flavour}.spec", render("rpm/file-triggers.spec", words))]


def _macro_free(text: str) -> str:
    return text.replace("%", "%%")
