"""A package manager: which pycs its packages own, where they put a flavour's sources, and how a hook for it looks.

Its database is read as it lies on the disk, without its lock: a hook runs while the manager holds that.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from .files import Files, ManagerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from .files import Source
    from .hook import HookFile, Subject

#: In every interpreter's standard library, and touched whenever the interpreter comes, goes or changes.
INTERPRETERS_OWN = "encodings"

_ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C", "HOME": "/"}
_SUFFIX = b".pyc"
#: So many lines are looked for one by one, before a text is split.
_FEW = 20


class Manager(abc.ABC):
    """One kind of package manager, and what its `files` say."""

    name: ClassVar[str]
    """As `--manager` takes it."""
    package_with_hooks: ClassVar[str | None] = None
    """The package that brings its hooks, where an administrator can't add a file of his own."""

    def __init__(self, files: Files | None = None) -> None:
        self._files = files or Files()

    @property
    @abc.abstractmethod
    def database(self) -> str:
        """The file or directory whose presence means that this manager is in use, as seen inside the root."""

    @property
    @abc.abstractmethod
    def sources(self) -> list[Source]:
        """What its answers about owners are read from, no more. Raises ManagerError."""

    @abc.abstractmethod
    def owned_pycs(self) -> Iterator[bytes]:
        """Absolute paths, as seen inside the root, of all pycs of all packages. Raises ManagerError and OSError."""

    @abc.abstractmethod
    def owners(self, paths: Collection[bytes]) -> dict[bytes, str]:
        """The package that owns each of these files, by its name. Raises ManagerError and OSError.

        `paths` are absolute, as seen inside the root; those that no package owns are left out.
        """

    def package_trigger(self) -> tuple[str, tuple[str, ...]] | None:
        """The trigger that the package pyctrigger itself has: what in the database says so, and its `--python`s.

        Without any it is for every Python; None where there is no such trigger. Raises ManagerError and OSError.
        """
        return None

    @staticmethod
    @abc.abstractmethod
    def site_directories(library: str) -> list[str]:
        """Where its packages put the sources for an interpreter whose library is called `library` (python3.11)."""

    @classmethod
    @abc.abstractmethod
    def hooks(cls, subject: Subject) -> list[HookFile]:
        """The files that make it call pyctrigger. Raises UsageError for a path that can't stand in them."""

    @property
    def is_present(self) -> bool:
        """Whether the system is run by this manager."""
        return self._files.has(self.database)


def ask(command: Sequence[str], seconds: float) -> bytes:
    """What a manager's program, by its absolute path, answers within so many seconds. Raises ManagerError."""
    import signal  # only where a package manager has to be asked
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
        raise ManagerError(f"{program} can't be asked: {type(error).__name__}") from error
    if child.returncode:
        raise ManagerError(f"{program} doesn't answer: exit status {child.returncode}")
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:  # a program's that uses us: then every status is 0
        raise ManagerError(f"nobody can tell whether {program} has failed while SIGCHLD is ignored")
    return child.stdout


def pycs_in_list(text: bytes, prefix: bytes = b"") -> Iterator[bytes]:
    """The pycs among paths that stand one a line."""
    if _SUFFIX in text:
        for line in text.split(b"\n"):
            if line.endswith(_SUFFIX):
                yield prefix + line


def lines_in(text: bytes, lines: Collection[bytes]) -> set[bytes]:
    """Those of `lines` that stand in a text. Most lists of files have none of them."""
    if len(lines) <= _FEW:
        lines = [line for line in lines if line in text]
        if not lines:
            return set()
    return set(lines).intersection(text.split(b"\n"))
