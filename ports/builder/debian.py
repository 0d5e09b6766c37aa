"""The Debian package, built with dpkg-deb."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .platforms import CPYTHONS, FREE_THREADED, PLATFORMS, PYPYS
from .stage import fill_in, put, settle, source_date_epoch, stage, version_of
from .trouble import BuildError

if TYPE_CHECKING:
    from .platforms import Platform

_SCRIPTS = ("postinst", "prerm", "postrm")
#: Where interpreters call hooks of ours when they come or go, and for which events.
_RUNTIME_HOOKS = (
    "usr/share/python3/runtime.d/pyctrigger.rtinstall",
    "usr/share/python3/runtime.d/pyctrigger.rtremove",
    "usr/lib/pypy3/runtime.d/pyctrigger.rtupdate",
    "usr/lib/pypy3/runtime.d/pyctrigger.rtremove",
)


def build(checkout: Path, outdir: Path) -> list[Path]:
    """Build the package; its path. Raises BuildError."""
    program = shutil.which("dpkg-deb")
    if program is None:
        raise BuildError("dpkg-deb is missing, which builds Debian packages (Debian package dpkg)")
    epoch = source_date_epoch(checkout)
    package = outdir / f"pyctrigger_{version_of(checkout)}_all.deb"
    with tempfile.TemporaryDirectory(prefix="pyctrigger-deb-") as scratch:
        root = Path(scratch) / "root"
        stage(checkout, PLATFORMS["deb"], root)
        stage_hooks(checkout, PLATFORMS["deb"], root)
        _stage_control(checkout, PLATFORMS["deb"], root)
        settle(root, epoch)
        child = subprocess.run(
            [program, "--root-owner-group", "-Zxz", "--build", str(root), str(package)],
            capture_output=True,
            text=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
            check=False,
        )
    if child.returncode:
        raise BuildError(f"dpkg-deb: {child.stderr.strip()}")
    return [package]


def stage_hooks(checkout: Path, platform: Platform, root: Path) -> None:
    """What interpreters call when they come and go."""
    text = fill_in(checkout / "ports/debian/runtime", {"PROGRAM": platform.launcher})
    for path in _RUNTIME_HOOKS:
        put(root / path, text, 0o755)
    shutil.copyfile(checkout / "ports/debian/copyright", root / "usr/share/doc/pyctrigger/copyright")


def _stage_control(checkout: Path, platform: Platform, root: Path) -> None:
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    words = {
        "VERSION": version_of(checkout),
        "SIZE": str(size // 1024 + 1),
        "PROGRAM": platform.launcher,
        "APPLICATION": platform.application,
        "INTERPRETERS": "\n".join(f"interest-noawait /usr/lib/{library}/encodings" for library in _libraries()),
    }
    for name in ("control", "triggers", *_SCRIPTS):
        text = fill_in(checkout / "ports/debian" / name, words)
        put(root / "DEBIAN" / name, text, 0o755 if name in _SCRIPTS else 0o644)
    put(root / "DEBIAN" / "conffiles", platform.configuration + "\n")


def _libraries() -> list[str]:
    return [
        *(f"python3.{minor}" for minor in CPYTHONS),
        *(f"python3.{minor}t" for minor in FREE_THREADED),
        *(f"pypy3.{minor}" for minor in PYPYS),
    ]
