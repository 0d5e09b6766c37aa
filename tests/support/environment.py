"""The virtual environment that tests and tour run in, on any machine with Python 3.9 or later and a network.

`python3 -m venv` is enough where ensurepip works. Debian's python3 has none until python3-venv is installed, and may
have no pip either: then pip's own wheel is had from a pip that is there, or from the package index, and run as it is.
A stamp inside the environment says what it was made of, so that the second time costs nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from package_index import IndexUnusable, fetch_wheel, index_url, without_secret
from pinned import LOCKS, UNBUILT, hashes_in, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]
OLDEST_HOST = (3, 9)

STAMP = "pyctrigger-environment.json"

CHILD_SECONDS = 1200

Say = Callable[[str], None]


class EnvironmentTrouble(Exception):
    """The environment can't be made: where, why, and a hint."""

    def __init__(self, path: Path, reason: str, mend: str) -> None:
        super().__init__(f"{path}: {reason}\n  Mend: {mend}")
        self.path = path
        self.reason = reason
        self.mend = mend


@dataclass(frozen=True)
class Environment:
    """A virtual environment on disk."""

    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter: a link to the one it was made with."""
        return self.path / "bin" / "python"

    def program(self, name: str) -> Path:
        """One of its programs."""
        return self.path / "bin" / name


@dataclass(frozen=True)
class Recipe:
    """What an environment is made of; two equal recipes need no second making."""

    path: str
    interpreter: str
    version: str
    digest: str
    """Of pyproject.toml, of the locks and of this file."""
    extras: tuple[str, ...]

    def satisfies(self, wanted: Recipe) -> bool:
        """Whether an environment made by this recipe is enough for `wanted`: more extras do no harm."""
        return self.base == wanted.base and self.digest == wanted.digest and set(wanted.extras) <= set(self.extras)

    @property
    def base(self) -> tuple[str, str, str]:
        """What can't be changed without starting from nothing: scripts name `path`, packages lie below the version."""
        return self.path, self.interpreter, self.version


def prepare(extras: Sequence[str] = (), *, say: Say = print, path: Path | None = None) -> Environment:
    """The checkout's environment, with pyctrigger installed in place and `extras`: made, completed or found ready.

    Raises `EnvironmentTrouble`.
    """
    environment = Environment(path or CHECKOUT / ".venv")
    _refuse_old_host(environment)
    with _alone(environment, say):
        made = _read_stamp(environment)
        wanted = _recipe(environment, extras)
        if made and made.base == wanted.base and _answers(environment):
            if made.satisfies(wanted):
                say(f"{environment.path} is ready")
                return environment
            wanted = _recipe(environment, sorted({*extras, *made.extras}))
        else:
            _make(environment, say)
        _install_checkout(environment, wanted.extras, say)
        _write_stamp(environment, wanted)
    return environment


def _refuse_old_host(environment: Environment) -> None:
    if sys.version_info < OLDEST_HOST:
        version, oldest = (".".join(map(str, numbers[:2])) for numbers in (sys.version_info, OLDEST_HOST))
        reason = f"Python {version} can't run pyctrigger, which needs {oldest} or later (it compiles for 3.6 and later)"
        raise EnvironmentTrouble(environment.path, reason, "start this script with a later interpreter")


@contextmanager
def _alone(environment: Environment, say: Say) -> Iterator[None]:
    """Two runs in one checkout (tests beside a tour) make the environment one after the other."""
    parent = environment.path.parent
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that is making {environment.path}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # the lock goes with it


# ------------------------------------------------------------------------------------------------------------ the stamp


def _recipe(environment: Environment, extras: Sequence[str]) -> Recipe:
    digest = hashlib.sha256()
    for source in (CHECKOUT / "pyproject.toml", Path(__file__), *sorted(LOCKS.glob("*.txt"))):
        digest.update(source.read_bytes())
    return Recipe(
        path=str(environment.path),
        # Started from inside another environment, the interpreter is that one's base: ours must outlive it.
        interpreter=os.path.realpath(sys.executable),
        version=".".join(map(str, sys.version_info[:2])),
        digest=digest.hexdigest(),
        extras=tuple(extras),
    )


def _read_stamp(environment: Environment) -> Recipe | None:
    try:
        stamp = json.loads((environment.path / STAMP).read_bytes())
        return Recipe(**{**stamp, "extras": tuple(stamp["extras"])})
    except (OSError, ValueError, KeyError, TypeError):  # none yet, cut short, or of another release: make it anew
        return None


def _write_stamp(environment: Environment, recipe: Recipe) -> None:
    (environment.path / STAMP).write_text(json.dumps(vars(recipe), indent=1) + "\n", encoding="utf-8")


def _answers(environment: Environment) -> bool:
    """Whether its interpreter and its pip still start: a system upgrade may have taken the base away."""
    try:
        return _run([environment.python, "-I", "-m", "pip", "--version"]).returncode == 0
    except OSError:
        return False


# --------------------------------------------------------------------------------------------------------- from nothing


