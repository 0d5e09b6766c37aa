"""The target interpreter as a value: what it answered when it was asked."""

from __future__ import annotations

import os
from binascii import crc32
from functools import lru_cache, partial

from ..tuples import NamedTuple


class Account(NamedTuple):
    """Whose rights a child process has."""

    uid: int
    gid: int


class Interpreter(NamedTuple):
    """A probed target interpreter. Two of them are the same installation when their `installation` is equal."""

    executable: str
    """Absolute path, as it was found or given; as seen inside the root, if `root` is set."""
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
    """`sys.abiflags`; it tells 3.13t from 3.13, which share tag and magic number."""
    free_threaded: bool
    prefix: str
    """The real `sys.base_prefix`."""
    schemes: dict[str, dict[str, str]]
    """The directories of each installation scheme, by scheme and key (`sysconfig.get_paths`)."""
    default_scheme: str
    inside: tuple[str, ...]
    """Where packages lie in an environment, below the placeholder prefix `/@`."""
    account: Account | None = None
    """Run as this account, since it could change the executable; None: as ourselves."""
    root: str | None = None
    """Run after a chroot to this directory (`--trust-root`)."""
    environment: str | None = None
    """The virtual environment that the executable stands in, by its `pyvenv.cfg` (PEP 405)."""

    @property
    def flavour(self) -> str:
        """The short name: py311, py313t, pypy311."""
        stem = "py" if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def library(self) -> str:
        """The name of its directory of modules: `python3.13t`, `pypy3.11`."""
        stem = "python" if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def is_gone(self) -> bool:
        """Whether nothing is left to run: it is known by its name, or was probed before it went."""
        if not self.executable:
            return True
        try:
            os.lstat((self.root or "") + self.executable)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass  # nobody can say that it went
        return False

    @property
    def installation(self) -> str:
        """A stable, readable id of the installation: `cpython-311-3f2a9c1d`."""
        return self.installation_in(None)

    def installation_in(self, root: tuple[int, int] | None, environment: str | None = None) -> str:
        """The id, for a root seen from outside with that root's device and inode.

        An `environment` that it serves, by its real path, has an id of its own, whoever's library it borrows. Where
        another account could choose what the digest is made of, that account is named outside of it.
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
            holders.update(_holders_of(environment))
        facts += [f"account {uid}" for uid in sorted(holders)]
        # Eight digits tell installations apart, they don't protect anything; hashlib would cost a hook 5 ms.
        digest = crc32("\0".join(facts).encode("utf-8", "surrogateescape"))
        owners = "".join(f"-account{uid}" for uid in sorted(holders))
        return f"{self.cache_tag}{'t' if self.free_threaded else ''}{owners}-{digest:08x}"


@lru_cache(maxsize=64)  # one run has one id for an environment, whatever its owner does meanwhile
def _holders_of(path: str) -> tuple[int, ...]:
    """The accounts besides our own that could put something else in the place of a directory."""
    from ..namespaces import is_unmapped_owner  # only an environment has holders

    owners = set()
    try:
        while True:
            uid = os.lstat(path).st_uid
            if not is_unmapped_owner(uid, partial(os.open, path)):
                owners.add(uid)
            above = os.path.dirname(path)
            if above == path:
                break
            path = above
    except OSError:
        pass  # it is gone
    return tuple(sorted(owners - {0, os.geteuid()}))
