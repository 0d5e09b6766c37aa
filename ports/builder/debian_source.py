"""Debian's source package: what dpkg-buildpackage makes both binary packages of, as an archive of Debian's would.

`ports/build --source deb OUTDIR` writes it. Its debian/rules calls `ports/build --debhelper deb debian`, which lays out
the same files and the same maintainer scripts as in the package that `ports/build deb` packs by itself.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.utils import formatdate
from pathlib import Path

from . import distfiles
from .debian import PACKAGES, maintainer_scripts, stage_hooks, stage_takeover, template
from .modules import of_system
from .platforms import PLATFORMS
from .stage import compressed, fill_in, put, settle, source_date_epoch, stage, version_of
from .trouble import BuildError

MAINTAINER = "The pyctrigger authors <pyctrigger@localhost>"
#: Debian's own number of a package of this version.
_REVISION = "1"
#: What a release has, as pyproject.toml names it for the sdist, and what every sdist has.
RELEASED = ("src", "hooks", "tests", "ports", "docs", ".ci", "CHANGELOG.md", "CONTRIBUTING.md", "noxfile.py")
_ALWAYS = ("pyproject.toml", "README.md", "LICENSE")
_WASTE = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*", "distfiles", "*.egg-info")
_SITE = Path("/usr/lib/python3/dist-packages")


def build(checkout: Path, outdir: Path, maintainer: str = MAINTAINER) -> list[Path]:
    """Write the source package; its files' paths, the .dsc first. Raises BuildError."""
    program = shutil.which("dpkg-source")
    if program is None:
        raise BuildError("dpkg-source is missing, which builds source packages (Debian package dpkg-dev)")
    if not re.fullmatch(r"[^<>\n]*[^<>\s] <[\w.+-]+@[\w.-]+>", maintainer):
        raise BuildError(f"{maintainer} is no maintainer; name one as in --maintainer 'Some One <someone@example.org>'")
    version, epoch = version_of(checkout), source_date_epoch(checkout)
    with tempfile.TemporaryDirectory(prefix="pyctrigger-debian-") as directory:
        scratch = Path(directory)
        tree = scratch / f"pyctrigger-{version}"
        _copy_release(checkout, tree)
        _pack(tree, scratch / f"pyctrigger_{version}.orig.tar.gz", epoch)
        bundled = distfiles.fetch(checkout)
        (tree / "distfiles").mkdir()
        for distfile, path in bundled.items():
            shutil.copyfile(path, tree / "distfiles" / distfile.name)
        _pack(tree / "distfiles", scratch / f"pyctrigger_{version}.orig-distfiles.tar.gz", epoch)
        _write_debian(checkout, tree / "debian", maintainer, bundled)
        settle(tree, epoch)
        child = subprocess.run(
            [program, "--build", tree.name],
            cwd=scratch,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(epoch)},
            check=False,
        )
        if child.returncode:
            raise BuildError(f"dpkg-source: {child.stderr.strip()}")
        made = sorted(scratch.glob("pyctrigger_*"), key=lambda path: (path.suffix != ".dsc", path.name))
        return [Path(shutil.move(path, outdir / path.name)) for path in made]


def _copy_release(checkout: Path, tree: Path) -> None:
    tree.mkdir()
    for name in (*RELEASED, *_ALWAYS):
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=_WASTE, symlinks=True)
        elif source.exists():
            shutil.copyfile(source, tree / name)


def _pack(top: Path, archive: Path, epoch: int) -> None:
    """A tarball with the same bytes wherever it is made."""

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    settle(top, epoch)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(top, top.name, recursive=False, filter=owned)
        for path in sorted(top.rglob("*")):
            tar.add(path, f"{top.name}/{path.relative_to(top)}", recursive=False, filter=owned)
    archive.write_bytes(compressed(packed.getvalue()))


def _write_debian(checkout: Path, debian: Path, maintainer: str, bundled: dict[distfiles.Distfile, Path]) -> None:
    """The directory `debian`, of the templates in `ports/debian/source`."""
    words = {
        "VERSION": version_of(checkout),
        "REVISION": _REVISION,
        "MAINTAINER": maintainer,
        "DATE": formatdate(source_date_epoch(checkout)),
        "LICENSE": _indented((checkout / "LICENSE").read_text(encoding="utf-8")),
    }
    for package in PACKAGES:
        text = (checkout / "ports/debian" / template(package, "control")).read_text(encoding="utf-8")
        words[f"DESCRIPTION_OF_{package.upper().replace('-', '_')}"] = text[text.index("Description: ") :].rstrip("\n")
    for distfile, path in bundled.items():
        with zipfile.ZipFile(path) as wheel:
            words[f"LICENSE_OF_{distfile.project.upper()}"] = _indented(distfiles.licence(wheel).decode("utf-8"))
    templates = checkout / "ports/debian/source"
    for path in sorted(each for each in templates.rglob("*") if each.is_file()):
        put(debian / path.relative_to(templates), fill_in(path, words), path.stat().st_mode & 0o777)


def _indented(text: str) -> str:
    """As the format of Debian's files wants many lines in one field (deb822(5))."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip().splitlines())


def lay_out(checkout: Path, debian: Path) -> None:
    """For debian/rules: both packages' files and scripts where debhelper looks for them. Raises BuildError."""
    platform = PLATFORMS["deb"]._replace(documents="")  # licences are in debian/copyright
    modules = of_system(checkout, _SITE, sys.version_info.minor)
    roots = [debian / package for package in PACKAGES]
    stage(checkout, platform, roots[0], modules)
    stage_hooks(checkout, platform, roots[0])
    stage_takeover(checkout, platform, roots[1])
    for package, root in zip(PACKAGES, roots):
        shutil.rmtree(root / "usr/share/doc")  # debhelper's
        for name, text in maintainer_scripts(checkout, platform, package).items():
            put(debian / f"{package}.{name}", text)
    built_in = [(f"python3-{project}", *_source_of(f"python3-{project}")) for project in sorted(modules.packages)]
    for package, _, _ in built_in:
        licence = roots[0] / f"usr/share/doc/pyctrigger/copyright.{package}"
        put(licence, Path(f"/usr/share/doc/{package}/copyright").read_bytes())
    sources = ", ".join(f"{source} (= {version})" for _, source, version in built_in)
    lines = [f"pyctrigger:Depends=python3 (>= 3.{modules.oldest_host})", f"pyctrigger:Static-Built-Using={sources}"]
    put(debian / "pyctrigger.substvars", "\n".join([*lines, ""]))


def _source_of(package: str) -> tuple[str, str]:
    """The source package of an installed one, and its version. Raises BuildError."""
    command = ["dpkg-query", "--show", "--showformat", "${source:Package} ${source:Version}", package]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    name, _, version = child.stdout.partition(" ")
    if child.returncode or not version:
        raise BuildError(f"{package}: {child.stderr.strip()}")
    return name, version
