"""The package for rpm's systems, built with rpmbuild from a spec that is filled in here."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pyctrigger.packages.rpm import Rpm

from .distfiles import pinned
from .platforms import HOST_TAGS, PLATFORMS
from .stage import fill_in, manuals, put, source_date_epoch, stage, version_of
from .trouble import BuildError

if TYPE_CHECKING:
    from .platforms import Platform

_DOCUMENTATION = "/usr/share/doc/pyctrigger"
_DOCUMENTS = ("README.md", "CHANGELOG.md")
#: Packages of the program with the names of modules in 0.1.0.
_HIDING = ("inspect/measure", "inspect/status", "run/plan")


def build(checkout: Path, outdir: Path) -> list[Path]:
    """Build the package; its path. Raises BuildError."""
    program = shutil.which("rpmbuild")
    if program is None:
        raise BuildError("rpmbuild is missing, which builds rpm's packages (Debian package rpm, Fedora's rpm-build)")
    with tempfile.TemporaryDirectory(prefix="pyctrigger-rpm-") as scratch:
        spec = put(Path(scratch) / "pyctrigger.spec", _spec(checkout, PLATFORMS["rpm"]))
        places = {"_topdir": scratch, "_tmppath": scratch, "_dbpath": f"{scratch}/db"}
        command = [program, "-bb", "--quiet", "--nodeps", "--target", "noarch"]
        for name, place in places.items():
            command += ["--define", f"{name} {place}"]
        child = subprocess.run(
            [*command, str(spec)],
            capture_output=True,
            text=True,
            # Of its own: a builder's ~/.rpmmacros may say anything.
            env={**os.environ, "HOME": scratch, "SOURCE_DATE_EPOCH": str(source_date_epoch(checkout))},
            check=False,
        )
        built = sorted(Path(scratch).glob("RPMS/noarch/*.rpm"))
        if child.returncode or not built:
            raise BuildError(f"rpmbuild: {child.stderr.strip()}")
        return [Path(shutil.move(path, outdir / path.name)) for path in built]


def stage_hooks(checkout: Path, platform: Platform, root: Path) -> None:
    """Documents for users. The hooks themselves are scriptlets in the spec."""
    del platform
    for name in _DOCUMENTS:
        put(root / _DOCUMENTATION.lstrip("/") / name, (checkout / name).read_bytes())


def _spec(checkout: Path, platform: Platform) -> str:
    stage_command = [sys.executable, "-I", str(checkout / "ports/build"), "--stage", platform.name]
    words = {
        "VERSION": version_of(checkout),
        "STAGE": shlex.join(stage_command).replace("%", "%%"),
        "PROGRAM": platform.launcher,
        "APPLICATION": platform.application,
        "HIDING": " ".join(_HIDING),
        "CONFIGURATION": platform.configuration,
        "MANUALS": "\n".join(manuals(checkout, platform)),
        "COMPLETIONS": "\n".join(platform.completions.values()),
        "LICENCES": platform.documents,
        "DOCUMENTATION": _DOCUMENTATION,
        "TRIGGERS": "\n".join(file.text for subject in platform.subjects() for file in Rpm.hooks(subject)),
        "BUNDLED": "\n".join(_bundled(checkout)),
        "GHOSTS": "\n".join(_ghosts(checkout, platform)),
    }
    return fill_in(checkout / "ports/rpm/pyctrigger.spec", words)


def _bundled(checkout: Path) -> list[str]:
    """What is in the private application directory, as the Packaging Guidelines of Fedora ask (Bundling)."""
    releases = [distfile.name.split("-")[:2] for distfile in pinned(checkout / "ports/distinfo")]
    return [f"Provides: bundled(python3dist({project})) = {version}" for project, version in releases]


def _ghosts(checkout: Path, platform: Platform) -> list[str]:
    """The bytecode of the program itself, for every host: owned, so that it is removed with the package."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="pyctrigger-rpm-") as scratch:
        root = Path(scratch)
        stage(checkout, platform, root)
        for directory, directories, names in os.walk(root / platform.application.lstrip("/")):
            directories.sort()
            stems = sorted(name[:-3] for name in names if name.endswith(".py"))
            if not stems:
                continue
            pycache = f"/{Path(directory).relative_to(root)}/__pycache__"
            lines.append(f"%ghost %dir %attr(0755, root, root) {pycache}")
            kept = [f"{stem}.{tag}.pyc" for stem in stems for tag in HOST_TAGS]
            if "start" in stems:  # beside it
                kept += [f"program.{tag}.code" for tag in HOST_TAGS]
            lines += [f"%ghost %attr(0644, root, root) {pycache}/{name}" for name in kept]
    return lines