def _make(environment: Environment, say: Say) -> None:
    """An empty environment with a pip in it."""
    _clear(environment)
    say(f"making {environment.path} with {sys.executable} ({'.'.join(map(str, sys.version_info[:3]))})")
    _write_mark(environment)
    if not _make_with_ensurepip(environment):
        say("this Python has no ensurepip: fetching pip's wheel instead")
        _make_without_pip(environment)
        with tempfile.TemporaryDirectory(prefix="pyctrigger-pip-") as scratch:
            wheel = _pip_wheel(environment, Path(scratch))
            # A wheel is a zip file, and Python runs a package inside one: pip installs itself from itself.
            _pip(environment, [str(wheel / "pip")], ["install", "--no-index", "--no-deps", str(wheel)])
    _pip(environment, ["-m", "pip"], ["install", *locked("pip")])


def _clear(environment: Environment) -> None:
    """Take away what an earlier run left; never what somebody else made."""
    if not os.path.lexists(environment.path):
        return
    if not (environment.path / STAMP).is_file():
        mend = "move it away (this script then makes its own) or remove it"
        raise EnvironmentTrouble(environment.path, "is there already, and this script didn't make it", mend)
    try:
        shutil.rmtree(environment.path)
    except OSError as error:
        mend = "remove it yourself; was it made by another user?"
        raise EnvironmentTrouble(environment.path, f"can't be removed: {error}", mend) from error


def _write_mark(environment: Environment) -> None:
    """An unfinished stamp: a run that is killed now leaves something that the next one may remove."""
    try:
        environment.path.mkdir()
        (environment.path / STAMP).write_text("{}\n", encoding="utf-8")
    except OSError as error:
        mend = "make the checkout writable for you, or use a copy of it"
        raise EnvironmentTrouble(environment.path, f"can't be written: {error.strerror}", mend) from error


def _make_with_ensurepip(environment: Environment) -> bool:
    # In a child, so that its long complaint where ensurepip is missing stays unseen: that is no trouble here.
    command = [sys.executable, "-I", "-m", "venv", str(environment.path)]
    return _run(command).returncode == 0 and _answers(environment)


def _make_without_pip(environment: Environment) -> None:
    try:
        venv.EnvBuilder(symlinks=True).create(environment.path)
    except (OSError, subprocess.SubprocessError) as error:
        mend = "install your system's package for virtual environments (Debian: python3-venv)"
        raise EnvironmentTrouble(environment.path, f"venv failed: {error}", mend) from error


def _pip_wheel(environment: Environment, directory: Path) -> Path:
    """pip's own wheel: from the pip of this interpreter, which knows proxies and private indexes, or from the index."""
    download = ["download", "--quiet", "--only-binary", ":all:", "--dest", str(directory), *locked("pip")]
    child = _run([sys.executable, "-I", "-m", "pip", *download])
    wheels = sorted(directory.glob("pip-*.whl"))
    if child.returncode == 0 and wheels:
        return wheels[-1]
    try:
        return fetch_wheel("pip", directory, hashes_in("pip"))
    except IndexUnusable as error:
        mend = (
            "a network, or PIP_INDEX_URL naming an index that this machine reaches; "
            "or your system's package for virtual environments (Debian: apt install python3-venv)"
        )
        raise EnvironmentTrouble(environment.path, f"pip's wheel can't be had: {error}", mend) from error


# ------------------------------------------------------------------------------------------------------------- packages


def _install_checkout(environment: Environment, extras: Sequence[str], say: Say) -> None:
    say(f"installing pyctrigger in place{' with ' + ', '.join(extras) if extras else ''} into {environment.path}")
    for name in ("run", *extras):
        _pip(environment, ["-m", "pip"], ["install", *locked(name)])
    # In place, so that what is tested is always what is in the checkout.
    _pip(environment, ["-m", "pip"], ["install", *UNBUILT, "--editable", str(CHECKOUT)])


def _pip(environment: Environment, start: Sequence[str], arguments: Sequence[str]) -> None:
    """Run pip inside the environment; its complaint, if it fails, becomes the reason."""
    child = _run([environment.python, "-I", *start, "--quiet", "--no-input", *arguments])
    if child.returncode:
        complaint = [line for line in child.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        reason = f"pip {' '.join(arguments)} ended with {child.returncode}:\n    " + "\n    ".join(complaint[-15:])
        mend = f"a network that reaches {without_secret(index_url())}, or PIP_INDEX_URL naming another index"
        raise EnvironmentTrouble(environment.path, reason, mend)


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[bytes]:
    """A child whose output is kept; one that never ends counts as failed, with that as its complaint."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,  # nobody may be there to answer a question
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=CHILD_SECONDS,
            env=child_environment(),
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, f"no end after {CHILD_SECONDS} s".encode())


def child_environment() -> dict[str, str]:
    """The caller's environment, less what would make pip or Python install or import somewhere else."""
    elsewhere = {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"}
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
    return {**environment, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
