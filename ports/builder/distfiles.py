"""The distfiles: the releases of the dependencies, pinned by name and checksum in `ports/distinfo`.

They are taken from a directory. Where one is missing there, pip is asked for it; a build without a network finds
everything in `$DISTDIR`, or beside this script in `ports/distfiles`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from .trouble import BuildError

if TYPE_CHECKING:
    from collections.abc import Collection

_LINE = re.compile(r"SHA256 \(([^()\s]+)\) = ([0-9a-f]{64})\Z")
_SECONDS = 300


class Distfile(NamedTuple):
    """One pinned release: a pure-Python wheel."""

    name: str
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip takes it: `filelock==3.19.1`."""
        project, version = self.name.split("-")[:2]
        return f"{project}=={version}"

    @property
    def project(self) -> str:
        """`filelock`."""
        return self.name.split("-")[0]


def pinned(distinfo: Path) -> list[Distfile]:
    """What `ports/distinfo` names. Raises BuildError."""
    matches = [_LINE.match(line) for line in distinfo.read_text(encoding="utf-8").splitlines()]
    found = [Distfile(match[1], match[2]) for match in matches if match]
    if not found:
        raise BuildError(f"{distinfo} names no distfile")
    return found


def fetch(checkout: Path, without: Collection[str] = ()) -> dict[Distfile, Path]:
    """Returns the path of each distfile but those of some projects, with the right checksum. Raises BuildError."""
    own = checkout / "ports" / "distfiles"
    named = os.environ.get("DISTDIR")
    places = [Path(named)] if named else [own]
    found = {}
    for distfile in pinned(checkout / "ports" / "distinfo"):
        if distfile.project in without:
            continue
        path = next((place / distfile.name for place in places if (place / distfile.name).is_file()), None)
        found[distfile] = path or _download(distfile, places[0], checkout)
        _require_checksum(distfile, found[distfile])
    return found


def _require_checksum(distfile: Distfile, path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != distfile.sha256:
        raise BuildError(f"{path} has the checksum {digest} instead of {distfile.sha256}; remove it, and try again")


def _download(distfile: Distfile, directory: Path, checkout: Path) -> Path:
    """Ask pip, with the checksum. It may be the only thing here that knows the way to a package index."""
    missing = f"{distfile.name} is missing; put it into {directory}, or name another directory with DISTDIR"
    if importlib.util.find_spec("pip") is None:
        missing += ", or let python3 tests/tour.py make an environment with a pip that fetches it"
    with tempfile.TemporaryDirectory(prefix="pyctrigger-distfiles-") as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(f"{distfile.requirement} --hash=sha256:{distfile.sha256}\n", encoding="utf-8")
        command = [_with_pip(checkout), "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--require-hashes", "--python-version", "3.9", "--implementation", "py", "--abi", "none"]
        command += ["--platform", "any", "--dest", scratch, "--requirement", str(requirements)]
        try:
            child = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{missing} (pip: {error})") from error
        if child.returncode or not (Path(scratch) / distfile.name).is_file():
            said = child.stderr.decode("utf-8", "replace").strip().splitlines()
            raise BuildError(f"{missing} (pip: {said[-1] if said else f'exit {child.returncode}'})")
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / distfile.name
        partial = directory / f".{distfile.name}.{os.getpid()}"
        partial.write_bytes((Path(scratch) / distfile.name).read_bytes())
        partial.replace(target)  # two builds at once each put the same bytes there
    return target


def _with_pip(checkout: Path) -> str:
    """The interpreter that runs this; or, where it has no pip, as Debian's, the environment that the tour makes."""
    own = checkout / ".venv/bin/python"
    if importlib.util.find_spec("pip") is None and own.is_file():
        return str(own)
    return sys.executable


def unpack(distfile: Distfile, path: Path, application: Path, licences: Path | None) -> None:
    """Put the modules into the application directory, and the licence into that of `licences`. Raises BuildError."""
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
        text = licence(wheel)
        for name in names:
            parts = PurePosixPath(name).parts
            if parts[0] == distfile.project and ".." not in parts:
                _write(application / name, wheel.read(name))
        if licences:
            _write(licences / f"LICENSE.{distfile.project}", text)


def licence(wheel: zipfile.ZipFile) -> bytes:
    """Returns the text of a release's licence. Raises BuildError if there is none."""
    return b"\n".join(wheel.read(name) for name in licences_in(wheel))


def licences_in(wheel: zipfile.ZipFile) -> list[str]:
    """Returns the names of the licence's files in a wheel. Raises BuildError if there is none."""
    names = [name for name in wheel.namelist() if not name.endswith("/")]
    found = [name for name in names if ".dist-info/licenses/" in name or name.endswith(".dist-info/LICENSE")]
    if not found:
        raise BuildError(f"{wheel.filename} has no licence in it")
    return found


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
