"""A package manager: which pycs its packages own, where they put a flavour's sources, and the hooks for it.

Its database is read without taking its lock, which the manager holds while hooks run.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from .files import Files, ManagerError, Source
from .hook import HookFile, Subject

#: A package in every standard library: touched whenever an interpreter is installed, upgraded or removed.
INTERPRETERS_OWN = "encodings"

_ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C", "HOME": "/"}
_SUFFIX = b".pyc"
#: Up to this many lines are searched for one by one, which is faster than splitting the text.
_FEW = 20


class Manager(abc.ABC):
    """A kind of package manager, and what its database, read through `files`, contains."""

    name: ClassVar[str]
    """The name that `--manager` takes."""
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
    def owned_pycs(self) -> Iterator[bytes]:
        """Yields absolute paths, as seen inside the root, of all packages' pycs. Raises ManagerError and OSError."""

    @abc.abstractmethod
    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        """Returns the name of the package that owns each of these files. Raises ManagerError and OSError.

        `paths` are absolute, as seen inside the root; those that no package owns are left out.
        """

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        """Returns the package pyctrigger's trigger: the path that shows that it exists, and its `--python` values.

        Without values it is for all Pythons. None if there is no such trigger. Raises ManagerError and OSError.
        """
        return None

    @staticmethod
    @abc.abstractmethod
    def site_directories(library: str) -> list[str]:
        """Returns where its packages put sources for an interpreter whose library is `library` (python3.11)."""

    @classmethod
    @abc.abstractmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """Returns the files that make it call pyctrigger. Raises UsageError for a path that can't be used in them."""

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


def pycs_in_list(text: bytes, prefix: bytes = b"") -> Iterator[bytes]:
    """Yields the pycs in a list of paths, one a line."""
    if _SUFFIX in text:
        for line in text.split(b"\n"):
            if line.endswith(_SUFFIX):
                yield prefix + line


def lines_in(text: bytes, lines: Collection[bytes]) -> set[bytes]:
    """Returns those of `lines` that are in a text. Most packages' lists have none of them."""
    if len(lines) <= _FEW:
        lines = [line for line in lines if line in text]
        if not lines:
            return set()
    return set(lines).intersection(text.split(b"\n"))
