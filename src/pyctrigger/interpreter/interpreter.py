"""The target interpreter as a value: what it answered when it was probed, and the files that this depends on."""

from __future__ import annotations

import os
import stat
from binascii import crc32
from collections.abc import Iterator
from functools import lru_cache, partial

from ..errors import InterpreterError
from ..stamps import inode_of, stamp_of
from ..typed import NamedTuple
from .flavour import Flavour


class Account(NamedTuple):
    """The account that a child process runs as."""

    uid: int
    gid: int


class Interpreter(NamedTuple):
    """A probed target interpreter. Two of them are the same installation when their `installation` is equal."""

    executable: str
    """Absolute path as it was found or given; as seen inside the root if `root` is set."""
    implementation: str
    """`sys.implementation.name`: cpython, pypy."""
    version: tuple[int, int, int]
    release: str
    """The version as text, with its stage: `3.14.0rc2`."""
    cache_tag: str
    """`sys.implementation.cache_tag` (PEP 3147)."""
    magic_number: bytes
    """`importlib.util.MAGIC_NUMBER`, four bytes."""
    abi_flags: str
    """`sys.abiflags`. They distinguish 3.13t from 3.13, which have the same tag and magic number."""
    free_threaded: bool
    prefix: str
    """The real `sys.base_prefix`."""
    schemes: dict[str, dict[str, str]]
    """The directories of each installation scheme, by scheme and key (`sysconfig.get_paths`)."""
    default_scheme: str
    inside: tuple[str, ...]
    """Directories of packages in an environment, with the placeholder `/@` for its prefix."""
    account: Account | None = None
    """The account to run it as, since that could change the executable; None to run it as ourselves."""
    root: str | None = None
    """Directory to chroot into before running it (`--trust-root`)."""
    environment: str | None = None
    """The virtual environment that contains the executable, according to its `pyvenv.cfg` (PEP 405)."""
    build: tuple[tuple[str, str], ...] = ()
    """What its bytecode depends on beside that, by name and in order; empty if it was never probed."""
    class_names: tuple[str, ...] = ()
    """Those that a process with py_compile has interned (`remote/interned.py`); none before CPython 3.13."""

    @property
    def kind(self) -> Flavour:
        """Its flavour, as if it had been asked for by version."""
        return Flavour(self.implementation, self.version[:2], self.free_threaded)

    @property
    def flavour(self) -> str:
        """The short name: py311, py313t, pypy311."""
        return self.kind.name

    @property
    def library(self) -> str:
        """Name of its library directory: `python3.13t`, `pypy3.11`."""
        return self.kind.library

    def require(self, asked: Flavour) -> None:
        """Raise InterpreterError unless this is what was asked for."""
        if asked.path is None and self.kind != asked:
            raise InterpreterError(
                f"{self.executable} should be {asked.name}, but is {self.flavour}",
                hint=f"use --python {self.flavour}, or correct {asked.name}'s executable in the configuration",
            )

    @property
    def is_gone(self) -> bool:
        """Whether the executable doesn't exist any more, or was only ever known by its name."""
        if not self.executable:
            return True
        try:
            os.lstat((self.root or "") + self.executable)
        except OSError as error:  # of any other we don't know, so assume that it exists
            return isinstance(error, (FileNotFoundError, NotADirectoryError))
        return False

    @property
    def installation(self) -> str:
        """A stable, readable id of the installation: `cpython-311-3f2a9c1d`."""
        return self.installation_in(None)

    def installation_in(self, root: tuple[int, int] | None, environment: str | None = None) -> str:
        """Returns the id; for a root seen from outside it includes that root's device and inode.

        An `environment` (its real path) that it compiles for has an id of its own, whichever library it uses. If
        another account could choose the facts in the digest, the id also names that account outside of the digest.
        """
        home = self.prefix if environment is None else environment
        facts = [home, self.implementation, self.cache_tag, self.abi_flags, str(self.free_threaded)]
        holders = set()
        if self.account is not None:
            facts.append(self.environment or "")
            holders.add(self.account.uid)
        if root is not None:
            facts += [str(number) for number in root]
        elif environment is not None:
            holders.update(_accounts_that_can_replace(environment))
        facts += [f"account {uid}" for uid in sorted(holders)]
        # Eight digits only distinguish installations, they don't protect anything; importing hashlib takes a hook 5 ms.
        digest = crc32("\0".join(facts).encode("utf-8", "surrogateescape"))
        owners = "".join(f"-account{uid}" for uid in sorted(holders))
        return f"{self.cache_tag}{'t' if self.free_threaded else ''}{owners}-{digest:08x}"


@lru_cache(maxsize=64)  # an environment keeps its id during a run, whatever its owner does meanwhile
def _accounts_that_can_replace(path: str) -> tuple[int, ...]:
    """Returns the accounts other than root and our own that could replace a directory."""
    from ..namespaces import is_unmapped_owner  # needed only for environments

    owners = set()
    try:
        for directory in ancestors(path):
            uid = os.lstat(directory).st_uid
            if not is_unmapped_owner(uid, partial(os.open, directory)):
                owners.add(uid)
    except OSError:
        pass  # it is gone
    return tuple(sorted(owners - {0, os.geteuid()}))


class Witness(NamedTuple):
    """A path component that was examined, and the facts about it; None if it didn't exist."""

    path: str
    facts: tuple[int, ...] | None


class Probed(NamedTuple):
    """An answer, and the files whose change invalidates it."""

    interpreter: Interpreter
    witnesses: tuple[Witness, ...]


def facts_of(status: os.stat_result | None) -> tuple[int, ...] | None:
    """Returns the facts that matter: owner and mode of a directory, whose entries may change, and all of a file."""
    if status is None:
        return None
    facts = (status.st_mode, status.st_uid, status.st_gid)
    return (*facts, *(inode_of(status) if stat.S_ISDIR(status.st_mode) else stamp_of(status)))


def is_unchanged(witness: Witness) -> bool:
    """Whether a path component is the same as when it was examined."""
    try:
        return facts_of(os.lstat(witness.path)) == witness.facts
    except OSError:
        return witness.facts is None


def environment_of(executable: str) -> str | None:
    """Returns the virtual environment that contains an executable (PEP 405): with `-S` the target doesn't know it."""
    above = os.path.dirname(os.path.dirname(executable))
    return above if os.path.isfile(os.path.join(above, "pyvenv.cfg")) else None


def ancestors(path: str) -> Iterator[str]:
    """Yields a directory and all its parents up to `/`."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above
