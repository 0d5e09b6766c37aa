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

PACKAGES = ("pyctrigger", "pyctrigger-takeover")
_SCRIPTS = ("postinst", "prerm", "postrm")
#: What Debian's programs are diverted to, and where their originals go.
_TAKEOVER = "usr/lib/pyctrigger-takeover"
_TAKEN_OVER = ("py3compile", "py3clean", "pypy3compile", "pypy3clean")
#: What scripts have in common, by the word that it takes the place of.
_PARTS = {
    "DIVERT": "takeover/divert",
    "SERVES": "takeover/serves",
    "CLEAN": "takeover/clean",
    "GIVE_BACK": "give_back",
}
#: In /usr/lib/pyctrigger; any change of these may mean that a hook doesn't compile any more.
_LOOKED_AT = ("__main__.py", "start.py", "pyctrigger", "pyctrigger/cli", "pyctrigger/run")
#: Where interpreters call hooks of ours when they come or go, and for which events.
_RUNTIME_HOOKS = (
    "usr/share/python3/runtime.d/pyctrigger.rtinstall",
    "usr/share/python3/runtime.d/pyctrigger.rtremove",
    "usr/lib/pypy3/runtime.d/pyctrigger.rtupdate",
    "usr/lib/pypy3/runtime.d/pyctrigger.rtremove",
)


def build(checkout: Path, outdir: Path) -> list[Path]:
    """Build both packages; their paths. Raises BuildError."""
    program = shutil.which("dpkg-deb")
    if program is None:
        raise BuildError("dpkg-deb is missing, which builds Debian packages (Debian package dpkg)")
    platform, version = PLATFORMS["deb"], version_of(checkout)
    packages = [outdir / f"{name}_{version}_all.deb" for name in PACKAGES]
    with tempfile.TemporaryDirectory(prefix="pyctrigger-deb-") as scratch:
        roots = [Path(scratch) / package.stem for package in packages]
        stage(checkout, platform, roots[0])
        stage_hooks(checkout, platform, roots[0])
        stage_takeover(checkout, platform, roots[1])
        for name, root, package in zip(PACKAGES, roots, packages):
            if name == PACKAGES[0]:
                put(root / "DEBIAN/conffiles", platform.configuration + "\n")
            scripts = maintainer_scripts(checkout, platform, name)
            scripts["control"] = _filled(checkout, platform, template(name, "control"), SIZE=_size_of(root))
            for script, text in scripts.items():
                put(root / "DEBIAN" / script, text, 0o755 if script in _SCRIPTS else 0o644)
            _pack(program, root, package, source_date_epoch(checkout))
    return packages


def _pack(program: str, root: Path, package: Path, epoch: int) -> None:
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


def stage_hooks(checkout: Path, platform: Platform, root: Path) -> None:
    """What interpreters call when they come and go."""
    text = fill_in(checkout / "ports/debian/runtime", {"PROGRAM": platform.launcher})
    for path in _RUNTIME_HOOKS:
        put(root / path, text, 0o755)
    put(root / f"{platform.application}/serving".lstrip("/"), _filled(checkout, platform, "serving"), 0o755)
    _put_copyright(checkout, root, PACKAGES[0])


def _put_copyright(checkout: Path, root: Path, package: str) -> None:
    text = (checkout / "ports/debian/copyright").read_text(encoding="utf-8")
    if package != PACKAGES[0]:  # it has none of the others' files, and comes with the first one
        text = text.partition("\n\nFiles: usr/")[0] + "\n"
        text = text.replace("is in LICENSE", f"is in /usr/share/doc/{PACKAGES[0]}/LICENSE")
    put(root / f"usr/share/doc/{package}/copyright", text)


def _filled(checkout: Path, platform: Platform, name: str, **words: str) -> str:
    """A template of Debian's with the words of both packages."""
    looked_at = [platform.configuration, platform.launcher, "/usr/bin/python3"]
    looked_at += [f"{platform.application}/{path}" for path in _LOOKED_AT]
    known = {
        "VERSION": version_of(checkout),
        "PROGRAM": platform.launcher,
        "APPLICATION": platform.application,
        # With nanoseconds: two edits within a second may leave the same size.
        # One line, which the shell reads by itself. What isn't there is missing in it.
        "IDENTITY": f"LC_ALL=C TZ=UTC0 /usr/bin/stat -L --printf '%n %a %i %s %y %z;' {' '.join(looked_at)}",
    }
    return fill_in(checkout / "ports/debian" / name, {**known, **words})


def _size_of(root: Path) -> str:
    return str(sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024 + 1)


def stage_takeover(checkout: Path, platform: Platform, root: Path) -> None:
    """What Debian's programs are diverted to."""
    for name in _TAKEN_OVER:
        put(root / _TAKEOVER / "scripts" / name, _script(checkout, platform, f"takeover/{name}"), 0o755)
    _put_copyright(checkout, root, PACKAGES[1])


def maintainer_scripts(checkout: Path, platform: Platform, package: str) -> dict[str, str]:
    """What dpkg runs, and when: each file's text by its name."""
    return {name: _script(checkout, platform, template(package, name)) for name in (*_SCRIPTS, "triggers")}


def _script(checkout: Path, platform: Platform, name: str) -> str:
    """A template with what several of them have in common."""
    parts = {word: _filled(checkout, platform, path).rstrip("\n") for word, path in _PARTS.items()}
    interpreters = "\n".join(f"interest-noawait /usr/lib/{library}/encodings" for library in _libraries())
    words = {"PROGRAMS": " ".join(_TAKEN_OVER), "INTERPRETERS": interpreters}
    return _filled(checkout, platform, name, **parts, **words)


def template(package: str, name: str) -> str:
    """Where a package's file is in ports/debian."""
    return name if package == PACKAGES[0] else f"takeover/{name}"


def _libraries() -> list[str]:
    return [
        *(f"python3.{minor}" for minor in CPYTHONS),
        *(f"python3.{minor}t" for minor in FREE_THREADED),
        *(f"pypy3.{minor}" for minor in PYPYS),
    ]
