"""A package manager: which pycs its packages own, where they put a flavour's sources, and the hooks for it.

Its database is read without taking its lock, which the manager holds while hooks run.
"""

from __future__ import annotations

import abc
import os
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

from ..errors import ManagerError
from .databases import Files, Source
from .hook import HookFile, Subject

#: A package in every standard library: touched whenever an interpreter is installed, upgraded or removed.
_INTERPRETERS_OWN = "encodings"

_ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C", "HOME": "/"}
_SUFFIX = b".pyc"
#: Up to this many lines are searched for one by one, which is faster than splitting the text.
_FEW = 20


class Manager(abc.ABC):
    """A kind of package manager, and what its database, read through `files`, contains."""

    name: ClassVar[str]
    """The name that `--manager` takes."""
    sites: ClassVar[tuple[str, ...]]
    """Where its packages put sources, with `{library}` for the name of the interpreter's library."""
    package_with_hooks: ClassVar[str | None] = None
    """The package that contains its hooks, if an administrator can't add hook files."""

    def __init__(self, files: Files | None = None) -> None:
        self._files = files or Files()

    @property
    @abc.abstractmethod
    def database(self) -> str:
        """The file or directory that exists if this manager is in use, as seen inside the root."""

    @property
    @abc.abstractmethod
    def sources(self) -> list[Source]:
        """The files that it needs to find owners, and no others. Raises ManagerError."""

    @abc.abstractmethod
    def read_owned(self, paths: Collection[bytes] | None) -> Iterable[tuple[bytes, str]]:
        """Like `find_owned`, in this process."""

    def find_owned(self, paths: Collection[bytes] | None) -> Iterable[tuple[bytes, str]]:
        """Finds which of these files packages own, or with None all pycs that they own.

        Returns absolute paths, as seen inside the root, each with its package, whose name may be missing for None. Of
        two owners of one file the last counts. Raises ManagerError and OSError, also while it is iterated over.
        """
        found = self._files.ask_reader(self.name, self.sources, paths) if self._files.is_foreign else None
        if found is None:
            return self.read_owned(paths)
        return ((path, os.fsdecode(package)) for path, package in found)

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        """Returns the package pyctrigger's trigger: the path that shows that it exists, and its `--python` values.

        Without values it is for all Pythons. None if there is no such trigger. Raises ManagerError and OSError.
        """
        return None

    def compiles(self, implementation: str, version: tuple[int, int]) -> bool:
        """Whether tools of this system, other than ours, write an interpreter's bytecode at level 0.

        Raises OSError.
        """
        return False

    @classmethod
    def site_directories(cls, library: str) -> list[str]:
        """Returns where its packages put sources for an interpreter whose library is `library` (python3.11)."""
        return [site.format(library=library) for site in cls.sites]

    @classmethod
    @abc.abstractmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """Returns the files that make it call pyctrigger. Raises UsageError for a path that can't be used in them."""

    @classmethod
    def watched(cls, subject: Subject, libraries: Sequence[str]) -> list[str]:
        """Returns the directories whose changes concern an interpreter that has its library in one of `libraries`."""
        sites = subject.site_directories or cls.site_directories(subject.library)
        return [*sites, *(f"{library}/{_INTERPRETERS_OWN}" for library in subject.libraries or libraries)]

    @property
    def is_present(self) -> bool:
        """Whether this manager is in use on the system."""
        return self._files.has(self.database)


def ask(command: Sequence[str], seconds: float) -> bytes:
    """Run a manager's program, given by its absolute path. Returns its output. Raises ManagerError."""
    import signal  # only where a manager's program is run
    import subprocess

    program = command[0]
    try:
        child = subprocess.run(
            command,
            env=_ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ManagerError(f"{program} can't be run: {type(error).__name__}") from error
    if child.returncode:
        raise ManagerError(f"{program} failed: exit status {child.returncode}")
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # by a program that uses the library: each status is 0
        raise ManagerError(f"the exit status of {program} is unknown while SIGCHLD is ignored")
    return child.stdout


def lines_in(text: bytes, lines: Collection[bytes] | None) -> Iterable[bytes]:
    """Returns those of `lines` that are in a text, or with None those that name pycs.

    Most packages' lists have none of them.
    """
    if lines is None:
        return [line for line in text.split(b"\n") if line.endswith(_SUFFIX)] if _SUFFIX in text else ()
    if len(lines) <= _FEW:
        lines = [line for line in lines if line in text]
        if not lines:
            return ()
    return set(lines).intersection(text.split(b"\n"))


def is_wanted(path: bytes, paths: Collection[bytes] | None) -> bool:
    """Whether a path is one of these, or with None that of a pyc."""
    return path.endswith(_SUFFIX) if paths is None else path in paths
