"""What a release is made of: a wheel and an sdist of this checkout, and the packages of an earlier commit."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from environment import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The last commit of release 0.1.0.
EARLIER = "810ef475cc505f2f8b7ff945163a98f4e9950bb2"
_BUILD = "from hatchling.build import build_{kind}; import sys; print(build_{kind}(sys.argv[1]))"
_SECONDS = 600


class Unprepared(Exception):
    """There can be no release of this checkout as it is: why, and what to do."""


def require_committed() -> None:
    """Raise Unprepared if something isn't committed, or the history is cut."""
    if _git("status", "--porcelain"):
        raise Unprepared("there are changes that aren't committed; commit them: a release is a commit")
    if subprocess.run(["git", "-C", str(CHECKOUT), "cat-file", "-e", EARLIER], check=False).returncode:
        raise Unprepared("the history lacks release 0.1.0; take a whole clone of it")


def clone(place: Path, umask: int) -> Path:
    """Another checkout of the same commit, made by an account with this umask."""
    said = subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), str(place)],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        preexec_fn=lambda: os.umask(umask) and None,
        check=False,
    )
    if said.returncode:
        raise Unprepared(said.stderr.strip())
    return place


def distributions(
    tree: Path, outdir: Path, umask: int = 0o022, kinds: Iterable[str] = ("wheel", "sdist"), **surroundings: str
) -> dict[str, Path]:
    """Build wheel and sdist; their paths by name."""
    outdir.mkdir(exist_ok=True)
    built = [
        subprocess.run(
            [sys.executable, "-c", _BUILD.format(kind=kind), str(outdir)],
            cwd=tree,
            env={**os.environ, **surroundings},
            preexec_fn=lambda: os.umask(umask) and None,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_SECONDS,
            check=True,
        ).stdout.split()[-1]
        for kind in kinds
    ]
    return {name: outdir / name for name in sorted(built)}


def unpack(sdist: Path, place: Path) -> Path:
    """The directory of an unpacked sdist."""
    with tarfile.open(sdist) as archive:
        archive.extractall(place)
    (tree,) = place.iterdir()
    return tree


def earlier_release(place: Path) -> Path:
    """The tree of release 0.1.0."""
    place.mkdir()
    archive = place.with_suffix(".tar")
    _git("archive", "--output", str(archive), EARLIER)
    with tarfile.open(archive) as opened:
        opened.extractall(place)
    return place


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=_SECONDS, check=True).stdout
